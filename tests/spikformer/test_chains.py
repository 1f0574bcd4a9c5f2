"""Stems and downsampling as chains: a plain reading of them, the kinds that they equal, and stages without blocks."""

import dataclasses
import itertools
import math
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs import contract
from spikformer import ConfigError, Spikformer, SpikformerConfig
from spikformer.config import ConvConfig, DownConfig, StemConfig
from spikformer.layers import Conv2d
from spikformer.neurons import Neuron
from spikformer.stems import LearnedPosition, Stem, downsampling, periodic_code
from tests.facts import fill
from tests.spikformer.test_axes import RESIDUALS, lif, random_spikes, settled
from tests.spikformer.test_axes import random as random_images

DIM, SIZE, STEPS = 16, 16, 3
Values = dict[str, Any]


# A plain reading


def drawn_chain(rng: random.Random, *, pixels: bool) -> Values:
    """Random fields of a chain that divides 16 pixels by 8 at most."""
    while True:
        chain = [drawn_conv(rng) for _ in range(rng.randint(1, 4))]
        chain[-1]["width"] = 1.0
        over = rng.randint(0, len(chain) - pixels)
        passed = _product(chain[len(chain) - over :])
        if _product(chain) <= 8:
            shortcut = rng.choice(["stride", "pool"]) if over and passed > 1 else "none"
            order = rng.choice(["before_neuron", "after_neuron"])
            fields = {"shortcut_over": over, "deformed_shortcut": shortcut, "pool_order": order}
            return {"kind": "chain", "chain": chain} | fields


def drawn_conv(rng: random.Random) -> Values:
    stride = rng.choice([1, 1, 2, 4])
    kernels = [1, 3, 5] if stride == 1 else [3, 5, stride]
    width = rng.choice([0.125, 0.25, 0.5, 1.0, 1.5])
    return {"width": width, "kernel_size": rng.choice(kernels), "stride": stride, "pool": rng.random() < 0.4}


def _product(chain: list[Values]) -> int:
    return math.prod(conv["stride"] * (1 + conv["pool"]) for conv in chain)


