"""Errors that a user can act on. Each message gives the fact, the values and the remedy."""


class SpikformerError(Exception):
    """Base of every error that is the input's fault and not ours."""


class ConfigError(SpikformerError):
    """A configuration that describes no network.

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
    """Opened data that name code of a module which the user did not name."""


class CheckpointError(SpikformerError):
    """A folder or file of weights that is missing, damaged or of another network."""


class FormatError(SpikformerError):
    """A network that a file format cannot express, or a written file that does not compute what the network does."""
