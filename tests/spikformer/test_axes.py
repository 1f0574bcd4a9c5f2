"""What each axis of the blocks is, by its defining identity: closed forms, tables by hand, loops written out.

Attention in windows of space and time, the order of its products, IAND joins, positions, the place of
pools, stochastic depth, neurons, layer scale, dual spike attention, heads; and that each of them trains.
"""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.costs import contract
from nas.costs.counter import OperationCounter
from nas.datasets import loaders as data
from nas.settings import Recipe
from nas.spaces import load_space
from nas.training.augmentation import Normalise
from nas.training.fitting import fit
from spikformer import Spikformer, SpikformerConfig
from spikformer.config import NeuronConfig, Residual
from spikformer.layers import Residual as ResidualBranch
from spikformer.layers import join
from spikformer.model import Head
from spikformer.neurons import Neuron, neuron
from spikformer.stems import PatchStage, Stem, periodic_code
from spikformer.token_mixers import DualSpikeAttention, SpikingAttention
from tests.conftest import MICRO
from tests.helpers import thinned

M = TypeVar("M", bound=nn.Module)
RESIDUALS: tuple[str, ...] = get_args(Residual)
TAU, THRESHOLD = 1.5, 0.25  # of the neurons of `contract.small`


def config_of(**fields: Any) -> SpikformerConfig:
    """`contract.small` with some parts changed; `mixer`, `mlp`, `stage` are those of its one stage."""
    values = contract.small()
    stage = values["stages"][0]
    for part in ("mixer", "mlp", "local"):
        stage[part] = stage.get(part, {}) | fields.pop(part, {})
    stage["local"].setdefault("kind", "identity")
    stage |= fields.pop("stage", {})
    for part, changed in fields.items():
        values[part] = values[part] | changed if isinstance(changed, dict) else changed
    return SpikformerConfig.from_dict(values)


def settled(layer: M, *inputs: Tensor) -> M:
    """The layer in float64 and eval mode, its batch norms calibrated on the inputs and raised so that it fires."""
    layer.double()
    with torch.no_grad():
        for norm in (m for m in layer.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.bias.fill_(0.3)
            norm.momentum = None
        for x in inputs:
            layer(x)
    return layer.eval()


def lif(x_T: Tensor, tau: float = TAU, threshold: float = THRESHOLD) -> Tensor:
    """h = v + (x - v) / tau; s = [h >= threshold]; v = (1 - s) h, step by step."""
    v, spikes = torch.zeros_like(x_T[0]), []
    for x in x_T:
        h = v + (x - v) / tau
        spike = (h >= threshold).to(x)
        v = (1 - spike) * h
        spikes.append(spike)
    return torch.stack(spikes)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_spikes(*shape: int, rate: float, seed: int) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).double()


class Constant(nn.Module):
    """Gives the same tensor whatever it is asked."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, _x: Tensor) -> Tensor:
        return self.value


def inputs_of(module: nn.Module) -> list[Tensor]:
    """What the module will be given from now on, call by call."""
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda _module, args: seen.append(args[0].detach()))
    return seen


def outputs_of(module: nn.Module) -> list[Tensor]:
    seen: list[Tensor] = []
    module.register_forward_hook(lambda _module, _args, out: seen.append(out.detach()))
    return seen


# Attention in windows of space and of time


def attention(time_steps: int = 4, **mixer: Any) -> SpikingAttention:
    """An ssa layer with random weights from one seed; two of equal shape have equal weights."""
    config = config_of(time_steps=time_steps, mixer={"scale": 0.125, "threshold": 0.5} | mixer)
    torch.manual_seed(0)
    return SpikingAttention(16, config.stages[0].mixer, config).double()


def twins(one: dict[str, Any], other: dict[str, Any], time_steps: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """What two layers of equal weights return."""
    layers = [attention(time_steps, **fields) for fields in (one, other)]
    layers[1].load_state_dict(layers[0].state_dict())
    outputs = [settled(layer, x)(x) for layer in layers]
    assert_fires(layers[0], x)
    return outputs[0], outputs[1]


def assert_fires(layer: SpikingAttention, x: Tensor) -> None:
    """Else any two attentions would be equal."""
    spikes = outputs_of(layer.attention_neuron)
    layer(x)
    assert 0.05 < spikes[0].mean() < 0.95


def test_a_window_of_the_whole_grid_is_plain_attention() -> None:
    """Same weights, equal to the last bit."""
    whole, plain = twins({"window": 4}, {"window": 0}, 4, random(4, 3, 16, 4, 4))
    assert torch.equal(whole, plain)


@pytest.mark.parametrize("neuron_on", ["output", "map"])
@pytest.mark.parametrize("window", [1, 2])
def test_a_window_is_plain_attention_on_its_crop(window: int, neuron_on: str) -> None:
    """Every window cut out and given to the windowless layer; the rest is 1 x 1 convolutions."""
    x = random(4, 3, 16, 4, 4)
    windowed = settled(attention(window=window, neuron_on=neuron_on), x)
    plain = settled(attention(neuron_on=neuron_on), x)
    plain.load_state_dict(windowed.state_dict())
    expected = torch.empty_like(x)
    for row, column in itertools.product(range(0, 4, window), repeat=2):
        crop = (..., slice(row, row + window), slice(column, column + window))
        expected[crop] = plain(x[crop])
    torch.testing.assert_close(windowed(x), expected, rtol=0, atol=1e-12)
    assert not torch.equal(windowed(x), plain(x))


def test_a_token_outside_a_window_does_not_reach_into_it() -> None:
    """Plain attention, in the same test, lets it."""
    x = random(4, 3, 16, 4, 4)
    moved = x.clone()
    moved[..., :2, 2:] = 3 * random(4, 3, 16, 2, 2, seed=1)
    inside = torch.zeros(4, 4, dtype=torch.bool)
    inside[:2, 2:] = True
    for window, reaches in ((2, False), (0, True)):
        layer = settled(attention(window=window), x)
        assert_fires(layer, x)
        changed = (layer(x) != layer(moved)).any(dim=(0, 1, 2))
        assert changed[inside].any()
        assert bool(changed[~inside].any()) == reaches


@pytest.mark.parametrize("time_window", [0, 1])
def test_space_time_attention_of_one_step_is_plain_attention(time_window: int) -> None:
    """Same weights, equal to the last bit."""
    spacetime, plain = twins({"time_window": time_window}, {}, 1, random(1, 3, 16, 4, 4))
    assert torch.equal(spacetime, plain)


def context(layer: SpikingAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What leaves attention for its last projection, given spikes [T, B, C, H, W]."""
    layer.query, layer.key, layer.value = Constant(q), Constant(k), Constant(v)  # pyrefly: ignore[bad-assignment]  # for Units
    seen = inputs_of(layer.proj)
    layer(torch.zeros_like(q))
    return seen[-1]


