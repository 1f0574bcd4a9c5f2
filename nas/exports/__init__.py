"""From a study to bundles for full training: the chosen networks, as searched or scaled to a budget."""

from nas.exports import export

__all__ = ["export"]
