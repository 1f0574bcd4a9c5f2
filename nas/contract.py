"""What every network of the schema owes, checked on a small one: ours in the tests, yours by `check-block`.

Shapes and gradients; no state that survives a call; no influence between the samples of a batch; weights
and config that survive being written down; operations counted as an enumeration of every pair counts them.
Everything in float64, where rounding flips no spike.
"""

import copy
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.cost import Count, OperationCounter, Rules
from nas.errors import CostError
from spikformer import plugins
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.layers import Residual
from spikformer.model import Spikformer
from spikformer.neurons import Neuron

_CPU = torch.device("cpu")
_BATCH = 3
_TRAINING_BATCH = 16


@dataclass(frozen=True)
class Check:
    """One promise on one network: `detail` says how it is broken, or what was seen."""

    name: str
    passed: bool
    detail: str
    network: str


def checks(config: SpikformerConfig, network: str = "", device: torch.device = _CPU) -> list[Check]:
    """Every promise, on one network, under a name for it."""
    model, images = calibrated(config, device=device)
    return [Check(name, *check(model, images), network) for name, check in _CHECKS.items()]


def check_block(reference: str, options: dict[str, Any] | None = None) -> list[Check]:
    """Every promise of a block of your own, under both residuals, at one time step and at four.

    A network that the block refuses by a ConfigError is no broken promise.

    Args:
        reference: "package.module:Class", a neuron if it is a `spikformer.neurons.Neuron`, else a mixer.
        options: of it, instead of its own defaults.

    Raises:
        ConfigError: no such class, or it refuses the options, or every network.
    """
    options = options or {}
    plugins.allow(reference)  # whoever asks for it names it
    once = plugins.canonical(reference, options)
    equal = plugins.canonical(reference, once) == once
    results = [Check("equal settings are written one way", equal, f"{once}", "")]
    refusals = []
    for residual, time_steps in itertools.product(("sew", "ms"), (1, 4)):
        network = f"residual {residual}, T = {time_steps}"
        try:
            config = _with_block(reference, options, residual, time_steps)
            Spikformer(config)
        except ConfigError as error:
            refusals.append(Check("takes part", True, f"refused: {error}", network))
            continue
        try:
            results += checks(config, network)
        except Exception as error:  # whatever code of yours may raise
            results.append(Check("runs", False, f"{type(error).__name__}: {error}", network))
    if len(results) == 1:
        raise ConfigError(f"{reference} takes part in no network; {refusals[0].detail}")
    return results + refusals


def _with_block(reference: str, options: dict[str, Any], residual: str, time_steps: int) -> SpikformerConfig:
    values = small(residual=residual, time_steps=time_steps)
    part = {"kind": reference, "options": options}
    if issubclass(plugins.resolve(reference), Neuron):
        values["neuron"] |= part
    else:
        values["stages"][0]["mixer"] = part
    return SpikformerConfig.from_dict(values)


def small(**fields: Any) -> dict[str, Any]:
    """Plain values of a network of a few thousand parameters for 3 x 8 x 8 images, whose neurons fire."""
    # At so few channels and tokens the published threshold and scale of attention would leave it silent.
    mixer = {"num_heads": 2, "threshold": 0.25, "scale": 1.0}
    return {
        "time_steps": 4,
        "residual": "ms",
        "neuron": {"tau": 1.5, "threshold": 0.25, "surrogate": "atan"},
        "stem": {"image_size": 8, "pool": [False, False, False, True]},
        "stages": [{"embed_dim": 16, "depth": 1, "mixer": mixer, "mlp": {"ratio": 2}}],
        "head": {"num_classes": 5},
    } | fields


