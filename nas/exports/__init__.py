"""From a study to bundles for full training: the chosen networks, as searched or scaled to a budget.

choosing   which networks of a study, and how large they become
cards      what an exported folder is, in words
exporting  the folders
"""

from nas.exports.choosing import Size, why_as_is
from nas.exports.exporting import convert, export, export_published

__all__ = ["Size", "convert", "export", "export_published", "why_as_is"]
