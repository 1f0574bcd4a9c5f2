"""Published networks: the authors' parameter counts, logits and spikes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikformer import ConfigError, Spikformer, SpikformerConfig, published
from spikformer.neurons import PLIF, Neuron

DATA = Path(__file__).parent / "data"
COUNTS = json.loads((DATA / "param_counts.json").read_text())["points"]
PARITY = json.loads((DATA / "parity.json").read_text())["points"]


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_parameter_count_equals_the_authors_code(name: str) -> None:
    """`live` parameters: those that the authors' code builds and uses."""
    with torch.device("meta"):
        model = Spikformer(published.config(name))
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]["live"]


@pytest.mark.parametrize("name", sorted(PARITY))
def test_logits_and_spikes_equal_the_authors_code(name: str) -> None:
    """Logits and total spikes of the official implementations, weights recreated by the file's rule."""
    point = PARITY[name]
    model = Spikformer(_translate(point["config"])).double().eval()
    images = torch.from_numpy(np.random.RandomState(7).standard_normal(point["shape"]))
    _fill(model, images, point["boost"])
    spikes: list[float] = []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _i, out: spikes.append(out.sum().item()))
    with torch.no_grad():
        logits = model(images)
    torch.testing.assert_close(logits, torch.tensor(point["logits"], dtype=torch.float64), atol=1e-9, rtol=0)
    assert len(spikes) == point["neurons"]
    assert sum(spikes) == point["spikes"]
    assert sum(p.numel() for p in model.parameters()) == point["live"]


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ConfigError, match='Did you mean "spikformer_cifar10_4_384"'):
        published.config("spikformer_cifar10_4_38")


def _translate(facts: dict[str, Any]) -> SpikformerConfig:
    """The config schema of the facts in our field names."""
    stage = facts["stages"][0]
    attention, mlp = stage["block"]
    neuron = {k: v for k, v in (facts.get("neuron") or {}).items() if k == "kind"}
    return SpikformerConfig.from_dict(
        {
            "time_steps": facts["T"],
            "residual": facts["residual"],
            "neuron": neuron,
            "stem": {
                "image_size": facts["img"],
                "pool": [flag == "1" for flag in facts["stem"]["pool"]],
                "shortcut": facts["stem"]["tail"] != "plain",
            },
            "stages": [
                {
                    "embed_dim": stage["dim"],
                    "depth": stage["depth"],
                    "mixer": {
                        "kind": attention["op"],
                        "num_heads": attention["h"],
                        "qkv_bias": attention.get("qkv_bias", False),
                    },
                    "mlp": {"ratio": mlp.get("r", 4)},
                }
            ],
            "head": {"num_classes": facts["classes"], "neuron": facts["head"].get("neuron", False)},
        }
    )


def _fill(model: nn.Module, images: torch.Tensor, boost: float) -> None:
    """Weights by the rule of `how` in parity.json: leaf by leaf, in the order of execution."""
    order: list[nn.Module] = []
    leaves = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d | PLIF)]
    handles = [m.register_forward_hook(lambda m, _i, _o: order.append(m)) for m in leaves]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    for i, module in enumerate(dict.fromkeys(order)):
        draw = np.random.RandomState(11000 + i)
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            _set(module.weight, 0.6 + 0.9 * draw.rand(n))
            _set(module.bias, boost + 0.4 * draw.randn(n))
            _set(module.running_mean, 0.1 * draw.randn(n))
            _set(module.running_var, 0.3 + 0.4 * draw.rand(n))
        elif isinstance(module, PLIF):
            _set(module.w, np.asarray(0.3 * draw.randn()))
        elif isinstance(module, nn.Conv2d | nn.Linear):
            _set(module.weight, draw.randn(*module.weight.shape) / np.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                _set(module.bias, 0.1 * draw.randn(module.bias.numel()))


def _set(parameter: torch.Tensor | None, values: Any) -> None:
    assert parameter is not None
    parameter.data.copy_(torch.as_tensor(values).reshape(parameter.shape))
