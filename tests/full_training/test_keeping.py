"""When a checkpoint is due: by what would be lost without it, against what writing it takes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nas.full_training import checkpoint, keeping
from nas.full_training.keeping import Keeper


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now_s


@pytest.mark.parametrize(("writing_s", "first_s", "then_s"), [(0.1, 30, 30), (2.0, 30, 200), (60.0, 30, 600)])
def test_a_checkpoint_is_written_once_losing_it_would_cost_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writing_s: float, first_s: float, then_s: float
) -> None:
    """Half a minute at the least, ten at the most, and a hundred times what the last one took in between."""
    clock, saved = Clock(), list[float]()

    def save(_checkpoint: object, _folder: Path) -> None:
        saved.append(clock.now_s)
        clock.now_s += writing_s

    monkeypatch.setattr(keeping, "time", clock)
    monkeypatch.setattr(checkpoint, "save", save)
    training = SimpleNamespace(
        group=SimpleNamespace(is_main=True), is_finite=lambda: True, checkpoint=lambda: None, done=0, total=9
    )
    keeper = Keeper(cast(Any, training), tmp_path, cast(Any, None))
    ends: list[float] = []
    for _ in range(2):
        begun = clock.now_s
        while len(saved) == len(ends):
            clock.now_s += 0.5
            keeper.save()
        ends.append(saved[-1] - begun)
    assert ends == [first_s, then_s]
