"""Networks for event frames equal the authors' code (tests/data/event_parity.json, event_param_counts.json)."""

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikformer import Spikformer, SpikformerConfig
from spikformer.neurons import MultiSpike, Neuron
from tests.facts import config_of, fill, points

ROOT = Path(__file__).parents[2]
PARITY = points("event_parity.json")
COUNTS = points("event_param_counts.json")


def frames(point: dict[str, Any]) -> Tensor:
    """Counts of events, [T, B, 2, H, W]; with their sum as a third channel where the network takes it."""
    time_steps, batch, _, *size = point["shape"]
    counts = np.random.RandomState(7).poisson(0.5, (time_steps, batch, 2, *size)).astype(np.float64)
    assert counts.sum() == point["input_sum"]
    frames_TBCHW = torch.from_numpy(counts)
    if point["config"]["in"] == 3:
        frames_TBCHW = torch.cat([frames_TBCHW, frames_TBCHW.sum(2, keepdim=True)], dim=2)
    return frames_TBCHW


@pytest.mark.parametrize("name", sorted(PARITY))
def test_logits_and_spikes_equal_the_authors_code(name: str, device: torch.device) -> None:
    point = PARITY[name]
    model, images = Spikformer(config_of(point["config"])).double().eval(), frames(point)
    fill(model, images, point["boost"])
    model, images = model.to(device), images.to(device)
    spikes: list[float] = []

    def count(neuron: torch.nn.Module, _inputs: object, fired: Tensor) -> None:
        spikes.append(fired.sum().item() / (neuron.quantum if isinstance(neuron, MultiSpike) else 1))

    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(count)
    with torch.no_grad():
        logits = model(images)
    torch.testing.assert_close(logits.cpu(), torch.tensor(point["logits"], dtype=torch.float64), atol=1e-9, rtol=0)
    assert len(spikes) == point["neurons"]
    assert sum(spikes) == point["spikes"]
    assert sum(p.numel() for p in model.parameters()) == point["live"]


def test_the_page_of_networks_shows_the_stem_of_qkformer() -> None:
    page = (ROOT / "docs" / "networks.md").read_text()
    (text,) = (part for part in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[base.stem]" in part)
    stage = {"embed_dim": 64, "depth": 1, "mixer": {"num_heads": 4}}
    shown = SpikformerConfig.from_dict({"stem": tomllib.loads(text)["base"]["stem"], "stages": [stage]})
    assert shown.stem == config_of(COUNTS["qkformer_cifar10dvs_256"]["config"]).stem
    assert shown.grids == (16,)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_parameters_equal_the_authors_code(name: str) -> None:
    with torch.device("meta"):
        model = Spikformer(config_of(COUNTS[name]["config"]))
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]["live"]
