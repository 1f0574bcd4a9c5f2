"""Errors of the search that a user can act on. Each message gives the fact, the values and the remedy."""

from spikformer.errors import SpikformerError


class SpaceError(SpikformerError):
    """A search space that cannot be read, or that holds no valid network."""


class DataError(SpikformerError):
    """Images or recordings of event cameras that are missing, damaged or of another task than the space says."""


class CostError(SpikformerError):
    """Operations that cannot be counted exactly, or spikes that are none."""


class StudyError(SpikformerError):
    """A study that cannot be opened, continued or reported."""


class RecordError(StudyError):
    """A record of a study that is damaged, or that another version of this program wrote."""


class OutputError(SpikformerError):
    """A file or folder that cannot be written."""


class TrainingError(SpikformerError):
    """A full training that cannot be begun, continued or finished."""


class DeviceError(SpikformerError):
    """A device whose memory other processes hold."""


class TableError(SpikformerError):
    """A table of trained networks that cannot be opened, filled, merged or asked for what it does not hold."""
