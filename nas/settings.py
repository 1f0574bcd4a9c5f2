"""Settings of a search that every room reads: data, training of a proxy, limits, the point to improve on."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from nas.errors import SpaceError
from nas.typed import hold

EVENT_DATASETS: Final = ("dvs_digits", "cifar10dvs", "dvs128gesture", "ncaltech101", "nmnist", "event_folder")
"""Data sets of recordings of event cameras, of which frames are made."""

EVENT_SPLITS: Final[dict[str, tuple[str, ...]]] = {
    "cifar10dvs": ("first_90_percent", "tebn"),
    "dvs128gesture": ("official",),
    "ncaltech101": ("every_tenth",),
    "nmnist": ("official",),
}
"""How a data set of recordings may be cut into training and test; the first is taken where none is named."""

TRAINING_RECORDINGS: Final = {
    "dvs_digits": 1_438,  # four fifths of all
    "cifar10dvs": 9_000,
    "dvs128gesture": 1_176,  # as SpikingJelly cuts them
    "nmnist": 60_000,
    "ncaltech101": 7_838,
}
"""Recordings that a full training has, by the split that each data set takes first."""

Augmentation = Literal[
    "none", "shift", "shift_flip", "event_wide", "event_wide_unmirrored", "event_roll", "event_roll_unmirrored"
]
"""How images, or frames of events, are moved about while training."""


def sample_of(dataset: object) -> str:
    """What a data set holds, in a word: each sample is a "recording" of an event camera, or an "image"."""
    return "recording" if dataset in EVENT_DATASETS else "image"


@dataclass(frozen=True)
class DataSettings:
    """Which images or recordings, and how those to train on are cut.

    Attributes:
        dataset: The search reads this data. Images: "digits" is bundled with scikit-learn, "cifar10" and "cifar100" are
            downloaded, "image_folder" reads the class folders or shards of `--data-dir`, and "images" stands for
            images that are given in Python (`nas.Images`). Recordings of event cameras: "dvs_digits" are those digits
            moved across a simulated sensor, and "cifar10dvs", "dvs128gesture", "ncaltech101", "nmnist" and
            "event_folder" lie in `--data-dir`.
        search_val (share of the training images): The search ranks candidates by these images. The share lies between
            0 and 0.5.
        report_val (share of the training images): Only reports read these images. The share lies between 0 and 0.5.
        classes: The data must have classes of these names, in this order. An empty list takes the data's.
        split (name of a split): Recordings are cut into training and test by this split: "first_90_percent" or "tebn"
            for "cifar10dvs", "every_tenth" for "ncaltech101", "official" for "dvs128gesture" and "nmnist". An empty
            name takes the first.
        slicing: A recording becomes T frames of equal "number" of events or of equal "time".
        resize_frames: False puts each event where it belongs in frames of the network's size, so that frames hold
            counts. True makes frames of the sensor's size and resizes them, as some authors do: the network is then fed
            real numbers.
        sensor (width and height in pixels): The camera of an "event_folder" has this size. An empty list takes it from
            the files.
    """

    dataset: Literal[
        "digits",
        "cifar10",
        "cifar100",
        "image_folder",
        "images",
        "dvs_digits",
        "cifar10dvs",
        "dvs128gesture",
        "ncaltech101",
        "nmnist",
        "event_folder",
    ] = "cifar10"
    search_val: float = 0.1
    report_val: float = 0.1
    classes: tuple[str, ...] = ()
    split: str = ""
    slicing: Literal["number", "time"] = "number"
    resize_frames: bool = False
    sensor: tuple[int, ...] = ()

    @property
    def has_events(self) -> bool:
        """Whether the data are recordings of event cameras."""
        return self.dataset in EVENT_DATASETS

    def identity(self) -> dict[str, object]:
        """The settings that results depend on: those of recordings leave no trace where there are images."""
        fields = dataclasses.asdict(self)
        return fields if self.has_events else {key: fields[key] for key in fields if key not in _OF_EVENTS}

    @classmethod
    def of(cls, recorded: Mapping[str, object]) -> "DataSettings":
        """The settings that JSON holds, where tuples are lists, and beside which data and their cut may be recorded.

        Raises:
            TypeError: an unknown name, or a value of another type.
        """
        fields = {name: value for name, value in recorded.items() if name not in _RECORDED_BESIDE}
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        settings = cls(**fields | lists)  # pyrefly: ignore[bad-argument-type]  # the next line looks at them
        hold(settings)
        return settings


_RECORDED_BESIDE = ("images", "seed", "train_images")
_OF_EVENTS = ("split", "slicing", "resize_frames", "sensor")


@dataclass(frozen=True)
class Recipe:
    """How a proxy is trained: AdamW, linear warm-up, cosine to zero.

    Attributes:
        epochs (passes): A training in full passes over the train split this many times.
        train_images (images): A training uses this many images of the train split, stratified by class; 0 takes all.
        batch_size (images): A step trains on this many images, at least 2.
        learning_rate: The schedule rises to this rate and falls to 0.
        weight_decay: AdamW shrinks the weights of convolutions and linear layers by this factor, and no others.
        warmup (share of the steps): The learning rate rises in the first steps, this share of all.
        label_smoothing (share of the target): This share is spread over the other classes.
        augment: "none" leaves images as they are, "shift" moves them by up to one pixel in 16, and "shift_flip" moves
            them by up to one in 8 and mirrors them. "auto" is "shift_flip" for coloured images, and "shift" where all
            are grey and for frames of events: digits and letters must not be mirrored. Frames of events have two more,
            which mirror: "event_wide" also shears, rotates, shifts by up to 5 pixels in 128 or cuts out, and
            "event_roll" also rolls by up to a third of the side, rotates or cuts out. With "_unmirrored" behind their
            names they do not mirror.
        spike_penalty (loss per spike): One spike per neuron and time step, averaged over all neurons, adds this much
            to the loss; 0 leaves spikes free.
        precision: Convolutions and products train in "fp32" or "bf16"; "auto" takes bfloat16 where the hardware
            multiplies it. Evaluation is always float32.
        rungs (shares of the images): Networks are compared after these shares of the training's images, which rise to
            1. Each rung is a training of its own, with a whole schedule, and only promising networks come to the next.
            [1] trains every network in full.
    """

    epochs: int = 10
    train_images: int = 0
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.2
    label_smoothing: float = 0.1
    augment: Literal["auto", Augmentation] = "auto"
    spike_penalty: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    rungs: tuple[float, ...] = (0.05, 1.0)


@dataclass(frozen=True)
class Constraints:
    """What a network must keep to be on the front; what is left out is free.

    Attributes:
        max_params (parameters): A network with more parameters is not trained.
        max_macs (MACs per image): A network with more dense MACs, over all time steps, is not trained.
        max_energy_mj (mJ per image): A network above it, by the energy that ranks the study, stays off the front.
        min_accuracy (share of search-val): A network below it stays off the front.
        max_latency_ms (ms per image): A network above it stays off the front, by the chip of `fits` or of the ranking.
        fits (name of a chip): A network that does not fit on it is not trained.
    """

    max_params: int | None = None
    max_macs: int | None = None
    max_energy_mj: float | None = None
    min_accuracy: float | None = None
    max_latency_ms: float | None = None
    fits: str | None = None

    def __post_init__(self) -> None:
        """Raises SpaceError: a limit that no network could keep."""
        for name, limit in dataclasses.asdict(self).items():
            if isinstance(limit, int | float) and not 0 < limit < math.inf:
                raise SpaceError(f"{name} {limit} must be positive")
        if self.min_accuracy is not None and self.min_accuracy >= 1:
            raise SpaceError(f"min_accuracy {self.min_accuracy} must be a share below 1, such as 0.9 for 90 %")


@dataclass(frozen=True)
class ReferencePoint:
    """The point from which hypervolume is measured, instead of one that is derived from the networks. Networks that are
    less accurate or need more energy than this add nothing; the search aims at networks beyond it. It is no constraint:
    other networks are trained too, and may be on the front.

    Attributes:
        accuracy (share of search-val): A network that is no more accurate than this adds no hypervolume.
        energy_mj (mJ per image): A network that needs this much or more, by the energy that ranks the study, adds no
            hypervolume.
    """

    accuracy: float
    energy_mj: float

    def __post_init__(self) -> None:
        """Raises SpaceError: a value that no network could have."""
        if not 0 <= self.accuracy < 1:
            raise SpaceError(
                f"accuracy {self.accuracy} of the reference point must be a share from 0 to below 1, such as 0.8 for "
                "80 %"
            )
        if not 0 < self.energy_mj < math.inf:
            raise SpaceError(
                f"energy_mj {self.energy_mj} of the reference point must be positive and finite, such as 0.01"
            )


__all__ = [
    "EVENT_DATASETS",
    "EVENT_SPLITS",
    "TRAINING_RECORDINGS",
    "Augmentation",
    "Constraints",
    "DataSettings",
    "Recipe",
    "ReferencePoint",
    "sample_of",
]