def calibrated(config: SpikformerConfig, seed: int = 0, device: torch.device = _CPU) -> tuple[Spikformer, Tensor]:
    """A network in eval mode and float64 that fires in every layer, and images [B, C, H, W] for it."""
    torch.manual_seed(seed)
    model = Spikformer(config).double().to(device)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.bias.fill_(0.3)  # so that spikes reach every layer
            norm.momentum = None  # a plain mean: a moving average would keep a share of its start, variance 1
        if config.residual == "sew_iand":  # a branch that fires silences the stream: few may
            for branch in (m.branch for m in model.modules() if isinstance(m, Residual)):
                last = [m for m in branch.modules() if isinstance(m, nn.BatchNorm2d)][-1]
                last.bias.fill_(-0.5)
        for _ in range(5):
            model(_images(model, 8))
    return model.eval(), _images(model, _BATCH)


def _images(model: Spikformer, count: int) -> Tensor:
    """The same on every device."""
    stem = model.config.stem
    images = torch.randn(count, stem.in_channels, stem.image_size, stem.image_size, dtype=torch.float64)
    return images.to(next(model.parameters()).device)


def _shapes(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    logits = model(images)
    wanted = (_BATCH, model.config.head.num_classes)
    return tuple(logits.shape) == wanted and bool(logits.isfinite().all()), f"logits {tuple(logits.shape)}"


def _stateless(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    first = model(images)
    model(_images(model, 5))
    return torch.equal(model(images), first), "the same images give the same logits after others"


def _independent(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    alone = torch.cat([model(image[None]) for image in images])
    worst = (model(images) - alone).abs().max().item()
    return worst < 1e-9, f"a sample's logits move by {worst:.1e} with its neighbours"


def _gradients(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    learner = copy.deepcopy(model).train()
    labels = torch.arange(_TRAINING_BATCH) % model.config.head.num_classes
    F.cross_entropy(learner(_images(model, _TRAINING_BATCH)), labels.to(images.device)).backward()
    parameters = dict(learner.named_parameters())
    broken = [name for name, p in parameters.items() if p.grad is None or not p.grad.isfinite().all()]
    still = [name for name, p in parameters.items() if p.ndim > 1 and p.grad is not None and not p.grad.any()]
    detail = f"no finite gradient: {broken[:3]}" if broken else f"zero gradient: {still[:3]}" if still else "all finite"
    return not broken and not still, detail


def _written_down(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    config = model.config
    again = SpikformerConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    rebuilt = Spikformer(again).double().to(images.device).eval()
    rebuilt.load_state_dict(model.state_dict())
    equal = again == config and again.config_id == config.config_id and torch.equal(rebuilt(images), model(images))
    return equal, "config through JSON, weights through state_dict"


def _costs(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    try:
        with torch.no_grad():
            with OperationCounter(model) as counter:
                model(images)
            with OperationCounter(model, _ENUMERATE) as enumerated:
                model(images)
        counted, expected = counter.operations(), enumerated.operations()  # both are held against torch's FLOPs
    except CostError as error:
        return False, str(error)
    for one, other in zip(counted, expected, strict=True):
        if one != other:
            return False, f"{one.path}, operation {one.index}: counted {one}, enumerated {other}"
    silent = [op.path for op in counted if op.nonzero == 0]
    return not silent, f"nothing ever reached {silent[:3]}" if silent else f"{len(counted)} operations equal"


_CHECKS: dict[str, Callable[[Spikformer, Tensor], tuple[bool, str]]] = {
    "shapes": _shapes,
    "no state survives a call": _stateless,
    "samples are independent": _independent,
    "gradients": _gradients,
    "written down and read again": _written_down,
    "costs equal enumeration": _costs,
}


# The same counts as in `nas.cost`, with every pair of factors written out.


def _enumerate_convolution(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    x, weight, bias, stride, padding, dilation = args[:6]
    groups, size = args[8], weight.shape[2:]

    def windows(values: Tensor) -> Tensor:  # [n, C * k * k, places]: what each output sees
        return F.unfold(values.double(), size, dilation, padding, stride)

    fan_out = out.shape[1] // groups
    geometry = {"input": list(x.shape[1:]), "output": list(out.shape[1:]), "kernel": list(size)}
    seen = windows(torch.ones_like(x))
    biases = 0 if bias is None else out.numel()
    count.add("weight", geometry, seen.numel() * fan_out, int(seen.sum()) * fan_out, x.numel(), biases)
    spikes = _spikes(count, 0, x)
    _add_enumerated(count, windows(x), windows(spikes), fan_out, spikes)


def _enumerate_linear(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    x, weight = args[-2:]
    if len(count.operands) == 2:
        _enumerate_pairs(count, x[None], weight[None])
        return
    pairs, spikes = x[:, :, None].expand(-1, -1, out.shape[1]), _spikes(count, 0, x)
    geometry = {"input": [x.shape[1]], "output": [out.shape[1]]}
    count.add("weight", geometry, pairs.numel(), pairs.numel(), x.numel(), out.numel() if len(args) == 3 else 0)
    _add_enumerated(count, pairs, spikes[:, :, None].expand_as(pairs), 1, spikes)


def _enumerate_sum(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    x, spikes = args[0], _spikes(count, 0, args[0])
    geometry = {"input": list(x.shape[2:]), "output": list(out.shape[2:])}
    count.add("sum", geometry, x.numel(), x.numel(), x.numel())
    _add_enumerated(count, x, spikes, 1, spikes)


def _enumerate_addition(count: Count, args: tuple[Any, ...], out: Tensor) -> None:
    addends = [x.expand(out.shape) for x in args[:2]]
    geometry = {"input": [2, *out.shape[2:]], "output": list(out.shape[2:])}
    count.add("sum", geometry, 2 * out.numel(), 2 * out.numel(), 2 * out.numel())
    nonzero = sum((x != 0).sum() for x in addends)
    spiking = [i for i, operand in enumerate(count.operands) if operand.kind != "real"]
    spikes = [_spikes(count, i, addends[i]).sum() for i in spiking]
    total = torch.stack(spikes).sum() if spikes else None
    count.add_pairs(torch.as_tensor(nonzero), total, total)


def _spikes(count: Count, operand: int, x: Tensor) -> Tensor:
    """Spikes of each number by the definition: how many quanta its size is; not of real numbers."""
    declared = count.operands[operand]
    return (x != 0).double() if declared.kind == "real" else (x.double() / declared.quantum).abs()


def _add_enumerated(count: Count, values: Tensor, met: Tensor, fan_out: int, spikes: Tensor) -> None:
    count.add_met((values != 0).sum() * fan_out, met.double().sum() * fan_out, spikes.double().sum())


def _enumerate_product(count: Count, args: tuple[Any, ...], _out: Tensor) -> None:
    _enumerate_pairs(count, *args[-2:])


def _enumerate_pairs(count: Count, a_bmk: Tensor, b_bkn: Tensor) -> None:
    a, b = _spikes(count, 0, a_bmk)[..., None], _spikes(count, 1, b_bkn)[:, None]  # [b, m, k, 1] and [b, 1, k, n]
    met = (a_bmk[..., None] != 0) & (b_bkn[:, None] != 0)
    (_, m, k), n = a_bmk.shape, b_bkn.shape[2]
    count.add("product", {"left": [m, k], "right": [k, n]}, met.numel(), met.numel())
    kinds = [operand.kind for operand in count.operands]
    if kinds == ["real", "real"]:
        count.add_pairs(met.sum(), None, None)
        return
    unit = any(operand.is_unit for operand in count.operands)
    pair_events = met if unit else a * b if "real" in kinds else torch.minimum(a, b)
    count.add_pairs(met.sum(), (a * b).sum(), pair_events.sum(dtype=torch.float64))


_aten = torch.ops.aten
_ENUMERATE: Rules = {
    _aten.convolution: _enumerate_convolution,
    _aten.mm: _enumerate_linear,
    _aten.addmm: _enumerate_linear,
    _aten.bmm: _enumerate_product,
    _aten.sum: _enumerate_sum,
    _aten.add: _enumerate_addition,
}