def all_pairs(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Every token of every step with every other: sum over (s, m) of v[s, m] (k[s, m] . q[t, n])."""
    q, k, v = (x.flatten(-2).unflatten(2, (heads, -1)) for x in (q, k, v))
    return torch.einsum("tbakn,sbakm,sbajm->tbajn", q, k, v).flatten(2, 3)


@pytest.mark.parametrize("window", [0, 2])
@pytest.mark.parametrize(("time_window", "block"), [(0, 4), (4, 4), (2, 2), (1, 1)])
@pytest.mark.parametrize("channels", [8, 32])
def test_space_time_attention_is_a_sum_over_all_pairs_of_a_block(
    time_window: int, block: int, window: int, channels: int
) -> None:
    """T = 4: loops over blocks of steps and crops of space, einsum over all pairs in each; either product order."""
    q, k, v = (random_spikes(4, 3, channels, 4, 4, rate=0.3, seed=seed) for seed in range(3))
    side = window or 4
    summed = torch.empty_like(q)
    for step, row, column in itertools.product(range(0, 4, block), range(0, 4, side), range(0, 4, side)):
        crop = (slice(step, step + block), ..., slice(row, row + side), slice(column, column + side))
        pairs = all_pairs(q[crop], k[crop], v[crop], heads=2)
        summed[crop] = pairs.unflatten(-1, (side, side))
    scale = 2.0 ** -round(math.log2(summed.mean()))  # exact, and such that a good part fires
    mixer = {"scale": scale, "threshold": 1.0, "time_window": time_window, "window": window}
    config = config_of(mixer=mixer, stage={"embed_dim": channels})
    layer = SpikingAttention(channels, config.stages[0].mixer, config).double()
    expected = lif(scale * summed, threshold=1.0)
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(context(layer, q, k, v), expected)


def test_a_later_block_of_steps_does_not_reach_an_earlier_one() -> None:
    """T = 4, steps 2 and 3 moved: under time_window 2 the first two outputs stay, under 0 (all) they do not."""
    x = random(4, 3, 16, 4, 4)
    moved = torch.cat([x[:2], 3 * random(2, 3, 16, 4, 4, seed=1)])
    for time_window, reaches in ((1, False), (2, False), (0, True)):
        layer = settled(attention(time_window=time_window), x)
        assert torch.equal(layer(x)[:2], layer(moved)[:2]) != reaches


# The order of the products


@pytest.mark.parametrize(
    ("key_channels", "value_ratio", "side"), [(4, 1, 8), (32, 1, 2), (16, 1, 4), (8, 4, 4), (16, 4, 2), (4, 4, 2)]
)
@pytest.mark.parametrize("neuron_on", ["output", "map"])
def test_the_cheaper_order_of_the_products_runs(key_channels: int, value_ratio: int, side: int, neuron_on: str) -> None:
    """torch's FLOP counter against the closed forms, for T B A heads: (q k^T) v costs N N (K + V) multiplications,
    q (k^T v) costs 2 N K V; with a neuron on the map q k^T, the first has to run."""
    heads, tokens, value_channels = 2, side * side, key_channels * value_ratio
    config = config_of(
        stem={"image_size": 2 * side},
        mixer={"scale": 0.0625, "value_ratio": value_ratio, "neuron_on": neuron_on},
        stage={"embed_dim": heads * key_channels},
    )
    layer = SpikingAttention(heads * key_channels, config.stages[0].mixer, config).double()
    q, k = (random_spikes(4, 3, heads * key_channels, side, side, rate=0.3, seed=seed) for seed in range(2))
    v = random_spikes(4, 3, heads * value_channels, side, side, rate=0.3, seed=2)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        spikes = context(layer, q, k, v)
    by_map, by_memory = tokens * tokens * (key_channels + value_channels), 2 * tokens * key_channels * value_channels
    multiplications = by_map if neuron_on == "map" else min(by_map, by_memory)
    assert flops.get_flop_counts()["Global"][torch.ops.aten.bmm] == 2 * 4 * 3 * heads * multiplications
    if neuron_on == "output":
        q, k, v = (x.flatten(-2).unflatten(2, (heads, -1)) for x in (q, k, v))
        for dearer in (v @ (k.mT @ q), (v @ k.mT) @ q):  # one of them is the order that did not run
            assert torch.equal(spikes.flatten(-2), lif(0.0625 * dearer.flatten(2, 3)))


# Joins


def test_an_iand_join_keeps_a_spike_unless_the_branch_fires() -> None:
    """The truth table by hand (SEW-ResNet, table 1): stream AND NOT branch."""
    stream, branch = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert join(stream, branch, "sew_iand").tolist() == [0, 0, 1, 0]
    assert join(stream, branch, "sew").tolist() == [0, 1, 1, 2]
    assert join(stream, branch, "ms").tolist() == [0, 1, 1, 2]


IAND_NETWORKS: dict[str, dict[str, Any]] = {
    "ssa": {},
    "map": {"mixer": {"neuron_on": "map"}},
    "qkca": {"mixer": {"kind": "qkca"}},
    "sepconv": {"mixer": {"kind": "sepconv", "kernel_size": 3}},
    "inner": {"mlp": {"ratio": 1, "inner_residual": True}},
    "local": {"local": {"kind": "dwconv", "kernel_size": 3}},
    "speds": {"stem": {"kind": "speds", "encode": "stride", "position": "learned"}},
    "cpg": {"stem": {"position": "cpg"}},
}


@pytest.mark.parametrize("network", IAND_NETWORKS)
@pytest.mark.parametrize("training", [False, True])
def test_under_iand_the_stream_is_binary_after_every_join(network: str, training: bool) -> None:
    """Hooks on the stem and on every residual branch, stochastic depth in training included."""
    fields = IAND_NETWORKS[network]
    config = config_of(residual="sew_iand", drop_path=0.5, stage={"depth": 3}, **fields)
    model, images = contract.calibrated(config)
    joins = [model.stem, *(m for m in model.modules() if isinstance(m, ResidualBranch))]
    streams = [outputs_of(module) for module in joins]
    model.train(training)(images)
    for (stream,) in streams:
        assert set(stream.unique().tolist()) == {0.0, 1.0}


# Positions


def stem_of(residual: str, **stem: Any) -> tuple[Stem, Tensor, Tensor]:
    """A stem that fires, with what its embedding gives and what it returns: [T, B, C, H, W] for 4 x 4 tokens."""
    config = config_of(residual=residual, stem=stem)
    torch.manual_seed(0)
    images = random(1, 3, 3, 8, 8)
    made = settled(Stem(config), images)
    embedded = outputs_of(made.embedding)
    tokens = made(images)
    return made, embedded[0], tokens


@pytest.mark.parametrize("residual", RESIDUALS)
def test_position_none_leaves_the_tokens_alone(residual: str) -> None:
    _, embedded, tokens = stem_of(residual, position="none")
    assert embedded.any()
    assert torch.equal(tokens, embedded)


def joined(stream: Tensor, branch: Tensor, residual: str) -> Tensor:
    """IAND by logic, the others by addition."""
    return (stream.bool() & ~branch.bool()).double() if residual == "sew_iand" else stream + branch


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("residual", RESIDUALS)
def test_position_conv_is_a_3x3_convolution_of_the_tokens(residual: str, shortcut: bool) -> None:
    """Convolution, batch norm and neuron called one by one, in the order of the residual."""
    made, embedded, tokens = stem_of(residual, position="conv", shortcut=shortcut)
    parameters = dict(made.position.named_parameters())
    (weight,) = (p for p in parameters.values() if p.ndim == 4)
    assert weight.shape == (16, 16, 3, 3)
    (norm,) = (m for m in made.position.modules() if isinstance(m, nn.BatchNorm2d))

    def conv_norm(x: Tensor) -> Tensor:
        y: Tensor = norm(F.conv2d(x.flatten(0, 1), weight, padding=1)).unflatten(0, x.shape[:2])
        return y

    if residual != "ms":
        position = lif(conv_norm(embedded))
    elif shortcut:
        position = conv_norm(lif(embedded))
    else:  # Spikingformer: the fourth neuron of the embedding has fired already
        assert set(embedded.unique().tolist()) == {0.0, 1.0}
        position = conv_norm(embedded)
    expected = joined(embedded, position, residual) if shortcut else position
    torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-12)
    assert not torch.equal(tokens, embedded)


def test_a_learned_position_is_added_to_the_membranes() -> None:
    """The same table at every step and for every image, to the last bit."""
    made, embedded, tokens = stem_of("ms", position="learned")
    table = made.position.table
    assert isinstance(table, nn.Parameter)
    assert table.shape == (16, 4, 4)
    assert table.std() > 0.01
    for t, b in itertools.product(range(4), range(3)):
        assert torch.equal(tokens[t, b], embedded[t, b] + table)


@pytest.mark.parametrize("residual", ["sew", "sew_iand"])
def test_a_learned_position_drives_neurons_where_spikes_are_added(residual: str) -> None:
    """The table as a constant current through the recursion of a LIF."""
    made, embedded, tokens = stem_of(residual, position="learned")
    table = made.position.table
    assert isinstance(table, nn.Parameter)
    spikes = lif(table.detach().expand(4, -1, -1, -1))
    assert 0.02 < spikes.mean() < 0.98
    assert torch.equal(tokens, joined(embedded, spikes[:, None].expand_as(embedded), residual))
    made(random(1, 3, 3, 8, 8)).sum().backward()
    assert table.grad is not None
    assert table.grad.any()


@pytest.mark.parametrize("residual", RESIDUALS)
def test_a_periodic_position_is_added_whatever_the_image(residual: str) -> None:
    made, embedded, tokens = stem_of(residual, position="cpg")
    code = periodic_code(4, 16, 16).double().unflatten(-1, (4, 4))[:, None]
    assert torch.equal(tokens, joined(embedded, code.expand_as(embedded), residual))
    assert not list(made.position.parameters())


def test_a_periodic_code_by_hand() -> None:
    """3 steps of 3 tokens are places 0 to 8; a spike where the wave is above sqrt(1/2).

    Channels 0 and 1 have period 4: the sine fires at 1 and 5, the cosine at 0, 4 and 8. Channels 2 and 3 have
    period 4 x 9, ten degrees a place: the sine fires from 50 degrees on, the cosine until 40."""
    fires = [{1, 5}, {0, 4, 8}, {5, 6, 7, 8}, {0, 1, 2, 3, 4}]
    code_TCN = periodic_code(3, 4, 3)
    for channel, places in enumerate(fires):
        assert set(code_TCN[:, channel].flatten().nonzero().flatten().tolist()) == places


def test_a_periodic_code_tells_channels_apart_and_fires_a_quarter_of_the_time() -> None:
    """Over n of its periods a channel's rate is off a quarter by less than 1 / n: whole periods have it exactly,
    up to a place at either end of every burst."""
    time_steps, channels, tokens = 4, 32, 64
    code_TCN = periodic_code(time_steps, channels, tokens)
    assert set(code_TCN.unique().tolist()) == {0.0, 1.0}
    code_CP = code_TCN.transpose(0, 1).flatten(1)
    assert len(code_CP.unique(dim=0)) == channels
    assert len(code_CP.unique(dim=1).T) > 0.9 * time_steps * tokens  # and it tells places apart
    long = periodic_code(64, channels, tokens).transpose(0, 1).flatten(1)
    places = 64 * tokens
    for i in range(channels // 2):
        periods = places / (4 * places ** (i / (channels // 2 - 1)))
        if periods > 8:
            assert (long[2 * i : 2 * i + 2].mean(1) - 0.25).abs().max() < 1 / periods + 0.01


# Pool and neuron


def max_pool(x_TBCHW: Tensor) -> Tensor:
    """Largest of each 3 x 3 window at every second place, the image surrounded by minus infinity; as a loop."""
    padded = F.pad(x_TBCHW, [1, 1, 1, 1], value=-math.inf)
    rows, columns = range(0, x_TBCHW.shape[-2], 2), range(0, x_TBCHW.shape[-1], 2)
    return torch.stack(
        [torch.stack([padded[..., r : r + 3, c : c + 3].amax((-2, -1)) for c in columns], -1) for r in rows], -2
    )


@pytest.mark.parametrize("residual", ["sew", "ms"])
@pytest.mark.parametrize("order", ["before_neuron", "after_neuron"])
def test_a_pool_stands_on_either_side_of_its_neuron(residual: str, order: str) -> None:
    """CML: neuron(maxpool(conv)); Spikformer: maxpool(neuron(conv)); at each step of the stem, by loops.

    Under ms the stream is the membrane, so the last step has no neuron."""
    stem_fields = {"pool_order": order, "pool": [True, False, True, True]}
    config = config_of(residual=residual, neuron={"tau": 2.0, "threshold": 1.0}, stem=stem_fields)
    torch.manual_seed(0)
    images = 3 * random(1, 5, 3, 8, 8)
    stem = settled(Stem(config), images)
    stages = [m for m in stem.modules() if isinstance(m, PatchStage)]
    currents, results = [outputs_of(stage.conv) for stage in stages], [outputs_of(stage) for stage in stages]
    stem(images)
    differ = []
    for i, pooled in enumerate((True, False, True, True)):
        (current,), (result,) = currents[i], results[i]
        fire = (lambda x: x) if residual == "ms" and i == 3 else (lambda x: lif(x, 2.0, 1.0))
        if not pooled:
            expected = fire(current)
        elif order == "before_neuron":
            expected = fire(max_pool(current))
        else:
            expected = max_pool(fire(current))
        assert torch.equal(result, expected)
        differ.append(not torch.equal(fire(max_pool(current)), max_pool(fire(current))))
    assert any(differ)


# Stochastic depth


def blocks_of(model: Spikformer) -> list[nn.Module]:
    return [block for stage in model.stages for block in stage.blocks]  # pyrefly: ignore[bad-return, not-iterable]  # stages of blocks


@pytest.mark.parametrize("residual", RESIDUALS)
def test_without_drop_path_training_draws_no_chance(residual: str) -> None:
    """Equal logits in training whatever the state of the generator, and the generator is not touched."""
    model, images = contract.calibrated(config_of(residual=residual, stage={"depth": 2}))
    model.train()
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    logits = model(images)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(model(images), logits)


@pytest.mark.parametrize("residual", RESIDUALS)
def test_a_block_that_is_always_dropped_leaves_the_stream_alone(residual: str) -> None:
    """drop_path 1: the last block of three, with all its branches, in training only."""
    local = {"kind": "dwconv", "kernel_size": 3}
    config = config_of(residual=residual, drop_path=1.0, local=local, stage={"depth": 3})
    model, images = contract.calibrated(config)
    last = blocks_of(model)[-1]
    before, after = inputs_of(last), outputs_of(last)
    model.train()(images)
    assert torch.equal(before[0], after[0])
    model.eval()(images)
    assert not torch.equal(before[1], after[1])


def test_drop_path_rises_evenly_by_depth_over_all_stages() -> None:
    """0 at the first of five blocks in two stages, 0.4 at the last: a tenth more each, on all of a block's branches."""
    values = contract.small(drop_path=0.4)
    stage = values["stages"][0]
    values["stages"] = [stage | {"depth": 2}, stage | {"depth": 3, "embed_dim": 8, "down": {"kind": "conv"}}]
    model = Spikformer(SpikformerConfig.from_dict(values))
    rates = [[m.drop_path for m in b.modules() if isinstance(m, ResidualBranch)] for b in blocks_of(model)]
    for block, expected in zip(rates, (0, 0.1, 0.2, 0.3, 0.4), strict=True):
        assert block == pytest.approx([expected] * 2)


def test_drop_path_leaves_evaluation_alone() -> None:
    """Same weights, with and without: equal logits in eval mode, other ones in training."""
    dropping, images = contract.calibrated(config_of(drop_path=0.9, stage={"depth": 3}))
    plain = Spikformer(config_of(stage={"depth": 3})).double().eval()
    plain.load_state_dict(dropping.state_dict())
    assert torch.equal(dropping(images), plain(images))
    assert not torch.equal(dropping.train()(images), plain.train()(images))


@pytest.mark.parametrize("residual", RESIDUALS)
def test_drop_path_drops_whole_samples_and_keeps_the_mean(residual: str) -> None:
    """A branch of ones on a stream of ones, 4000 samples, rate 0.3: a sample's increment is one number for all its
    steps, channels and places, 0 with frequency 0.3, else 1 / 0.7 (under iand the stream is silenced: -1), so that the
    mean increment is 1; both within four standard errors of the binomial."""
    count, rate = 4000, 0.3
    ones = torch.ones(3, count, 2, 2, 2, dtype=torch.float64)
    layer = ResidualBranch(Constant(ones), 2, config_of(residual=residual), drop_path=rate)
    torch.manual_seed(0)
    increment = layer.train()(ones) - ones
    per_sample = increment[0, :, 0, 0, 0]
    assert torch.equal(increment, per_sample[:, None, None, None].expand_as(increment))
    kept = -1.0 if residual == "sew_iand" else 1 / (1 - rate)
    torch.testing.assert_close(per_sample.unique(), torch.tensor([kept, 0.0], dtype=torch.float64).sort().values)
    error = 4 * math.sqrt(rate * (1 - rate) / count)
    assert abs((per_sample == 0).double().mean() - rate) < error
    if residual != "sew_iand":
        assert abs(per_sample.mean() - 1) < error / (1 - rate)


# Neurons


def layer_of(kind: str, time_steps: int = 4, *, counts: bool = False, **fields: Any) -> Neuron:
    config = SpikformerConfig(time_steps=time_steps, neuron=NeuronConfig(kind, **fields))
    return neuron(config, counts=counts).double()


def column(*values: float) -> Tensor:
    """One neuron's currents, step by step."""
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_integrate_and_fire_sums_up_to_its_threshold() -> None:
    """h = v + x; s = [h >= 0.7]; v = (1 - s) h, as a loop; and by hand: 0.25 x 3 >= 0.75, then from 0 again."""
    x_T = random(9, 5, 4)
    v, expected = torch.zeros(5, 4, dtype=torch.float64), []
    for x in x_T:
        h = v + x
        spike = (h >= 0.7).double()
        v = (1 - spike) * h
        expected.append(spike)
    assert torch.equal(layer_of("if", 9, threshold=0.7)(x_T), torch.stack(expected))
    by_hand = layer_of("if", 7, threshold=0.75)(column(*[0.25] * 7))
    assert by_hand.flatten().tolist() == [0, 0, 1, 0, 0, 1, 0]


def test_ternary_neurons_fire_either_sign_at_the_threshold_and_reset() -> None:
    """By hand, tau 2, threshold 1, h = v + (x - v) / 2.

    x       3    -2   1.5   -2      -2.375  2   1.96875   2
    h       1.5  -1   0.75  -0.625  -1.5    1   0.984..   1.492..
    fires   +1   -1   0     0       -1      +1  0         +1
    v       0    0    0.75  -0.625  0       0   0.984..   0
    """
    spikes = layer_of("ternary", 8)(column(3, -2, 1.5, -2, -2.375, 2, 1.96875, 2))
    assert spikes.flatten().tolist() == [1, -1, 0, 0, -1, 1, 0, 1]


def test_a_psn_starts_as_a_lif_without_reset() -> None:
    """v <- v + (x - v) / tau, never reset; a spike wherever v >= threshold."""
    for tau in (1.5, 2.0, 4.0):
        x_T = 2 * random(6, 5, 4)
        v, expected = torch.zeros(5, 4, dtype=torch.float64), []
        for x in x_T:
            v = v + (x - v) / tau
            expected.append((v >= 0.3).double())
        spikes = layer_of("psn", 6, tau=tau, threshold=0.3)(x_T)
        assert torch.equal(spikes, torch.stack(expected))
        assert not torch.equal(spikes, lif(x_T, tau, 0.3))  # which resets


def test_a_psn_weighs_all_steps_and_has_a_threshold_a_step() -> None:
    """s[t] = [sum over i of W[t, i] x[i] >= thresholds[t]] with W full, by einsum."""
    layer = layer_of("psn", 3)
    weight, thresholds = random(3, 3, seed=1), random(3, seed=2)
    layer.load_state_dict({"weight": weight, "thresholds": thresholds})
    x_T = random(3, 5, 4, 2)
    potential = torch.einsum("ti,ibcd->tbcd", weight, x_T)
    assert torch.equal(layer(x_T), (potential >= thresholds[:, None, None, None]).double())


@pytest.mark.parametrize("tau", [1.25, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_plif_starts_as_the_lif_of_its_tau(tau: float, dtype: torch.dtype) -> None:
    """Bit for bit, on random currents."""
    x_T = (3 * random(6, 50, 4)).to(dtype)
    one, other = (layer_of(kind, 6, tau=tau).to(dtype)(x_T) for kind in ("plif", "lif"))
    assert torch.equal(one, other)
    assert 0.05 < one.mean() < 0.95


CURRENTS = (-1.0, -0.1, 0.0, 0.4, 0.5, 0.6, 1.5, 2.5, 3.5, 4.0, 4.5, 9.0)
ROUNDED = {
    "half_even": ([0, 0, 0, 0, 0, 1, 2, 2, 4, 4, 4, 4], [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
    "half_up": ([0, 0, 0, 0, 1, 1, 2, 3, 4, 4, 4, 4], [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0]),
}


@pytest.mark.parametrize("rounding", ROUNDED)
@pytest.mark.parametrize("counts", [False, True])
def test_multispike_neurons_round_and_clip(rounding: str, counts: bool) -> None:
    """Counts and gradients by hand, 4 levels: halves to the even number and bounds inside, or up and outside.

    The output is a count, or a quarter of it with a quarter of its gradient."""
    values, gradients = ROUNDED[rounding]
    x = column(*CURRENTS).requires_grad_()
    spikes = layer_of("multispike", len(CURRENTS), counts=counts, levels=4, rounding=rounding)(x)
    spikes.sum().backward()
    quantum = 1.0 if counts else 0.25
    assert spikes.flatten().tolist() == [quantum * value for value in values]
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [quantum * value for value in gradients]


def test_membranes_of_ternary_neurons_are_float32_whatever_their_currents() -> None:
    """Currents that are exact in bfloat16, whose sums are not: spikes as of the same numbers in float64."""
    torch.manual_seed(0)
    x_T = torch.randn(8, 500, 7).bfloat16()
    layer = layer_of("ternary", 8)
    spikes = layer(x_T)
    assert spikes.dtype == torch.bfloat16
    assert torch.equal(spikes.double(), layer(x_T.double()))
    assert 0.01 < spikes.double().abs().mean() < 0.9


def sigmoid_slope(u: Tensor) -> Tensor:
    return 4 * torch.exp(-4 * u) / (1 + torch.exp(-4 * u)) ** 2


def atan_slope(u: Tensor) -> Tensor:
    return 1 / (1 + (math.pi * u) ** 2)


@pytest.mark.parametrize(("surrogate", "slope"), [("sigmoid", sigmoid_slope), ("atan", atan_slope)])
@pytest.mark.parametrize("kind", ["lif", "plif", "if", "ternary", "psn"])
def test_the_firing_step_has_its_surrogate_gradient(
    kind: str, surrogate: str, slope: Callable[[Tensor], Tensor]
) -> None:
    """One step, closed form: slope(h - 1) dh/dx, h = x / tau (if: x); of two thresholds the sum.

    4 sigmoid'(4 u), and (2 / 2) / (1 + (pi / 2 . 2 u)^2) (SpikingJelly's definitions)."""
    x = torch.linspace(-4, 4, 17, dtype=torch.float64)[None].requires_grad_()
    layer = layer_of(kind, 1, surrogate=surrogate)
    layer(x).sum().backward()
    factor = 1.0 if kind == "if" else 0.5
    h = factor * x.detach()
    expected = slope(h - 1) + (slope(-h - 1) if kind == "ternary" else 0)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, factor * expected)
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_the_tests_know_every_surrogate() -> None:
    assert set(get_args(NeuronConfig.__annotations__["surrogate"])) == {"sigmoid", "atan"}


# Layer scale


def test_layer_scale_multiplies_the_branch_of_a_channel() -> None:
    """x + scale[c] * branch, channel by channel; without one the branch is added as it is."""
    x, branch = random(2, 3, 4, 2, 2), random(2, 3, 4, 2, 2, seed=1)
    config = config_of()
    plain = ResidualBranch(Constant(branch), 4, config)
    assert not list(plain.parameters())
    assert torch.equal(plain(x), x + branch)
    scaled = ResidualBranch(Constant(branch), 4, config, layer_scale=0.25)
    assert torch.equal(scaled(x), x + 0.25 * branch)
    scaled.load_state_dict({"layer_scale": torch.tensor([1.0, 2.0, 4.0, 8.0])})
    for channel, factor in enumerate((1, 2, 4, 8)):
        assert torch.equal(scaled(x)[:, :, channel], x[:, :, channel] + factor * branch[:, :, channel])


def test_every_branch_has_the_layer_scale_of_its_part() -> None:
    fields: dict[str, Any] = {"layer_scale": 0.5}
    model = Spikformer(config_of(mixer=fields, mlp={"layer_scale": 0.125}, local={"kind": "dwconv"}))
    scales = [m.layer_scale for m in model.modules() if isinstance(m, ResidualBranch)]
    assert scales[0] is None
    assert [None if s is None else s.tolist() for s in scales[1:]] == [[0.5] * 16, [0.125] * 16]


# Dual spike attention


def test_dual_spike_attention_scales_by_firing_rate_and_width() -> None:
    """c = 1 / sqrt(rate d) a head, products by einsum. The first training batch sets the rate; a later one moves it to
    0.999 of the old and 0.001 of its own; evaluation uses and keeps it (SpikingResformer, section 3.2, and its code).
    """
    heads, channels = 2, 8
    config = config_of(mixer={"kind": "dssa", "patch": 2})
    torch.manual_seed(0)
    layer = DualSpikeAttention(16, config.stages[0].mixer, config).double().train()
    x, y = outputs_of(layer.input_neuron), outputs_of(layer.summary)
    map_currents, maps = inputs_of(layer.map_neuron), outputs_of(layer.map_neuron)
    context_currents = inputs_of(layer.context_neuron)
    input_rate, map_rate = torch.zeros(heads).double(), torch.zeros(heads).double()
    for call, mode in enumerate(("first", "moved", "moved", "kept")):
        layer.train(mode != "kept")
        layer(random(4, 3, 16, 4, 4, seed=call) + 0.2 * call)
        spikes = x[call].unflatten(2, (heads, channels)).flatten(-2)
        seen_input = spikes.mean((0, 1, 3, 4))
        seen_map = maps[call].mean((0, 1, 3, 4))
        if mode == "first":
            input_rate, map_rate = seen_input, seen_map
        elif mode == "moved":
            input_rate, map_rate = 0.999 * input_rate + 0.001 * seen_input, 0.999 * map_rate + 0.001 * seen_map
        torch.testing.assert_close(layer.input_rate.flatten(), input_rate)
        torch.testing.assert_close(layer.map_rate.flatten(), map_rate)
        assert seen_map.min() > 0.05
        y1, y2 = y[call].flatten(-2).unflatten(2, (heads, 2, channels)).unbind(3)  # 4 summaries of 2 x 2 tokens each
        scores = torch.einsum("tbakl,tbakn->tbaln", y1, spikes) / torch.sqrt(input_rate * channels)[:, None, None]
        torch.testing.assert_close(map_currents[call], scores)
        mixed = torch.einsum("tbakl,tbaln->tbakn", y2, maps[call]) / torch.sqrt(map_rate * 4)[:, None, None]
        torch.testing.assert_close(context_currents[call].flatten(-2), mixed.flatten(2, 3))


# Heads


def head_of(**fields: Any) -> Head:
    torch.manual_seed(0)
    return Head(16, config_of(head=fields)).double()


@pytest.mark.parametrize("time_mean", ["before", "after"])
@pytest.mark.parametrize("spiking", [False, True])
def test_distilled_logits_are_the_mean_of_two_classifiers(time_mean: str, spiking: bool) -> None:
    """Matrix products on the tokens' mean, or on what the recursion of a LIF makes of it; the second always on spikes.

    Both learn."""
    head = head_of(time_mean=time_mean, neuron=spiking, distillation=True)
    x = random(4, 3, 16, 2, 2)
    real_BC, spikes_BC = x.mean((-2, -1)).mean(0), lif(x.mean((-2, -1))).mean(0)
    first, second = head.linear, head.distilled
    one = (spikes_BC if spiking else real_BC) @ first.weight.T + first.bias
    other = spikes_BC @ second.weight.T + second.bias
    logits = head(x)
    torch.testing.assert_close(logits, (one + other) / 2)
    F.cross_entropy(logits, torch.arange(3)).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("spiking", [False, True])
@pytest.mark.parametrize("distillation", [False, True])
def test_the_mean_over_time_may_be_taken_on_either_side_of_the_classifier(spiking: bool, distillation: bool) -> None:
    """It is linear: equal logits up to rounding; but run once, or once a step."""
    before, after = (head_of(time_mean=side, neuron=spiking, distillation=distillation) for side in ("before", "after"))
    x = random(4, 3, 16, 2, 2)
    calls = [outputs_of(head.linear) for head in (before, after)]
    torch.testing.assert_close(before(x), after(x), rtol=0, atol=1e-12)
    assert [tuple(call[0].shape) for call in calls] == [(3, 5), (4, 3, 5)]


@pytest.mark.parametrize("spiking", [False, True])
def test_the_mean_of_one_time_step_is_that_step(spiking: bool) -> None:
    """One network, one id, one price: spikes reach the classifier where there is a neuron."""
    before, after = (
        SpikformerConfig.from_dict(contract.small(time_steps=1) | {"head": {"neuron": spiking, "time_mean": side}})
        for side in ("before", "after")
    )
    assert before.config_id == after.config_id
    prices = []
    for config in (before, after):
        model, images = contract.calibrated(config)
        with torch.no_grad(), OperationCounter(model) as counter:
            model(images)
        (classifier,) = (op for op in counter.operations() if op.path == "head.linear")
        prices.append((classifier.operands[0].kind, classifier.nonzero, classifier.events))
    assert prices[0] == prices[1]
    assert (prices[0][0] == "binary") == spiking


# Every axis trains

TRAINED: dict[str, dict[str, Any]] = {
    "lif": {},
    "plif": {"neuron": {"kind": "plif"}},
    "if": {"neuron": {"kind": "if"}},
    "ternary": {"neuron": {"kind": "ternary"}},
    "psn": {"neuron": {"kind": "psn"}},
    "multispike": {"neuron": {"kind": "multispike"}},
    "sew": {"residual": "sew"},
    "iand": {"residual": "sew_iand", "neuron": {"threshold": 1.0}, "stem": {"pool": [False, False, True, True]}},
    "window": {"mixer": {"window": 2}},
    "time_window": {"mixer": {"time_window": 0}},
    "window_of_space_and_time": {"time_steps": 4, "mixer": {"window": 2, "time_window": 2}},
    "map": {"mixer": {"neuron_on": "map"}},
    "sdsa": {"mixer": {"kind": "sdsa"}},
    "qkta": {"mixer": {"kind": "qkta"}},
    "qkca": {"mixer": {"kind": "qkca"}},
    "dssa_gwffn": {"mixer": {"kind": "dssa", "patch": 2}, "mlp": {"kind": "gwffn", "group_width": 8}},
    "sepconv": {"mixer": {"kind": "sepconv", "kernel_size": 3}},
    "dwconv": {"mixer": {"kind": "dwconv", "kernel_size": 3}},
    "rep": {"mixer": {"projection": "rep"}},
    "rep1": {"mixer": {"projection": "rep1"}},
    "convffn": {"mlp": {"kind": "convffn"}},
    "inner_residual": {"mlp": {"ratio": 1, "inner_residual": True}},
    "position_learned": {"stem": {"position": "learned"}},
    "position_learned_sew": {"residual": "sew", "neuron": {"threshold": 0.5}, "stem": {"position": "learned"}},
    "position_cpg": {"stem": {"position": "cpg"}},
    "position_none": {"stem": {"position": "none"}},
    "position_replaces": {"stem": {"shortcut": False}},
    "pool_first": {"residual": "sew", "stem": {"pool_order": "before_neuron"}},
    "drop_path": {"drop_path": 0.3, "stage": {"depth": 2}},
    "layer_scale": {"mixer": {"layer_scale": 0.1}, "mlp": {"layer_scale": 0.1}},
    "speds": {"stem": {"kind": "speds", "encode": "stride"}},
    "speds_sew": {"residual": "sew", "stem": {"kind": "speds", "encode": "stride"}},
    "conv_stem_two_stages": {"stem": {"kind": "conv", "kernel_size": 3, "position": "none"}, "two_stages": True},
    "distillation": {"head": {"neuron": True, "distillation": True, "time_mean": "after"}},
}


def trained_config(name: str) -> SpikformerConfig:
    fields: dict[str, Any] = {"time_steps": 2} | TRAINED[name]
    two_stages = fields.pop("two_stages", False)
    fields["stem"] = {"in_channels": 1} | fields.get("stem", {})
    fields["head"] = {"num_classes": 10} | fields.get("head", {})
    values = config_of(**fields).to_dict()
    if two_stages:
        values["stages"].append(values["stages"][0] | {"embed_dim": 24, "down": {"kind": "conv"}})
    return SpikformerConfig.from_dict(values)


def loss_kept(config: SpikformerConfig, folder: Path) -> float:
    """What the project's own loop, 40 steps of 32 images of bundled digits, leaves of the loss at the start."""
    (folder / "micro.toml").write_text(MICRO)
    train = data.subset(data.load(load_space(folder / "micro.toml")).train, 160, seed=0)
    recipe = Recipe(epochs=8, batch_size=32, learning_rate=2e-2, label_smoothing=0, augment="none")
    torch.manual_seed(0)
    model = Spikformer(config)
    with torch.no_grad():
        start = F.cross_entropy(model(Normalise(train)(train.images)), train.labels).item()
    assert abs(start - math.log(10)) < 0.2
    return fit(model, train, recipe, seed=0)[-1].loss / start


@pytest.mark.slow
@pytest.mark.parametrize("name", thinned(TRAINED, 6))
def test_every_axis_trains(name: str, tmp_path: Path) -> None:
    """The mean loss of the last epoch is clearly below that of guessing, ln 10."""
    assert loss_kept(trained_config(name), tmp_path) < 0.85


@pytest.mark.slow
def test_a_silent_network_does_not_train(tmp_path: Path) -> None:
    """A threshold that no current reaches: only the classifier's bias learns, and the classes are equally frequent."""
    values = trained_config("sew").to_dict()
    values["neuron"]["threshold"] = 1e6
    assert loss_kept(SpikformerConfig.from_dict(values), tmp_path) > 0.95
