"""Settings of a search that every room reads: which images, how a proxy is trained, what a network must keep."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from nas.errors import SpaceError


@dataclass(frozen=True)
class DataSettings:
    """Which images, and how the training images are cut.

    Attributes:
        dataset: "digits" (bundled with scikit-learn), "cifar10", "cifar100", "image_folder", or "images": those that
            are given in Python, as `nas.search(data=nas.Images(...))`.
        search_val: share of the training images that ranks candidates.
        report_val: share that only reports read.
        classes: names that an image folder must have, in order; empty takes the folder's.
    """

    dataset: Literal["digits", "cifar10", "cifar100", "image_folder", "images"] = "cifar10"
    search_val: float = 0.1
    report_val: float = 0.1
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a proxy is trained: AdamW, linear warm-up, cosine to zero.

    Attributes:
        epochs: passes over the train split.
        train_images: how many images of the train split to use, stratified; 0 takes all.
        batch_size: images a step.
        learning_rate: peak of the schedule.
        weight_decay: on weights of convolutions and linear layers only.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: share of the target spread over the other classes.
        augment: "none", "shift" (by up to one pixel in 16) or "shift_flip" (up to one in 8, and mirrored); "auto" is
            "shift_flip" of coloured images, and "shift" where all are grey: digits and letters must not be mirrored.
        spike_penalty: what a spike per neuron and time step, the mean over all neurons, adds to the loss; 0 leaves
            spikes free.
        precision: of convolutions and products while training, "fp32" or "bf16"; "auto" takes bfloat16 where the
            hardware multiplies it. Evaluation is float32.
        rungs: shares of these images after which networks are compared, rising, the last 1. Each is a training of its
            own, with a whole schedule; only promising networks come to the next. [1] trains all of them in full.
    """

    epochs: int = 10
    train_images: int = 0
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.2
    label_smoothing: float = 0.1
    augment: Literal["auto", "none", "shift", "shift_flip"] = "auto"
    spike_penalty: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    rungs: tuple[float, ...] = (0.05, 1.0)


@dataclass(frozen=True)
class Constraints:
    """What a network must keep to be on the front; None leaves it free.

    Attributes:
        max_params: of the proxy; a network above it is not trained.
        max_macs: dense ones of the proxy, per image over all time steps; a network above it is not trained.
        max_energy_mj: of the energy by which the study ranks.
        min_accuracy: share of the search-val images.
    """

    max_params: int | None = None
    max_macs: int | None = None
    max_energy_mj: float | None = None
    min_accuracy: float | None = None

    def __post_init__(self) -> None:
        """Raises SpaceError: a limit that no network could keep."""
        for name, limit in dataclasses.asdict(self).items():
            if limit is not None and not 0 < limit < math.inf:
                raise SpaceError(f"{name} {limit} must be positive")
        if self.min_accuracy is not None and self.min_accuracy >= 1:
            raise SpaceError(f"min_accuracy {self.min_accuracy} must be a share below 1, such as 0.9 for 90 %")


__all__ = ["Constraints", "DataSettings", "Recipe"]
