"""What every network of the schema owes, checked on a small one: ours in the tests, yours by `check-block`.

Shapes and gradients; no state that survives a call; no influence between the samples of a batch; weights
and config that survive being written down; neurons that work place by place; time steps that are alike; operations
counted as an enumeration of every pair counts them.
Everything in float64, where rounding flips no spike.
"""

import copy
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs.counter import OperationCounter
from nas.costs.custom_neurons import mixes_places
from nas.costs.enumeration import Enumeration, Tally, enumerate_costs
from nas.costs.equivariance import difference_between_steps
from nas.costs.operations import Operation, Overheads
from nas.errors import CostError
from spikformer import plugins
from spikformer.config import DownConfig, MixerConfig, MLPConfig, NeuronConfig, SpikformerConfig, StemConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable
from spikformer.layers import Residual
from spikformer.model import Spikformer
from spikformer.neurons import Neuron
from spikformer.plugins import is_custom

_CPU = torch.device("cpu")
_BATCH = 3
_TRAINING_BATCH = 16

Part = Literal["stem", "down", "mixer", "mlp", "neuron"]
_STRIDES: dict[Part, tuple[int, ...]] = {"stem": (2, 4), "down": (1, 2)}  # by which a part must be able to divide


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
    promises = _CHECKS | (_OF_STEMS if ":" in config.stem.kind else {})
    return [Check(name, *check(model, images), network) for name, check in promises.items()]


def check_block(reference: str, options: PlainTable | None = None, part: Part | None = None) -> list[Check]:
    """Every promise of a block of your own, under both residuals, at one time step and at four.

    A stem is tried with strides 2 and 4, a downsampling with 1 and 2. A network that the block refuses by a ConfigError
    is no broken promise.

    Args:
        reference: "package.module:Class".
        options: of it, instead of its own defaults.
        part: of a network that it takes; by default a neuron if it is a `spikformer.neurons.Neuron`, else a mixer.

    Raises:
        ConfigError: no such class, or it refuses the options, or every network.
    """
    options = options or {}
    plugins.allow(reference)  # whoever asks for it names it
    part = part or ("neuron" if issubclass(plugins.resolve(reference), Neuron) else "mixer")
    once = plugins.canonical(reference, options)
    equal = plugins.canonical(reference, once) == once
    results = [Check("equal settings are written one way", equal, f"{once}", "")]
    refusals = []
    for residual, time_steps, stride in itertools.product(("sew", "ms"), (1, 4), _STRIDES.get(part, (1,))):
        network = f"residual {residual}, T = {time_steps}" + (f", stride {stride}" if part in _STRIDES else "")
        try:
            config = _with_block(_Own(part, reference, options, stride), residual, time_steps)
            Spikformer(config)
        except ConfigError as error:
            refusals.append(Check("takes part", True, f"refused: {error}", network))
            continue
        try:
            results += checks(config, network)
        except Exception as error:  # whatever code of yours may raise
            results.append(Check("runs", False, f"{type(error).__name__}: {error}", network))
    if len(results) == 1:
        raise ConfigError(f"{reference} cannot be used in any network; {refusals[0].detail}")
    return results + refusals


def hold_to_costs(config: SpikformerConfig) -> None:
    """Check once a process that each block of the user's own in a network costs what is counted.

    Raises:
        CostError: it does not.
    """
    for own in _own_blocks(config):
        place = (own.part, own.reference, json.dumps(own.options, sort_keys=True), own.stride)
        key = (*place, config.residual, min(config.time_steps, 4))
        if key in _HELD:
            continue
        part = "" if own.part in ("mixer", "neuron") else f" --part {own.part}"
        try:
            _hold(*_network_for(own, config))
        except CostError as error:
            command = f"python cli.py check-block {own.reference}{part}"
            raise CostError(f"{error}. `{command}` checks the whole block") from None
        except Exception as error:  # whatever code of yours raises
            raise CostError(f"{own.reference} cannot be run: {type(error).__name__}: {error}") from error
        _HELD.add(key)


def _network_for(own: "_Own", config: SpikformerConfig) -> tuple[Spikformer, Tensor]:
    """A small network with the block, or its own where it takes part in no network so small."""
    try:
        return calibrated(_with_block(own, config.residual, min(config.time_steps, 4)))
    except Exception:  # of the package, or of the block
        return calibrated(config)


def _hold(model: Spikformer, images: Tensor) -> None:
    for check in _OF_COSTS:
        passed, detail = _CHECKS[check](model, images)
        if not passed and _SILENT not in detail:
            raise CostError(detail)


_HELD: set[tuple[str | int, ...]] = set()
_SILENT = "nothing ever reached"


@dataclass(frozen=True)
class _Own:
    """A block of the user's own, and the part of a network that it takes; stems and downsampling have a stride."""

    part: Part
    reference: str
    options: PlainTable
    stride: int = 1


