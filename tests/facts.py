"""Expected numbers from the authors' code: the facts' config schema in our field names, their rules for weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikformer import SpikformerConfig
from spikformer.layers import Residual
from spikformer.neurons import PLIF
from spikformer.token_mixers import DualSpikeAttention

DATA = Path(__file__).parent / "data"


def points(name: str) -> dict[str, Any]:
    """The points of a file of facts."""
    found: dict[str, Any] = json.loads((DATA / name).read_text())["points"]
    return found


def config_of(facts: dict[str, Any]) -> SpikformerConfig:
    """A config in the facts' schema, in ours."""
    return SpikformerConfig.from_dict(
        {
            "time_steps": facts["T"],
            "residual": facts["residual"],
            "neuron": _neuron(facts.get("neuron") or {}),
            "stem": {"image_size": facts["img"], "in_channels": facts.get("in", 3)} | _stem(facts["stem"]),
            "stages": [_stage(stage, first=i == 0) for i, stage in enumerate(facts["stages"])],
            "head": {"num_classes": facts["classes"]} | _head(facts["head"]),
        }
    )


def _neuron(facts: dict[str, Any]) -> dict[str, Any]:
    atan = "atan" in (facts.get("surrogate") or facts.get("sg") or "").lower()
    neuron = {"kind": facts.get("kind", "lif"), "surrogate": "atan" if atan else "sigmoid"}
    names = {"D": "levels", "norm": "divisor", "tau": "tau"}
    neuron |= {ours: facts[theirs] for theirs, ours in names.items() if theirs in facts}
    return neuron | ({"rounding": "half_up"} if facts.get("round") == "half_up" else {})


def _stem(facts: dict[str, Any]) -> dict[str, Any]:
    if facts["kind"] == "sps":
        pool = [flag == "1" for flag in facts["pool"]]
        return {"kind": "sps", "pool": pool, "position": "conv", "shortcut": facts["tail"] != "plain"}
    if facts["kind"] == "speds":
        reductions = {"encode": facts["enc"], "convs": facts["convs"], "deformed_shortcut": facts["res"]}
        shared = facts["enc"] != "none"  # the authors' ImageNet code, which halves the image here, has one neuron
        return {"kind": "speds", "position": "none", "shared_neuron": shared} | reductions
    if facts["kind"] == "chain":
        return _chain(facts)
    conv = {"kernel_size": facts["k"], "stride": facts["conv_stride"], "bias": facts["bias"]}
    return {"kind": "conv", "position": "none", "max_pool": facts.get("pool", False)} | conv


def _chain(facts: dict[str, Any]) -> dict[str, Any]:
    shares = {"D/8": 0.125, "D/4": 0.25, "D/2": 0.5, "D": 1.0}
    convs = zip(facts["widths"], facts["reduce"], strict=True)
    chain = [{"width": shares[w], "kernel_size": facts["kernel"], "pool": r == "pool"} for w, r in convs]
    return {
        "kind": "chain",
        "position": facts["position"],
        "chain": chain,
        "pool_order": "before_neuron" if facts["pool_before_neuron"] else "after_neuron",
        "shortcut_over": len(chain) - 1 - facts["shortcut"]["from"],
        "deformed_shortcut": "stride",
    }


def _stage(facts: dict[str, Any], first: bool) -> dict[str, Any]:
    *mixers, mlp = facts["block"]
    stage = {"embed_dim": facts["dim"], "depth": facts["depth"], "mlp": _mlp(mlp)}
    names = {0: [], 1: ["mixer"], 2: ["local", "mixer"]}[len(mixers)]
    stage |= {name: _mixer(mixer, facts["dim"]) for name, mixer in zip(names, mixers, strict=True)}
    if not mixers:
        stage["mixer"] = {"kind": "identity"}
    if not first:
        down = facts.get("down", {})
        stage["down"] = (
            {"kind": "speds", "convs": down["convs"], "deformed_shortcut": down["res"]}
            if down.get("kind") == "speds"
            else {"kind": "conv", "stride": down.get("stride", 2), "bias": down.get("bias", True)}
        )
    return stage


def _mixer(facts: dict[str, Any], dim: int) -> dict[str, Any]:
    mixer: dict[str, Any] = {"kind": facts["op"]}
    names = {
        "h": "num_heads",
        "proj": "projection",
        "v_ratio": "value_ratio",
        "k": "kernel_size",
        "mid": "middle_neuron",
    }
    names |= {"qkv_bias": "qkv_bias", "proj_bias": "proj_bias", "patch": "patch", "erode": "erode"}
    mixer |= {ours: facts[theirs] for theirs, ours in names.items() if theirs in facts}
    if facts.get("scale") == "2d":
        mixer |= {"scale": 2.0, "scale_by": "head_dim"}
    elif "scale" in facts:
        mixer["scale"] = facts["scale"]
    return mixer | ({"layer_scale": 1e-6} if facts.get("layer_scale") else {})


def _mlp(facts: dict[str, Any]) -> dict[str, Any]:
    mlp = {"kind": facts["op"], "ratio": facts.get("r", 4), "bias": facts.get("bias", facts["op"] == "mlp")}
    mlp |= {"inner_residual": facts.get("inner_res", False)}
    mlp |= {"group_width": facts["group"]} if "group" in facts else {}
    return mlp | ({"layer_scale": 1e-6} if facts.get("layer_scale") else {})


def _head(facts: dict[str, Any]) -> dict[str, Any]:
    neuron = facts.get("neuron", False) and not facts.get("skip_neuron", False)
    time_mean = "before" if facts["t_mean"] == "before" else "after"
    head = {"neuron": neuron, "time_mean": time_mean, "bias": facts.get("bias", True)}
    return head | {"distillation": facts.get("kd", False)}


def fill(model: nn.Module, images: Tensor, boost: float) -> None:
    """Weights by the rule of `how` in parity.json: leaf by leaf, in the order of execution."""
    order: list[nn.Module] = []
    kinds = nn.Conv2d | nn.Linear | nn.BatchNorm2d | PLIF | DualSpikeAttention
    leaves = [m for m in model.modules() if isinstance(m, kinds)]
    handles = [m.register_forward_pre_hook(lambda m, _i: order.append(m)) for m in leaves]
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
        elif isinstance(module, DualSpikeAttention):
            for rate in (module.input_rate, module.map_rate):
                _set(rate, 0.1 + 0.3 * draw.rand(rate.numel()))
        elif isinstance(module, nn.Conv2d | nn.Linear):
            _set(module.weight, draw.randn(*module.weight.shape) / np.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                _set(module.bias, 0.1 * draw.randn(module.bias.numel()))
    scales = [m.layer_scale for m in model.modules() if isinstance(m, Residual) and m.layer_scale is not None]
    for j, scale in enumerate(scales):
        _set(scale, 0.5 + 0.5 * np.random.RandomState(500 + j).rand(scale.numel()))


def _set(parameter: Tensor | None, values: Any) -> None:
    assert parameter is not None
    parameter.data.copy_(torch.as_tensor(values).reshape(parameter.shape))
