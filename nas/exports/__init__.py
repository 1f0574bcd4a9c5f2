"""From a study to bundles for full training: the chosen networks, as searched or scaled to a budget."""

from nas.exports.exporting import Size, convert, export, export_published

__all__ = ["Size", "convert", "export", "export_published"]
