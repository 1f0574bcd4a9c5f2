"""From a study to bundles for full training: the chosen networks, as searched or scaled to a budget.

picking    which networks of a study
sizing     how large they become
transfer   what is known of proxies and ImageNet
cards      what an exported folder is, in words
exporting  the folders
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.exports.exporting import convert, export, export_published
    from nas.exports.picking import check_pick
    from nas.exports.sizing import Size, why_as_is
    from nas.exports.transfer import notes

__getattr__ = attributes(
    __name__,
    {
        "Size": "nas.exports.sizing",
        "check_pick": "nas.exports.picking",
        "convert": "nas.exports.exporting",
        "export": "nas.exports.exporting",
        "export_published": "nas.exports.exporting",
        "notes": "nas.exports.transfer",
        "why_as_is": "nas.exports.sizing",
    },
)

__all__ = ["Size", "check_pick", "convert", "export", "export_published", "notes", "why_as_is"]
