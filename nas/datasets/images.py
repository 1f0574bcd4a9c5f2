"""Images of the user's own, as Python has them: what `nas.search(space, data=nas.Images(train))` takes.

Nothing is read here, and torch is not imported: `nas.datasets.given` reads them, once, when a search begins.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from nas.errors import DataError
from nas.spaces import SearchSpace

GIVEN: Final = "images"
"""The data set of a space whose images are given in Python."""


class MapStyle(Protocol):
    """A data set that is asked for its pairs (image, label) by number, as torch's `Dataset` is, and a list of pairs."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images to search on. A part that is not given is cut from `train`, by the shares of the space.

    There is no place for test images: a search does not take any.

    Attributes:
        train: pairs (image, label). An image is a PIL image; a tensor [C, H, W] or [H, W]; or an array [H, W, C] or
            [H, W]. Whole numbers are uint8; floats are from 0 to 1 and become round(255 x). A label is a whole number
            from 0.
        val: search-val, on which the search ranks networks.
        report_val: report-val, which only reports read.
        classes: names, in the order of the labels; without any, `train.classes` or the labels themselves.

    Raises:
        DataError: on construction, if a part has no length or no items.
    """

    train: MapStyle
    val: MapStyle | None = None
    report_val: MapStyle | None = None
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, part in self.parts().items():
            if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
                raise DataError(
                    f"{name} is a {type(part).__name__}, which has no length or no items by number. Give a map-style "
                    "data set or a list of pairs (image, label)"
                )
            if len(part) == 0:
                raise DataError(f"{name} has no images. Give images, or leave {name} out")

    def parts(self) -> dict[str, MapStyle]:
        """Those that are given, by name."""
        every = {"train": self.train, "val": self.val, "report_val": self.report_val}
        return {name: part for name, part in every.items() if part is not None}


def check_images(data: object, data_dir: object) -> None:
    """
    Raises:
        DataError: `data` are no `Images`, or a folder of images is given too.
    """
    if data is not None and not isinstance(data, Images):
        raise DataError(f"data is a {type(data).__name__}. Give data=nas.Images(train), or a folder as data_dir")
    if data is not None and data_dir is not None:
        raise DataError(f'"data" and "data_dir" {data_dir} are two sources of images. Give only one of them')


def with_images(space: SearchSpace, data: Images | None) -> SearchSpace:
    """The space, which says that its images are given in Python if they are.

    Raises:
        DataError: the networks of the space take frames of events.
    """
    if data is not None and space.data.has_events:
        raise DataError(
            f"space {space.name} is on recordings of events ({space.data.dataset}), but images were given. Give the "
            "folder of the recordings as data_dir, or a space on images"
        )
    return space if data is None else dataclasses.replace(space, data=dataclasses.replace(space.data, dataset=GIVEN))


__all__ = ["GIVEN", "Images", "MapStyle", "check_images", "with_images"]
