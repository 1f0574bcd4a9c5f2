"""Accesses to Horowitz's caches, by hand."""

import dataclasses
from typing import Any

import pytest

from nas.costs import horowitz, memory
from nas.costs.accesses import NEURONS, Fired
from nas.costs.operations import Operation
from nas.errors import CostError
from spikformer.operands import BINARY
from tests.costs.test_chip import FIRST, PRODUCT, SECOND, counts, operation

MODEL = memory.load()


@pytest.mark.parametrize(
    ("kilobytes", "pj"),
    [(1, 5.0), (8, 5.0), (16, 5 * 2**0.5), (32, 10.0), (1024, 50.0), (32 * 32**0.5, 10 * 5**0.5), (10_000, 50.0)],
)
def test_a_word_of_a_memory_by_hand(kilobytes: float, pj: float) -> None:
    """Half of 10, 20 and 100 pJ; between them the geometric mean at the geometric mean of the sizes."""
    assert horowitz.word_pj(kilobytes * 1024) == pytest.approx(pj, rel=1e-9)


def test_memory_by_hand() -> None:
    """Weights: 6,912 bytes; 1,179,648 bytes; none. Spikes: a bitmap of 512 bytes. Membranes: 4 x 131,072 / 8 bytes.

    65,536 bytes lie a fifth of the way, on logarithms, from 32 KB to 1 MB.
    """
    priced = MODEL.price(counts(FIRST, SECOND, PRODUCT, updates=131_072))
    membrane_pj = 10 * 5**0.2
    by_hand = 80_000 * 5 + 4_608_000 * 50 + 2 * 1000 * 5 + 2 * 131_072 * membrane_pj
    assert priced.energy_mj == pytest.approx(by_hand / 2 * 1e-9, rel=1e-12)


def test_a_sum_reads_spikes_and_no_weights() -> None:
    """Spikes among 16 x 128 x 128 numbers lie in 32 KB: 10 pJ a word."""
    total: dict[str, Any] = {"values": 8 * 2**18, "spikes": 300, "events": 300}
    op = operation("sum", (BINARY,), {"input": [16, 128, 128], "output": [16, 128, 1]}, **total)
    assert MODEL.price(counts(op)).energy_mj == pytest.approx(2 * 300 * 10 / 2 * 1e-9, rel=1e-12)


def test_nothing_counted_accesses_nothing() -> None:
    for operations, images in (([], 2), ([FIRST], 0)):
        with pytest.raises(CostError, match="memory accesses need counted operations"):
            MODEL.price(counts(*operations, images=images))


def test_terms_and_layers_of_memory_by_hand() -> None:
    """Half of the spikes' energy reads, half writes. Updates stand with their layers where these are all."""
    membrane_pj = 10 * 5**0.2
    priced = MODEL.price(counts(SECOND, updates=131_072, a=Fired(100_000, 5), b=Fired(31_072, 7)))
    assert priced.total.inputs == priced.total.outputs == pytest.approx(1000 * 5 / 2 * 1e-9)
    assert priced.layers["a"].terms == pytest.approx(
        {**dict.fromkeys(priced.total.terms, 0.0), "potentials": 2 * 100_000 * membrane_pj / 2 * 1e-9}
    )
    assert NEURONS in MODEL.price(counts(SECOND, updates=131_072, a=Fired(100_000, 5))).layers


def test_the_counterpart_without_time_by_hand() -> None:
    """Of the second layer a step has 8 / 8 x 32,768 x 576 multiplications per image; 3 bits of each of 4,096 numbers.

    The first layer multiplies the same numbers, once.
    """
    priced = MODEL.price_counterpart(counts(_whole(FIRST), _whole(SECOND), PRODUCT), 3)
    weights_pj = 2 * 32_768 * 576 * 50 + 2 * 64 * 64 * 27 * 5
    assert priced.total.weights == pytest.approx(weights_pj / 2 * 1e-9)
    assert priced.total.inputs == pytest.approx(2 * 4096 * 3 / 32 * 5 / 2 * 1e-9)
    assert priced.total.potentials == 0


def _whole(op: Operation) -> Operation:
    """The same layer, nothing of it on padding."""
    return dataclasses.replace(op, valid=op.dense)
