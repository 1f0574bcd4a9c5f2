"""From a study to bundles for full training: the chosen networks, as searched or scaled to a budget.

picking    which networks of a study
exporting  their bundles
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.exports.exporting import Size, convert, export, export_published
    from nas.exports.picking import check_pick

__getattr__ = attributes(
    __name__,
    {
        "Size": "nas.exports.exporting",
        "check_pick": "nas.exports.picking",
        "convert": "nas.exports.exporting",
        "export": "nas.exports.exporting",
        "export_published": "nas.exports.exporting",
    },
)

__all__ = ["Size", "check_pick", "convert", "export", "export_published"]
