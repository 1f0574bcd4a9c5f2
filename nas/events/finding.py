"""One part of a data set of an event camera, by its name."""

from pathlib import Path
from typing import get_args

from nas.errors import DataError
from nas.events import folders, moving_digits, published
from nas.events.cuts import Part
from nas.events.recording import Sensor
from nas.events.recordings import EventSet

SPLITS: dict[str, tuple[str, ...]] = {
    **{name: tuple(known.splits) for name, known in published.PUBLISHED.items()},
    "event_folder": ("folders",),
    "dvs_digits": ("all",),
}
"""The splits of each data set; the first one is the usual one."""


def find(
    dataset: str, data_dir: str | Path | None, split: str, part: Part, *, sensor: Sensor | None = None
) -> EventSet:
    """One part of a data set.

    Args:
        dataset: a key of `SPLITS`. "event_folder" stands for the user's own recordings (`nas.events.folders`), and
            "dvs_digits" for a simulation (`nas.events.moving_digits`), all of whose recordings are "train".
        data_dir: folder of the data set; None for "dvs_digits".
        split: one of `SPLITS[dataset]`; an empty text takes the first. "cifar10dvs" has "first_90_percent" and "tebn",
            "dvs128gesture" and "nmnist" have "official", "ncaltech101" has "every_tenth", which is a split of this
            program because none was published, "event_folder" has "folders" and "dvs_digits" has "all".
        part: "train" or "test". While "train" is asked for, recordings of the test are not read, and those that lie in
            a folder of their own are not listed. Only making `events_np` reads both (`nas.events.building`).
        sensor: width and height in pixels of the camera of an "event_folder", which counts more than its headers.

    Raises:
        DataError: an unknown data set, split or part, no data, or data that are not complete.
        OutputError: `events_np` must be made and cannot be written.
    """
    _check(dataset, split, part, sensor)
    if dataset == "dvs_digits":
        return moving_digits.find()
    if data_dir is None:
        raise DataError(f"{dataset} needs a data folder, and none was given. {_advice(dataset)}")
    folder = Path(data_dir).expanduser().resolve()  # one cache, however it is named
    if not folder.is_dir():
        raise DataError(f"data folder {folder} does not exist. {_advice(dataset)}")
    if dataset == "event_folder":
        return folders.find(folder, part, sensor)
    return published.find(dataset, folder, split or SPLITS[dataset][0], part)


def _check(dataset: str, split: str, part: str, sensor: Sensor | None) -> None:
    if dataset not in SPLITS:
        raise DataError(f'there is no event data set "{dataset}". Use one of {", ".join(SPLITS)}')
    if split and split not in SPLITS[dataset]:
        raise DataError(f'{dataset} has no split "{split}". Use one of: {", ".join(SPLITS[dataset])}')
    if part not in get_args(Part):
        raise DataError(f'{dataset} has no part "{part}". Use one of: {", ".join(get_args(Part))}')
    if dataset == "dvs_digits" and part == "test":
        raise DataError('dvs_digits has no recordings for a test of its own. Take some of its part "train"')
    if sensor is not None and dataset != "event_folder":
        raise DataError(f"the sensor of {dataset} is known. Give no size, or use an event_folder")
    if sensor is not None and min(sensor) < 1:
        raise DataError(
            f"a sensor of {sensor[0]} x {sensor[1]} pixels has no place for events. Give its width and height"
        )


def _advice(dataset: str) -> str:
    if dataset == "event_folder":
        return "Put recordings into DIR/train/<class>/ and DIR/test/<class>/, and give DIR"
    return f"{published.PUBLISHED[dataset].origin.advice('DIR')}, and give DIR"


__all__ = ["SPLITS", "find"]
