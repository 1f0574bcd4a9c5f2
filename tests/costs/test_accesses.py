"""Terms of memory and the counts that models read."""

import dataclasses

import pytest
import torch

from nas.costs.accesses import TERMS, Accesses, Counts, Fired, memory_columns, steps_of
from nas.costs.counter import OperationCounter
from nas.costs.operations import Overheads
from tests.costs.test_chip import CONFIG, FIRST, PRODUCT, SECOND, WIDE
from tests.helpers import calibrated, small_config

COUNTS = Counts(
    CONFIG, (FIRST, SECOND, PRODUCT), Overheads(neuron_updates=30), 2, {"a": Fired(10, 3), "b": Fired(20, 4)}
)


def test_terms_add_and_scale() -> None:
    one = Accesses(1, 2, 3, 4, 5, 6)
    assert (one + one).terms == one.times(2).terms
    assert one.total == 21
    assert memory_columns(one) == {"memory_mj": 21, **{f"memory_{n}_mj": i + 1 for i, n in enumerate(TERMS)}}
    assert set(memory_columns(None).values()) == {None}


def test_a_silent_network_keeps_what_does_not_depend_on_spikes() -> None:
    silent = COUNTS.silent()
    assert silent.operations[0] == FIRST
    assert silent.operations[1] == dataclasses.replace(SECOND, spikes=0, nonzero=0, multiplicity=0, events=0)
    assert silent.fired == {"a": Fired(10, 0), "b": Fired(20, 0)}
    assert COUNTS.knows_layers
    assert not dataclasses.replace(COUNTS, overheads=Overheads(neuron_updates=31)).knows_layers


@pytest.mark.parametrize(("operation", "steps"), [(FIRST, 4), (SECOND, 4), (PRODUCT, 4), (WIDE, 4)])
def test_steps_of_an_operation_by_hand(operation: object, steps: int) -> None:
    assert steps_of(operation, COUNTS) == steps  # pyrefly: ignore[bad-argument-type]


def test_the_classifier_behind_a_mean_runs_once() -> None:
    """All others run at each of 3 steps, or once for all of them."""
    model, images = calibrated(small_config(time_steps=3))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    counts = Counts(model.config, counter.operations(), counter.overheads, len(images), {})
    steps = {op.path: steps_of(op, counts) for op in counts.operations}
    assert steps.pop("head.linear" if "head.linear" in steps else list(steps)[-1]) == 1
    assert set(steps.values()) == {3}
