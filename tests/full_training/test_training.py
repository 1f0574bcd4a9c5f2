"""A full training's step: captured as a proxy's is, with the groups and rates that timm gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.optim import param_groups_weight_decay
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import nn

from nas.full_training import build, loop, training
from nas.full_training.process_group import ProcessGroup
from nas.training import graph, parameter_groups
from spikformer import Spikformer
from tests import pictures


class StandIn:
    """Of a CUDA graph: what is captured does not run, and replaying it runs it."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.replays, self._run = 0, run

    def replay(self) -> None:
        self.replays += 1
        self._run()


def test_a_replayed_training_is_a_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, on a CPU with stand-ins; 20 steps, of which the twelfth is captured and eight are replayed."""
    images = pictures.folders(tmp_path / "images")
    folder = pictures.bundle(tmp_path, own=pictures.recipe(epochs=5))
    assert loop.train(folder, images, tmp_path / "plain", device="cpu") is not None
    graphs: list[StandIn] = []

    def captured(run: Callable[[], None], *_: object) -> StandIn:
        graphs.append(StandIn(run))
        return graphs[-1]

    monkeypatch.setattr(training, "captures", lambda _recipe, _group: True)
    monkeypatch.setattr(graph, "waits", lambda run: run())
    monkeypatch.setattr(graph, "captured", captured)
    assert loop.train(folder, images, tmp_path / "replayed", device="cpu") is not None
    assert [one.replays for one in graphs] == [8]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "replayed")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("device", "processes", "settings", "expected"),
    [
        ("cuda", 1, {}, True),
        ("cuda", 1, {"precision": "bf16"}, True),
        ("cuda", 1, {"precision": "fp16"}, False),
        ("cuda", 1, {"optimizer": "lamb"}, False),
        ("cuda", 1, {"accumulation": 2}, False),
        ("cuda", 1, {"compile": True}, False),
        ("cuda", 1, {"checkpointing": True}, False),
        ("cuda", 2, {}, False),
        ("cpu", 1, {}, False),
    ],
)
def test_a_graph_replays_what_the_host_does_not_decide(
    device: str, processes: int, settings: dict[str, Any], expected: bool
) -> None:
    group = ProcessGroup(0, processes, torch.device(device))
    assert build.captures(pictures.recipe(**settings), group) is expected


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_groups_of_weights_are_timms_in_its_order(weight_decay: float) -> None:
    """Checkpoints of earlier versions number the weights so."""
    model = Spikformer(pictures.network())
    ours = parameter_groups(model, weight_decay)
    theirs = param_groups_weight_decay(model, weight_decay)
    assert [group["weight_decay"] for group in ours] == [group["weight_decay"] for group in theirs]
    for group, other in zip(ours, theirs, strict=True):
        assert all(a is b for a, b in zip(group["params"], other["params"], strict=True))


@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_learning_rates_are_timms_to_the_last_bit(warmup: int) -> None:
    recipe = pictures.recipe(epochs=4, cooldown_epochs=1, warmup_epochs=warmup, learning_rate=3e-3)
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=recipe.learning_rate)
    theirs = CosineLRScheduler(
        optimizer,
        t_initial=recipe.epochs * 7,
        lr_min=recipe.min_learning_rate,
        warmup_t=warmup * 7,
        warmup_lr_init=recipe.warmup_learning_rate,
        t_in_epochs=False,
    )
    ours = build.schedule_of(recipe, 7)
    for step in range(5 * 7):
        theirs.step_update(step)
        assert ours(step) == optimizer.param_groups[0]["lr"]
