"""Trainings of proxies that tests of what comes after a training share: the fixture `trained_once`.

Half of the processor time of the tests would else go into training the same few networks again. A training is
remembered by everything that it follows from. It is made all the same where a test put something in the place of a
part of it, where it may go on from a file, and where a network holds blocks from outside the package, whose code may
be another under the same name.
"""

import contextlib
import hashlib
from collections.abc import Hashable, Iterator
from typing import Any

import pytest
import torch

from nas.datasets import Split
from nas.training import fitting, measurement
from nas.training.evaluation import ProxyTraining
from spikformer.plugins import is_custom

_train, _fit, _measure = ProxyTraining.run, fitting.fit, measurement.measure
_FOUND = ("history", "measured", "report_accuracy", "report_balanced")
_made: dict[Hashable, tuple[dict[str, torch.Tensor], dict[str, Any]]] = {}


@contextlib.contextmanager
def once() -> Iterator[None]:
    """A network that was trained before is given what that training found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProxyTraining, "run", _run)
        yield


@contextlib.contextmanager
def anew() -> Iterator[None]:
    """Every network is trained, for tests of what a training gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProxyTraining, "run", _train)
        yield


def _run(training: ProxyTraining) -> None:
    if not _can_be_remembered(training):
        _train(training)
        return
    key = _key(training)
    if key not in _made:
        _train(training)
        weights = {name: value.clone() for name, value in training.model.state_dict().items()}
        _made[key] = weights, {name: getattr(training, name) for name in _FOUND}
        return
    weights, found = _made[key]
    training.model.to(training.splits.train.labels.device).load_state_dict(weights)
    for number, epoch in enumerate(found["history"], start=1):
        training.on_epoch(number, epoch)
    for name, value in found.items():
        setattr(training, name, list(value) if name == "history" else value)


def _can_be_remembered(training: ProxyTraining) -> bool:
    replaced = (fitting.fit, measurement.measure) != (_fit, _measure)
    goes_on = training.saved is not None and training.saved.exists()
    return not (replaced or goes_on or any(map(is_custom, training.model.modules())))


def _key(training: ProxyTraining) -> Hashable:
    splits = training.splits
    return (
        training.config.config_id,
        *(_digest(split) for split in (splits.train, splits.search_val, splits.report_val)),
        str(splits.train.labels.device),
        *map(repr, (training.recipe, training.options, training.seed, training.share)),
        measurement._BATCHES,
        torch.get_num_threads(),
    )


def _digest(split: Split) -> str:
    both = (split.images.cpu().numpy().tobytes(), split.labels.cpu().numpy().tobytes())
    return hashlib.sha256(repr(tuple(split.images.shape)).encode() + b"".join(both)).hexdigest()
