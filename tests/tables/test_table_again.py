"""The benchmark that trains networks of a table again tells what differs, and nothing of what is equal."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest

from nas.datasets import Splits
from nas.training import evaluate
from tests.tables.conftest import SHARES, Tiny

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("table_again")


def test_a_training_that_takes_place_again_is_that_of_the_table(again: Any, tiny: Tiny, splits: Splits) -> None:
    assert set(again.repeatable(tiny.table)) == set(tiny.table.networks)
    for share in SHARES:
        kept = tiny.table.candidate(tiny.first, share, 1)
        now, _ = evaluate(kept.config, splits, tiny.table.space.recipe, 1, share=share)
        assert again.differences(kept, now) == []


def test_what_differs_is_named(again: Any, tiny: Tiny) -> None:
    """First the counts, then the energies that follow from them."""
    kept = tiny.table.candidate(tiny.first, 1.0, 0)
    i, operation = next((i, each) for i, each in enumerate(kept.operations) if each.events)
    more = dataclasses.replace(operation, events=operation.events + 1)
    changed = dataclasses.replace(kept, operations=(*kept.operations[:i], more, *kept.operations[i + 1 :]))
    assert again.differences(kept, changed)[:2] == ["operations", "measured+repeat"]
    assert again.differences(kept, dataclasses.replace(kept, parameters=0)) == ["parameters"]
