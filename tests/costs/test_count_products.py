"""Products of two counts cost the smaller one of each pair, up to the highest level that both reach."""

import pytest
import torch
from torch import Tensor, nn

from nas.costs.counter import OperationCounter
from spikformer.operands import Operand

COUNT = Operand("count")


class Product(nn.Module):
    """[B, m, k] times [B, k, n], both counts of spikes."""

    operands = ((COUNT, COUNT),)

    def forward(self, a_Bmk: Tensor, b_Bkn: Tensor) -> Tensor:
        return a_Bmk @ b_Bkn


def _events(a_Bmk: Tensor, b_Bkn: Tensor) -> int:
    model = Product()
    with torch.no_grad(), OperationCounter(model) as counter:
        model(a_Bmk, b_Bkn)
    (operation,) = counter.operations()
    return operation.events


def _pair_by_pair(a_Bmk: Tensor, b_Bkn: Tensor) -> int:
    """The smaller of the two factors of each product, one by one."""
    a, b = a_Bmk.long().tolist(), b_Bkn.long().tolist()
    total = 0
    for rows, columns in zip(a, b, strict=True):
        for row in rows:
            for n in range(len(columns[0])):
                total += sum(min(x, columns[k][n]) for k, x in enumerate(row))
    return total


@pytest.mark.parametrize("top", [1, 2, 3, 5])
def test_the_top_level_counts_where_both_factors_reach_it(top: int) -> None:
    """Random counts up to `top`, which meet at their top in one pair at least; without that level there are fewer."""
    generator = torch.Generator().manual_seed(top)
    a_Bmk = torch.randint(0, top + 1, (2, 3, 4), generator=generator).float()
    b_Bkn = torch.randint(0, top + 1, (2, 4, 5), generator=generator).float()
    a_Bmk[0, 0, 0] = b_Bkn[0, 0, 0] = top
    expected = _pair_by_pair(a_Bmk, b_Bkn)
    assert _events(a_Bmk, b_Bkn) == expected
    assert expected > _pair_by_pair(a_Bmk.clamp(max=top - 1), b_Bkn.clamp(max=top - 1))


def test_levels_that_one_factor_alone_reaches_cost_nothing_more() -> None:
    """By hand: 7 spikes meet 2, and 1 meets 2: 2 + 1."""
    assert _events(torch.tensor([[[7.0, 1.0]]]), torch.tensor([[[2.0], [2.0]]])) == 3


def test_the_top_level_alone_by_hand() -> None:
    """3 spikes meet 3: 3. If the top level were left out, 2."""
    assert _events(torch.tensor([[[3.0]]]), torch.tensor([[[3.0]]])) == 3