class Layer(NamedTuple):
    """The weights of a convolution and of the batch norm behind it."""

    kernel: Tensor
    norm: nn.BatchNorm2d

    def __call__(self, x_TBCHW: Tensor, stride: int = 1) -> Tensor:
        size = self.kernel.shape[-1]
        y = F.conv2d(x_TBCHW.flatten(0, 1), self.kernel, stride=stride, padding=(size - 1) // 2 if size % 2 else 0)
        n = self.norm
        y = F.batch_norm(y, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps)
        y_TBCHW: Tensor = y.unflatten(0, x_TBCHW.shape[:2])
        return y_TBCHW


def layers_of(module: nn.Module, *inputs: Tensor) -> Iterator[Layer]:
    """In the order in which they run: the chain, then its shortcut, then a position."""
    order: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [m.register_forward_pre_hook(lambda m, _x: order.append(m)) for m in module.modules() if type(m) in kinds]
    hooks += [m.register_forward_pre_hook(lambda m, _x: order.append(m)) for m in module.modules() if type(m) is Conv2d]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    for conv, norm in zip(order[::2], order[1::2], strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        yield Layer(conv.weight, norm)


def pooled(x_TBCHW: Tensor) -> Tensor:
    pooled_TBCHW: Tensor = F.max_pool2d(x_TBCHW.flatten(0, 1), 3, 2, 1).unflatten(0, x_TBCHW.shape[:2])
    return pooled_TBCHW


def joined(stream: Tensor, branch: Tensor, residual: str) -> Tensor:
    return stream * (1 - branch) if residual == "sew_iand" else stream + branch


def plain_chain(
    x: Tensor, part: StemConfig | DownConfig, layers: Iterator[Layer], residual: str, *, membrane: bool
) -> Tensor:
    """A for loop over the convolutions; `membrane`, whether the last has no neuron."""
    start = len(part.chain) - part.shortcut_over
    before = x
    for i, conv in enumerate(part.chain):
        before = x if i == start else before
        x = next(layers)(x, conv.stride)
        has_neuron = not (membrane and i == len(part.chain) - 1)
        pools_after = conv.pool and has_neuron and part.pool_order == "after_neuron"
        x = pooled(x) if conv.pool and not pools_after else x
        x = lif(x) if has_neuron else x
        x = pooled(x) if pools_after else x
    if part.shortcut_over:
        times = math.prod(conv.downsampling for conv in part.chain[start:])
        beside = next(layers)(before, times if part.deformed_shortcut == "stride" else 1)
        while beside.shape[-1] > x.shape[-1]:
            beside = pooled(beside)
        x = joined(beside if residual == "ms" else lif(beside), x, residual)
    return x


def plain_stem(images_BCHW: Tensor, config: SpikformerConfig, layers: Iterator[Layer], table: Tensor | None) -> Tensor:
    stem, residual = config.stem, config.residual
    replaced = stem.position == "conv" and not stem.shortcut
    membrane = residual == "ms" and (stem.shortcut_over > 0 or not replaced)
    frames = images_BCHW.expand(config.time_steps, -1, -1, -1, -1)
    x = plain_chain(frames, stem, layers, residual, membrane=membrane)
    if stem.position == "conv":
        place = next(layers)(lif(x) if membrane else x)
        place = place if residual == "ms" else lif(place)
        return joined(x, place, residual) if stem.shortcut else place
    if table is not None:
        steps = table.expand(config.time_steps, 1, -1, -1, -1)
        return joined(x, steps if residual == "ms" else lif(steps), residual)
    if stem.position == "cpg":
        code = periodic_code(config.time_steps, DIM, x.shape[-1] ** 2).unflatten(-1, x.shape[-2:])
        return joined(x, code[:, None].double(), residual)
    return x


STEMS = [
    (residual, position, shortcut)
    for residual, position, shortcut in itertools.product(RESIDUALS, ("conv", "learned", "cpg", "none"), (True, False))
    if position == "conv" or shortcut
]


@pytest.mark.parametrize(("residual", "position", "shortcut"), STEMS)
def test_a_stem_is_what_its_fields_say(residual: str, position: str, shortcut: bool) -> None:
    """Convolutions, pools, neurons and joins written out in a loop; five random chains each."""
    rng = random.Random(f"{residual} {position} {shortcut}")
    for _ in range(5):
        chain = drawn_chain(rng, pixels=True)
        stem = {"image_size": SIZE, "position": position, "shortcut": shortcut} | chain
        config = SpikformerConfig.from_dict(contract.small(residual=residual, time_steps=STEPS, stem=stem))
        torch.manual_seed(0)
        images = random_images(2, 3, SIZE, SIZE, seed=rng.randrange(100))
        layer = settled(Stem(config), images[None])
        table = layer.position.table if isinstance(layer.position, LearnedPosition) else None
        with torch.no_grad():
            expected = plain_stem(images, config, layers_of(layer, images[None]), table)
            torch.testing.assert_close(layer(images[None]), expected, rtol=0, atol=1e-12)
        assert expected.shape[-1] == SIZE // _product(chain["chain"])
        assert expected.std() > 0


@pytest.mark.parametrize("residual", RESIDUALS)
def test_a_downsampling_is_what_its_fields_say(residual: str) -> None:
    rng = random.Random(residual)
    for seed in range(12):
        down = DownConfig(**_parts(drawn_chain(rng, pixels=False)))
        config = SpikformerConfig.from_dict(contract.small(residual=residual, time_steps=STEPS))
        torch.manual_seed(seed)
        x = random_spikes(STEPS, 2, 8, SIZE, SIZE, rate=0.4, seed=seed)
        x = x if residual != "ms" else x - random_images(*x.shape, seed=seed)
        layer = settled(downsampling(8, DIM, down, config), x)
        with torch.no_grad():
            expected = lif(x) if residual == "ms" else x
            expected = plain_chain(expected, down, layers_of(layer, x), residual, membrane=residual == "ms")
            torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def _parts(values: Values) -> Values:
    return values | {"chain": tuple(ConvConfig(**conv) for conv in values["chain"])}


# Chains with a name


class Behaviour(NamedTuple):
    """What tells two networks apart that have equal weights."""

    logits: tuple[float, ...]
    spikes: float
    neurons: int
    parameters: int


def behaviour(config: SpikformerConfig) -> Behaviour:
    """With weights filled in the order in which they run."""
    torch.manual_seed(0)
    model = Spikformer(config).double().eval()
    stem = config.stem
    images = torch.rand(2, stem.in_channels, stem.image_size, stem.image_size, dtype=torch.float64) * 2
    fill(model, images, 0.1)
    spikes: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _x, fired: spikes.append(fired.sum()))
    with torch.no_grad():
        logits = model(images)
    parameters = sum(p.numel() for p in model.parameters())
    rounded = tuple(round(value, 9) for value in logits.flatten().tolist())
    return Behaviour(rounded, sum(map(float, spikes)), len(spikes), parameters)


def network(residual: str, stem: Values | None = None, down: Values | None = None) -> SpikformerConfig:
    """Without attention; a second stage, if there is a downsampling."""
    stage: Values = {"embed_dim": DIM, "depth": 1, "mixer": {"kind": "identity"}, "mlp": {"ratio": 1}}
    stages = [stage] if down is None else [stage, stage | {"embed_dim": 24, "down": down}]
    stem = {"image_size": 8} | (stem or {"pool": [False, False, False, True]})
    return SpikformerConfig.from_dict(contract.small(residual=residual, time_steps=2, stem=stem, stages=stages))


def chain_of(stem: Values) -> Values:
    """A stem of another kind as a chain."""
    place = {name: stem[name] for name in ("position", "shortcut") if name in stem}
    order = stem.get("pool_order", "before_neuron")
    if stem["kind"] == "sps":
        chain = [
            {"width": width, "pool": pool} for width, pool in zip((0.125, 0.25, 0.5, 1), stem["pool"], strict=True)
        ]
        return place | {"kind": "chain", "chain": chain, "pool_order": order}
    if stem["kind"] == "conv":
        conv = {"kernel_size": stem["kernel_size"], "stride": stem["stride"], "pool": stem["max_pool"]}
        return place | {"kind": "chain", "chain": [conv], "pool_order": order}
    convs = [_reduced(stem["encode"], 0.5), *(_reduced(each) for each in stem["convs"])]
    fields = {"shortcut_over": len(stem["convs"]), "deformed_shortcut": stem["deformed_shortcut"]}
    return place | {"kind": "chain", "chain": convs, "pool_order": order} | fields


def _reduced(reduction: str, width: float = 1.0) -> Values:
    return {"width": width, "pool": reduction == "pool", "stride": 2 if reduction == "stride" else 1}


NAMED: list[Values] = [
    {"kind": "sps", "pool": [False, True, False, True], "pool_order": "after_neuron"},
    {"kind": "sps", "pool": [True, False, False, False], "pool_order": "before_neuron", "position": "none"},
    {"kind": "sps", "pool": [False, False, True, True], "pool_order": "after_neuron", "shortcut": False},
    {"kind": "speds", "encode": "pool", "convs": ["none"], "deformed_shortcut": "none"},
    {"kind": "speds", "encode": "none", "convs": ["pool", "none"], "deformed_shortcut": "stride", "shortcut": False},
    {"kind": "speds", "encode": "stride", "convs": ["stride"], "deformed_shortcut": "pool", "position": "none"},
    {"kind": "conv", "kernel_size": 3, "stride": 2, "max_pool": False, "position": "none"},
    {"kind": "conv", "kernel_size": 7, "stride": 1, "max_pool": True, "position": "conv", "shortcut": False},
    {"kind": "conv", "kernel_size": 5, "stride": 1, "max_pool": True, "position": "cpg"},
]


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("stem", NAMED, ids=lambda stem: stem["kind"])
def test_a_chain_that_has_a_name_is_the_network_of_that_name(stem: Values, residual: str) -> None:
    """Equal id, equal logits and spikes with equal weights."""
    if stem["kind"] == "conv" and residual != "ms":
        return  # there is none
    named = network(residual, stem | ({"shared_neuron": True} if stem["kind"] == "speds" else {}))
    written = network(residual, chain_of(stem))
    assert named != written
    assert named.config_id == written.config_id
    assert behaviour(named) == behaviour(written)


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize(
    ("named", "fields"),
    [
        ({"kind": "conv", "stride": 2}, {"chain": [{"stride": 2}]}),
        ({"kind": "conv", "stride": 1}, {"chain": [{}]}),
        ({"kind": "speds"}, {"chain": [{}, {"pool": True}], "shortcut_over": 2, "deformed_shortcut": "stride"}),
        (
            {"kind": "speds", "convs": ["stride"], "deformed_shortcut": "pool"},
            {"chain": [{"stride": 2}], "shortcut_over": 1, "deformed_shortcut": "pool"},
        ),
    ],
)
def test_a_downsampling_that_has_a_name_likewise(named: Values, fields: Values, residual: str) -> None:
    one, other = network(residual, down=named), network(residual, down={"kind": "chain"} | fields)
    assert one != other
    assert one.config_id == other.config_id
    assert behaviour(one) == behaviour(other)


def drawn_network(rng: random.Random) -> SpikformerConfig:
    """Of few settings, so that many are equal, written in several ways."""
    while True:
        residual = rng.choice(["sew", "ms"])
        place = {"position": rng.choice(["none", "conv"]), "shortcut": rng.random() < 0.3}
        reductions = [rng.choice(["none", "none", "pool", "stride"]) for _ in range(rng.randint(1, 3))]
        halved = any(each != "none" for each in reductions[1:])
        deformed = rng.choice(["pool", "stride"]) if halved else "none"
        speds: Values = {
            "kind": "speds",
            "encode": reductions[0],
            "convs": reductions[1:],
            "deformed_shortcut": deformed,
        }
        speds |= {"shared_neuron": rng.random() < 0.7, "pool_order": rng.choice(["before_neuron", "after_neuron"])}
        sps: Values = {"kind": "sps", "pool": [rng.random() < 0.3 for _ in range(4)], "pool_order": speds["pool_order"]}
        conv: Values = {"kind": "conv", "kernel_size": 3, "stride": rng.choice([1, 2]), "max_pool": rng.random() < 0.5}
        stem = rng.choice([sps, speds, conv]) | place
        if rng.random() < 0.6:
            stem = chain_of({"pool_order": rng.choice(["before_neuron", "after_neuron"])} | stem)
            if rng.random() < 0.4:
                stem["chain"].append({})
            if rng.random() < 0.2:
                stem["chain"][0]["kernel_size"] = 5
        try:
            return network(residual, stem)
        except ConfigError:
            continue


def drawn_layer(rng: random.Random) -> SpikformerConfig:
    """A network of a random downsampling, of few settings."""
    reductions = rng.choice([["none"], ["stride"], ["pool"], ["none", "pool"], ["pool", "none"], ["stride", "none"]])
    deformed = "none" if reductions == ["none"] else rng.choice(["pool", "stride"])
    named: Values = rng.choice(
        [
            {"kind": "speds", "convs": reductions, "deformed_shortcut": deformed},
            {"kind": "conv", "stride": rng.choice([1, 2]), "bias": rng.random() < 0.3},
        ]
    )
    over = rng.randint(0, len(reductions))
    shortcut = {"shortcut_over": over, "deformed_shortcut": deformed if {*reductions[-over:]} != {"none"} else "none"}
    order = {"pool_order": rng.choice(["before_neuron", "after_neuron"])}
    chain = {"kind": "chain", "chain": [_reduced(each) for each in reductions]} | shortcut | order
    return network(rng.choice(["sew", "ms"]), down=chain if rng.random() < 0.6 else named)


@pytest.mark.parametrize(("drawn", "count"), [(drawn_network, 150), (drawn_layer, 80)])
def test_ids_are_equal_if_and_only_if_networks_are(
    drawn: Callable[[random.Random], SpikformerConfig], count: int
) -> None:
    """All pairs of some random networks: no two share an id and differ, none are equal under two ids."""
    rng = random.Random(0)
    networks = list(dict.fromkeys(drawn(rng) for _ in range(count)))
    pairs = {(config.config_id, behaviour(config)) for config in networks}
    ids, behaviours = {config_id for config_id, _ in pairs}, {each for _, each in pairs}
    assert len(ids) == len(pairs), "one id, two networks"
    assert len(behaviours) == len(pairs), "one network, two ids"
    assert len(pairs) < len(networks) - 5  # some are written in several ways


# Stages without blocks


STAGE: Values = {"embed_dim": DIM, "depth": 1, "mixer": {"kind": "ssa", "num_heads": 2}, "mlp": {"ratio": 2}}
EMPTY = STAGE | {"depth": 0}
OTHER = STAGE | {"mlp": {"ratio": 1}}
DOWN: Values = {"down": {"kind": "conv"}}


def of_stages(*stages: Values) -> SpikformerConfig:
    return SpikformerConfig.from_dict(contract.small(residual="ms", time_steps=2, stages=list(stages)))


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ([EMPTY, STAGE], [STAGE]),
        ([STAGE, EMPTY], [STAGE]),
        ([STAGE, EMPTY, STAGE], [STAGE | {"depth": 2}]),
        ([STAGE, EMPTY, OTHER], [STAGE, OTHER]),
        ([EMPTY, EMPTY, STAGE, EMPTY, EMPTY], [STAGE]),
        ([STAGE, EMPTY | DOWN, STAGE], [STAGE, STAGE | DOWN]),
        ([STAGE, EMPTY | DOWN, EMPTY, OTHER], [STAGE, OTHER | DOWN]),
        ([STAGE, STAGE | DOWN, EMPTY], [STAGE, STAGE | DOWN]),
        ([EMPTY, STAGE | DOWN], [EMPTY | {"mixer": {"kind": "mine:Gone"}}, STAGE | DOWN]),  # its blocks are not built
        ([STAGE, EMPTY | DOWN], [STAGE, EMPTY | DOWN | {"mlp": {"ratio": 1}}]),
    ],
)
def test_a_stage_without_blocks_adds_nothing(written: list[Values], plain: list[Values]) -> None:
    """Equal id, logits and spikes without it; what stands before it moves to the next stage of its width."""
    one, other = of_stages(*written), of_stages(*plain)
    assert one != other
    assert one.canonical() == other.canonical()
    assert one.config_id == other.config_id
    assert behaviour(one) == behaviour(other)


def test_a_last_stage_without_blocks_is_its_downsampling() -> None:
    config = of_stages(STAGE, EMPTY | {"embed_dim": 24} | DOWN)
    model, images = contract.calibrated(config)
    first, last = model.stages
    tokens = last.get_submodule("down")(first(model.stem(images[None])))
    assert tokens.shape[2:] == (24, 2, 2)
    assert torch.equal(model(images), model.head(tokens))
    ids = {each.config_id for each in (config, of_stages(STAGE), of_stages(STAGE, STAGE | {"embed_dim": 24} | DOWN))}
    assert len(ids) == 3
    assert dataclasses.replace(config, drop_path=0.5).config_id == config.config_id  # the one block is the first