def _own_blocks(config: SpikformerConfig) -> Iterator[_Own]:
    """Yields the blocks of the user's own that a network is built of."""
    parts: list[tuple[Part, NeuronConfig | StemConfig | DownConfig | MixerConfig | MLPConfig]]
    parts = [("neuron", config.neuron), ("stem", config.stem)]
    for stage in config.stages:
        parts.append(("down", stage.down))
        if stage.depth:
            parts += [("mixer", stage.local), ("mixer", stage.mixer), ("mlp", stage.mlp)]
    for part, own in parts:
        if ":" in own.kind:
            stride = own.stride if isinstance(own, StemConfig | DownConfig) else 1
            yield _Own(part, own.kind, own.options.to_dict(), stride)


def _with_block(own: _Own, residual: str, time_steps: int) -> SpikformerConfig:
    values = small(residual=residual, time_steps=time_steps)
    stage = values["stages"][0]
    block = {"kind": own.reference, "options": own.options}
    if own.part == "stem":
        size = max(8, 2 * own.stride)
        values["stem"] = {"image_size": size, "position": "none", "stride": own.stride} | block
    elif own.part == "down":
        values["stem"]["image_size"] = max(8, 4 * own.stride)
        values["stages"].append(stage | {"embed_dim": 24, "down": block | {"stride": own.stride}})
    elif own.part == "neuron":
        values["neuron"] |= block
    else:
        stage[own.part] = block
    return SpikformerConfig.from_dict(values)


def small(**fields: object) -> PlainTable:
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
    shape = (_BATCH, model.config.head.num_classes)
    return tuple(logits.shape) == shape and bool(logits.isfinite().all()), f"logits {tuple(logits.shape)}"


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


def _place_by_place(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    currents: dict[str, tuple[Neuron, Tensor]] = {}

    def keep(path: str, neuron: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(neuron, Neuron)
        currents[path] = neuron, inputs[0].detach().clone()

    neurons = [(path, module) for path, module in model.named_modules() if isinstance(module, Neuron)]
    hooks = [neuron.register_forward_pre_hook(functools.partial(keep, path)) for path, neuron in neurons]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    mixing = [path for path, (neuron, x_T) in currents.items() if mixes_places(neuron, x_T)]
    return not mixing, f"places act on one another: {mixing[:3]}" if mixing else f"{len(currents)} layers of neurons"


def _alike_in_time(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    """The neurons of a block could else add up channels or tokens that take the place of time.

    A stem is shown frames, which differ: a still image has one time step, and no order.
    """
    if ":" in model.config.stem.kind:
        images = torch.stack([_images(model, len(images)) for _ in range(model.config.time_steps)])
    blocks = {path: module for path, module in model.named_modules() if is_custom(module)}
    outermost = [path for path in blocks if not any(path.startswith(f"{other}.") for other in blocks)]
    for path in outermost:
        if not isinstance(blocks[path], Neuron) and (detail := difference_between_steps(blocks[path], model, images)):
            return False, f"{path}: {detail}"
    return True, "outside neurons all time steps are treated alike"


def _still_as_frames(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    """A stem computes once what it shows at every step, or at every step; frames may only be computed at every step."""
    frames = images.expand(model.config.time_steps, -1, -1, -1, -1)
    worst = (model(images) - model(frames)).abs().max().item()
    return worst < 1e-9, f"logits of an image and of as many equal frames as time steps differ by {worst:.1e}"


def _costs(model: Spikformer, images: Tensor) -> tuple[bool, str]:
    try:
        with torch.no_grad(), OperationCounter(model) as counter:
            model(images)
        counted = counter.operations()  # held against torch's FLOPs
        enumerated = enumerate_costs(model, images, _images(model, len(images)))
    except CostError as error:
        return False, str(error)
    difference = _difference(counted, counter.overheads, enumerated)
    silent = [op.path for op in counted if op.nonzero == 0]
    detail = difference or (f"{_SILENT} {silent[:3]}" if silent else f"{len(counted)} operations equal")
    return not difference and not silent, detail


def _difference(counted: Sequence[Operation], overheads: Overheads, enumerated: Enumeration) -> str:
    """Says in what the counter and the enumeration differ; "" where they agree."""
    expected = {(tally.path, tally.index): tally for tally in enumerated.operations}
    for operation in counted:
        values = {name: getattr(operation, name) for name in Tally.__dataclass_fields__}
        tally = expected.pop((operation.path, operation.index), None)
        if tally != Tally(**values):
            return f"{operation.path}, operation {operation.index}: counted {values}, enumerated {tally}"
    if expected:
        return f"enumerated, and not counted: {next(iter(expected.values()))}"
    for name in ("neuron_updates", "residual_additions"):
        if getattr(overheads, name) != getattr(enumerated, name):
            return f"{name}: counted {getattr(overheads, name)}, enumerated {getattr(enumerated, name)}"
    return ""


_OF_COSTS = ("neurons work place by place", "time steps are alike", "costs equal enumeration")
_CHECKS: dict[str, Callable[[Spikformer, Tensor], tuple[bool, str]]] = {
    "shapes": _shapes,
    "no state survives a call": _stateless,
    "samples are independent": _independent,
    "gradients": _gradients,
    "written down and read again": _written_down,
    "neurons work place by place": _place_by_place,
    "time steps are alike": _alike_in_time,
    "costs equal enumeration": _costs,
}
_OF_STEMS: dict[str, Callable[[Spikformer, Tensor], tuple[bool, str]]] = {"frames and images": _still_as_frames}
