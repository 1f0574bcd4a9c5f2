"""The model of a digital accelerator, by hand."""

import dataclasses

import pytest

from nas.costs import chip
from tests.costs.test_chip import FIRST, PRODUCT, SECOND, WIDE, counts

DIGITAL = chip.load("digital")
BUFFER_PJ = 100 / 64  # a bit
DRAM_PJ = 1300 / 64  # a bit


def test_energy_and_latency_by_hand() -> None:
    """Over 2 images: 296,640 weights of a byte stay in the buffer of 1 MB. Spikes: 1,000, each written and read.

    Layers run one after the other, 256 operations in a cycle of 2 ns.
    """
    found = DIGITAL(counts(FIRST, SECOND, PRODUCT, updates=1000))
    potential = 2 * 16 * BUFFER_PJ
    events = 4_608_000 * (0.05 + 8 * BUFFER_PJ + potential) + 8000 * (0.05 + potential)
    real = 80_000 * (0.05 + 0.2 + 8 * BUFFER_PJ + potential)
    by_hand = events + real + 1000 * potential + 2 * BUFFER_PJ * 1000
    assert found.energy_mj == pytest.approx(by_hand / 2 * 1e-9, rel=1e-12)
    assert found.latency_ms == pytest.approx((80_000 + 4_608_000 + 8000) / 2 / 256 / 500_000, rel=1e-12)
    assert (found.fits, found.note) == (True, "all weights stay in the buffer")


def test_weights_beyond_the_buffer_come_from_dram_once_an_image() -> None:
    """Two layers of 2^20 bytes: 2^24 bits an image, which take 164 microseconds at 12.8 GB/s and so decide."""
    found = DIGITAL(counts(WIDE, WIDE))
    assert found.energy_mj == pytest.approx(2**24 * DRAM_PJ * 1e-9, rel=1e-12)
    assert found.latency_ms == pytest.approx(2**21 / 12.8e9 * 1e3, rel=1e-12)
    assert found.note == "weights come from DRAM once an image"


def test_what_does_not_fit_is_named() -> None:
    """2^20 potentials of two bytes, and the 27 weights of an output."""
    large = dataclasses.replace(
        FIRST, geometry={"input": [3, 128, 128], "output": [64, 128, 128], "kernel": [3, 3]}, values=2 * 3 * 2**14
    )
    large = dataclasses.replace(large, dense=2 * 64 * 2**14 * 27)
    found = DIGITAL(counts(large))
    assert found.fits is False
    assert found.note == "x needs 2,097,179 bytes of potentials and weights, and the buffer has 1,048,576"
