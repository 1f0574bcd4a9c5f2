"""The recordings of a search as frames, in the three parts that `nas.datasets.event_splits` cuts."""

from pathlib import Path
from typing import cast

import torch

from nas.datasets import event_account, event_splits
from nas.datasets.event_frames import CutFrames, FrameSource, OnProgress
from nas.datasets.parts import Splits
from nas.spaces import SearchSpace
from spikformer.config import StemConfig


def load(
    space: SearchSpace, stem: StemConfig, data_dir: str | Path | None, seed: int, on_progress: OnProgress
) -> Splits:
    """The three parts as frames for the base network of a space. Frames for its other time steps are made too.

    Raises:
        DataError: recordings that are missing, damaged or too few to cut, or frames larger than the sensor.
    """
    folder = None if data_dir is None else str(Path(data_dir).absolute())
    source = FrameSource(space.data, folder, stem.image_size)
    listing = source.listing(on_progress)
    origin = space.data.dataset if folder is None else folder
    parts = event_splits.cut(listing, space.data, origin, seed, space.recipe.train_images)
    saturated = {steps: source.frames(steps, on_progress)[1] for steps in time_steps_of(space)}
    cut = CutFrames(source, listing.labels, parts)
    first = cut.splits(int(space.base["time_steps"]), torch.device("cpu"))
    sentences = event_account.account(listing, parts, space.data, stem, saturated)
    return Splits(*first, listing.classes, listing.fingerprint, sentences, cut)


def time_steps_of(space: SearchSpace) -> list[int]:
    """The numbers of time steps that networks of a space have, in rising order."""
    chosen = [
        values["time_steps"] for axis in space.axes for values in axis.assignments.values() if "time_steps" in values
    ]
    chosen += [space.base["time_steps"], *(config.time_steps for config in space.references.values())]
    return sorted({cast(int, steps) for steps in chosen})


__all__ = ["load", "time_steps_of"]
