"""Memory accesses, by hand."""

from typing import Any

import pytest

from nas.costs import memory
from nas.costs.operations import Overheads
from nas.errors import CostError
from spikformer.operands import BINARY
from tests.costs.test_chip import FIRST, PRODUCT, SECOND, operation


@pytest.mark.parametrize(
    ("kilobytes", "pj"),
    [(1, 5.0), (8, 5.0), (16, 5 * 2**0.5), (32, 10.0), (1024, 50.0), (32 * 32**0.5, 10 * 5**0.5), (10_000, 50.0)],
)
def test_a_word_of_a_memory_by_hand(kilobytes: float, pj: float) -> None:
    """Half of 10, 20 and 100 pJ; between them the geometric mean at the geometric mean of the sizes."""
    assert memory.word_pj(kilobytes * 1024) == pytest.approx(pj, rel=1e-9)


def test_memory_by_hand() -> None:
    """Weights: 6,912 bytes; 1,179,648 bytes; none. Spikes: a bitmap of 512 bytes. Membranes: 4 x 131,072 / 8 bytes.

    65,536 bytes lie a fifth of the way, on logarithms, from 32 KB to 1 MB.
    """
    found = memory.memory_mj([FIRST, SECOND, PRODUCT], Overheads(neuron_updates=131_072), 2, 4)
    membrane_pj = 10 * 5**0.2
    by_hand = 80_000 * 5 + 4_608_000 * 50 + 2 * 1000 * 5 + 2 * 131_072 * membrane_pj
    assert found == pytest.approx(by_hand / 2 * 1e-9, rel=1e-12)


def test_a_sum_reads_spikes_and_no_weights() -> None:
    """Spikes among 16 x 128 x 128 numbers lie in 32 KB: 10 pJ a word."""
    total: dict[str, Any] = {"values": 8 * 2**18, "spikes": 300, "events": 300}
    op = operation("sum", (BINARY,), {"input": [16, 128, 128], "output": [16, 128, 1]}, **total)
    assert memory.memory_mj([op], Overheads(), 2, 4) == pytest.approx(2 * 300 * 10 / 2 * 1e-9, rel=1e-12)


def test_nothing_counted_accesses_nothing() -> None:
    for operations, images in (([], 2), ([FIRST], 0)):
        with pytest.raises(CostError, match="memory accesses need counted operations"):
            memory.memory_mj(operations, Overheads(), images, 4)
