"""The model of Loihi: by hand, and held to SANA-FE."""

import dataclasses
from typing import Any

import pytest
import torch

from nas.costs import chip
from nas.costs.accesses import Counts, Fired
from nas.costs.counter import OperationCounter
from nas.costs.layers_fired import fired
from tests.costs import oracles
from tests.costs.test_chip import FIRST, PRODUCT, SECOND, WIDE, counts
from tests.helpers import calibrated, small_config

LOIHI = chip.load("loihi")
CASES = oracles.cases("loihi")


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_energy_is_that_of_sana_fe(case: dict[str, Any]) -> None:
    """Within 2 %: there neurons that are sent nothing are not updated, and a spike at the border reaches none."""
    found = LOIHI(oracles.counts_of(case)).energy_mj
    assert found == pytest.approx(case["energy_j"]["total"] * 1e3, rel=0.02)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["name"].endswith("on 1")], ids=lambda case: str(case["name"])
)
def test_time_of_a_step_is_that_of_sana_fe(case: dict[str, Any]) -> None:
    """On one core; SANA-FE has no limit of synaptic memory, by which the model takes more cores for one of them."""
    found = LOIHI(oracles.counts_of(case))
    cores = int(found.note.split()[0])
    one_step_us = (found.latency_ms or 0) * 1e3 / case["time_steps"] - 0.6
    if cores <= 4:
        assert one_step_us * cores + 0.6 == pytest.approx(case["seconds"] * 1e6 / case["time_steps"], rel=0.05)


def test_loihi_by_hand() -> None:
    """8 steps. Results of a step: 4096, 32,768, 8192; cores of 1,024 each: 4, 32 and 8, so 11 tiles.

    Most loaded is a core of the second, whose places share weights: 4,608,000 / 8 / 32 = 18,000 operations of 3.1 ns,
    and 1,024 neurons of 6 ns, of which one in five sends a spike in 30 ns. The wait is a line from 4 to 29 tiles.
    """
    found = LOIHI(counts(FIRST, SECOND, PRODUCT, updates=500_000, neuron=Fired(500_000, 100_000)))
    sync_ns = 1400 + 7 / 25 * 400
    assert found.latency_ms == pytest.approx(4 * (18_000 * 3.1 + 1024 * (6 + 0.2 * 30) + sync_ns) * 1e-6, rel=1e-12)
    synapses = 24.0 * (80_000 + 4_608_000) + 35.5 * 8000
    neurons = (51.2 + 21.6) * 500_000 + 69.3 * 100_000
    assert found.energy_mj == pytest.approx((synapses + neurons + 111 * 1000 * 32) / 2 * 1e-9, rel=1e-12)
    assert found.fits is True
    assert found.note == "44 of 128 cores, the most loaded of x"


def test_weights_ask_for_cores_too() -> None:
    """2^20 weights of a byte fill 8 cores of 128 KB, 512 neurons not one: 16 such layers fit, 17 do not."""
    assert LOIHI(counts(*[WIDE] * 16, updates=1)).fits is True
    found = LOIHI(counts(*[WIDE] * 17, updates=1))
    assert found.fits is False
    assert found.note.endswith("; x needs 8 cores, and the network 136, but the chip has 128")
    latency = LOIHI(counts(dataclasses.replace(WIDE, events=80_000))).latency_ms
    assert latency == pytest.approx(4 * (80_000 / 8 / 8 * 3.8 + 512 / 8 * 6 + 1000) * 1e-6, rel=1e-12)


def test_a_neuron_has_at_most_4096_inputs() -> None:
    wide = dataclasses.replace(WIDE, geometry={"input": [5000], "output": [512]}, dense=8 * 512 * 5000, values=8 * 5000)
    found = LOIHI(counts(wide, updates=1))
    assert found.fits is False
    assert found.note.endswith("; x needs 5,000 inputs a neuron, and a core has 4,096")


def test_the_chip_prices_a_counted_network() -> None:
    """The same counts over twice the images are half of everything but the wait for all cores."""
    model, images = calibrated(small_config(time_steps=2))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    spikes = fired(model.config, counter.activity(), {}, 3)
    once = Counts(model.config, counter.operations(), counter.overheads, 3, spikes)
    first, second = LOIHI(once), LOIHI(dataclasses.replace(once, images=6))
    assert first.energy_mj == pytest.approx(2 * (second.energy_mj or 0), rel=1e-12)
    assert LOIHI.misfit(model.config) is None


def test_shapes_alone_tell_what_does_not_fit() -> None:
    config = small_config(time_steps=2, image_size=256)
    reason = LOIHI.misfit(config)
    assert reason is not None
    assert "but the chip has 128" in reason
