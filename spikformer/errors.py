"""Errors that a user can act on. Each message gives the fact, the values and the remedy."""


class SpikformerError(Exception):
    """Base of every error that the input causes."""


class ConfigError(SpikformerError):
    """A configuration does not describe a network.

    Attributes:
        fields: dotted paths of the fields that disagree, seen from the object that raised.
    """

    def __init__(self, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields

    def within(self, path: str) -> "ConfigError":
        """The same error seen from the owner of `path`, e.g. ``stages.0``."""
        return ConfigError(f"{path}: {self}", tuple(f"{path}.{field}" for field in self.fields))


class TrustError(SpikformerError):
    """Opened data name code of a module that the user did not name."""


class CheckpointError(SpikformerError):
    """A folder or file of weights is missing, damaged or of another network."""


class FormatError(SpikformerError):
    """A file format cannot express a network, or a written file does not compute what the network does."""
