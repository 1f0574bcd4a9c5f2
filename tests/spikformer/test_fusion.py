"""The deployable form: equal logits and spikes, no batch norm, a chain is one convolution; what still multiplies."""

import copy
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikformer.published
from nas.costs import contract
from nas.costs.counter import OperationCounter
from nas.costs.operations import Operation
from spikformer import ConfigError, Spikformer, SpikformerConfig, fusion, plugins
from spikformer.fusion import fuse, real_multiplications
from spikformer.layers import Conv2d, ConvBN, RepConv, RepLinear, Residual, Unit
from spikformer.neurons import neuron
from spikformer.operands import BINARY, REAL
from tests.costs.test_contract import CHANNEL_MIXERS, HIERARCHIES, NEURONS, PLACEMENTS, RESIDUALS, STEMS, TOKEN_MIXERS
from tests.costs.test_contract import config_of as config_of_parts
from tests.facts import fill
from tests.helpers import thinned
from tests.spikformer.test_published import PARITY, tiny

MINIATURES = [*sorted(PARITY), "sdt3_large"]


def miniature(name: str) -> tuple[Spikformer, Tensor]:
    """A published network in small, in float64, whose weights let it fire, and images for it."""
    config = tiny(name)
    shape = PARITY[name]["shape"] if name in PARITY else [2, 3, 64, 64]
    model = Spikformer(config).double().eval()
    images = torch.from_numpy(np.random.RandomState(7).standard_normal(shape))
    fill(model, images, PARITY[name]["boost"] if name in PARITY else 0.9)
    return model, images


def trained(config: SpikformerConfig) -> tuple[Spikformer, Tensor]:
    """A network that fires, with factors and addends as of training: no two alike, some negative."""
    model, images = contract.calibrated(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            randomise(module)
        if isinstance(module, Residual) and module.layer_scale is not None:
            nn.init.uniform_(module.layer_scale, 0.5, 1.5)
    return model, images


def randomise(norm: nn.BatchNorm2d) -> None:
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)[::7] *= -1
        norm.bias.add_(0.2 * torch.randn_like(norm.bias))


def run(model: Spikformer, images: Tensor) -> tuple[Tensor, dict[str, Operation], dict[str, float]]:
    """Logits, operations and firing rates by path."""
    with torch.no_grad(), OperationCounter(model) as counter:
        logits = model(images)
    return logits, {f"{op.path}[{op.index}]": op for op in counter.operations()}, counter.firing_rates()


def counts(operation: Operation) -> tuple[object, ...]:
    """All but the additions of biases, of which batch norm leaves one to each convolution."""
    op = operation
    declared = (op.kind, op.operands, op.geometry, op.repeats)
    return *declared, op.calls, op.dense, op.valid, op.nonzero, op.multiplicity, op.events


def assert_fuses(model: Spikformer, images: Tensor) -> Spikformer:
    """Equal logits, spikes, and operations where nothing was merged; merged layers are fed what the first ones were."""
    before = copy.deepcopy(model.state_dict())
    fused = fuse(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    logits, operations, rates = run(model, images)
    fused_logits, fused_operations, fused_rates = run(fused, images)
    torch.testing.assert_close(fused_logits, logits, atol=1e-9, rtol=0)
    assert fused_rates == rates
    assert min(rates.values()) > 0
    for path, operation in fused_operations.items():
        if path in operations:
            assert counts(operation) == counts(operations[path])
        else:  # merged: "x.conv" of "x.conv.first" or "x.conv.0" and others
            chain = [op for op in operations.values() if op.path.startswith(f"{operation.path}.")]
            assert len(chain) in (2, 3)
            assert operation.operands == chain[0].operands
            assert operation.repeats == chain[0].repeats
    return fused


def norms(model: nn.Module) -> list[str]:
    return [path for path, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]


def kept_statistics(model: nn.Module) -> list[str]:
    names = ("running_mean", "running_var", "num_batches_tracked")
    return [name for name in model.state_dict() if name.endswith(names)]


def test_the_package_offers_it() -> None:
    assert spikformer.fuse is fusion.fuse
    assert "fuse" in spikformer.__all__


@pytest.mark.parametrize("name", thinned(MINIATURES, 2))
def test_published_networks_lose_every_batch_norm_and_no_spike(name: str) -> None:
    model, images = miniature(name)
    fused = assert_fuses(model, images)
    assert norms(model)
    assert not norms(fused)
    assert not kept_statistics(fused)
    assert all(module.layer_scale is None for module in fused.modules() if isinstance(module, Residual))
    assert fused.config == model.config


PARTS = [
    *(p for p in itertools.product(TOKEN_MIXERS, ["mlp"], RESIDUALS, ["published"], ["lif"])),
    *(p for p in itertools.product(["ssa"], CHANNEL_MIXERS, ["sew", "ms"], ["head"], ["lif"])),
    *(p for p in itertools.product(["ssa_rep"], ["mlp"], ["ms"], PLACEMENTS, ["lif"])),
    *(p for p in itertools.product(["sepconv"], ["convffn"], ["ms"], ["pool_first"], NEURONS)),
]


@pytest.mark.parametrize(
    "parts",
    [pytest.param(p, marks=[] if i % 3 == 0 else [pytest.mark.exhaustive]) for i, p in enumerate(dict.fromkeys(PARTS))],
    ids="-".join,
)
def test_every_part(parts: tuple[str, ...]) -> None:
    try:
        config = config_of_parts(parts, 2)
    except ConfigError:
        pytest.skip("no such network")
    fused = assert_fuses(*trained(config))
    assert not norms(fused)


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem(stem: str) -> None:
    """Its first convolution is computed once for all time steps, fused or not: `assert_fuses` compares `repeats`."""
    values = contract.small(time_steps=2)
    values["stem"] |= STEMS[stem]
    assert not norms(assert_fuses(*trained(SpikformerConfig.from_dict(values))))


@pytest.mark.parametrize("down", HIERARCHIES)
def test_every_downsampling(down: str) -> None:
    values = contract.small(residual="sew", time_steps=2)
    stage = values["stages"][0]
    values["stages"].append(stage | {"embed_dim": 24, "down": HIERARCHIES[down]})
    assert not norms(assert_fuses(*trained(SpikformerConfig.from_dict(values))))


SCALED = [*((mixer, "mlp") for mixer in TOKEN_MIXERS), *(("identity", mlp) for mlp in CHANNEL_MIXERS if mlp != "mlp")]


@pytest.mark.parametrize(("mixer", "mlp"), SCALED)
def test_layer_scales_go_into_the_branch_s_last_convolution(mixer: str, mlp: str) -> None:
    values = contract.small(time_steps=1)
    stage = values["stages"][0]
    stage["mixer"] |= TOKEN_MIXERS[mixer] | {"layer_scale": 0.5, "time_window": 1}
    stage["mlp"] = CHANNEL_MIXERS[mlp] | {"layer_scale": 0.5}
    model, images = trained(SpikformerConfig.from_dict(values))
    fused = assert_fuses(model, images)
    assert [path for path in real_multiplications(model) if "layer scale" in path]
    assert not [path for path, _ in fused.named_parameters() if path.endswith("layer_scale")]


def test_a_rep_conv_is_exact_at_the_border() -> None:
    """Its convolutions and batch norms on the zero-padded image, without any padding in between."""
    torch.manual_seed(0)
    rep = RepConv(6, fed=BINARY)
    for conv in (rep.depthwise, rep.last):
        conv.bias = nn.Parameter(torch.randn(6))
    layer = ConvBN(rep, 6).double().eval()
    for norm in (rep.first_norm, rep.last_norm, layer.norm):
        randomise(norm)
        nn.init.normal_(norm.running_mean)  # pyrefly: ignore[bad-argument-type]  # it has one
        nn.init.uniform_(norm.running_var, 0.5, 2)  # pyrefly: ignore[bad-argument-type]
    x_nCHW = torch.randint(2, (3, 6, 4, 5)).double()

    def chain(padded_nCHW: Tensor) -> Tensor:
        return layer.norm(rep.last_norm(rep.last(rep.depthwise(padded_nCHW))))

    expected_nCHW = chain(rep.first_norm(rep.first(F.pad(x_nCHW, [1, 1, 1, 1]))))
    naive_nCHW = chain(F.pad(rep.first_norm(rep.first(x_nCHW)), [1, 1, 1, 1]))
    fusion._fuse_conv_bn(layer)
    assert isinstance(layer.conv, Conv2d)
    assert (layer.conv.kernel_size, layer.conv.padding, layer.conv.groups) == ((3, 3), (1, 1), 1)
    torch.testing.assert_close(layer(x_nCHW[None])[0], expected_nCHW, atol=1e-12, rtol=0)
    torch.testing.assert_close(naive_nCHW[..., 1:-1, 1:-1], expected_nCHW[..., 1:-1, 1:-1], atol=1e-12, rtol=0)
    assert (naive_nCHW - expected_nCHW).abs().amax((0, 1))[0].min() > 1e-3  # else the test could not tell


def test_a_rep_linear_is_one_pointwise_convolution() -> None:
    layer = ConvBN(RepLinear(6, fed=BINARY), 6)
    fusion._fuse_conv_bn(layer)
    assert isinstance(layer.conv, Conv2d)
    assert (layer.conv.weight.shape, layer.conv.operands) == ((6, 6, 1, 1), ((BINARY,),))


def test_a_separable_convolution_is_one_dense_convolution() -> None:
    """By hand: 8 to 16 channels and back, 7 x 7 in between."""
    model, _ = miniature("tiny_sdt2")
    merged = fuse(model).get_submodule("stages.0.blocks.0.mixer.branch.1.conv.conv")
    assert isinstance(merged, Conv2d)
    assert (merged.weight.shape, merged.padding, merged.groups) == ((8, 16, 7, 7), (3, 3), 1)
    assert merged.operands == ((BINARY,),)


def fused_layer(conv: nn.Module, norm: nn.Module | None = None) -> ConvBN:
    """A layer of 6 channels after fusing, equal on a binary image to what it was."""
    layer = ConvBN(conv, 6)
    layer.norm = layer.norm if norm is None else norm  # pyrefly: ignore[bad-assignment]
    layer = layer.double().eval()
    if layer.norm.affine and layer.norm.running_mean is not None:
        randomise(layer.norm)
        nn.init.normal_(layer.norm.running_mean)
    x_TBCHW = torch.randint(2, (2, 3, 6, 5, 5)).double()
    with torch.no_grad():
        expected_TBCHW = layer(x_TBCHW)
        fusion._fuse_conv_bn(layer)
        torch.testing.assert_close(layer(x_TBCHW), expected_TBCHW, atol=1e-12, rtol=0)
    return layer


def test_a_chain_of_one_s_own_keeps_stride_padding_biases_and_repeats() -> None:
    depthwise = Conv2d(6, 6, 3, fed=BINARY, groups=6, stride=2, padding=0, bias=True)
    merged = fused_layer(nn.Sequential(depthwise, Conv2d(6, 6, fed=REAL, bias=True))).conv
    assert isinstance(merged, Conv2d)
    assert (merged.stride, merged.padding, merged.operands) == ((2, 2), (0, 0), ((BINARY,),))


OTHER_CHAINS: dict[str, Callable[[], tuple[nn.Module, ...]]] = {
    "no depthwise": lambda: (Conv2d(6, 6, 3, fed=BINARY), Conv2d(6, 6, fed=REAL)),
    "several outputs a channel": lambda: (Conv2d(6, 12, 3, fed=BINARY, groups=6), Conv2d(12, 6, fed=REAL)),
    "wide last": lambda: (Conv2d(6, 6, 3, fed=BINARY, groups=6), Conv2d(6, 6, 3, fed=REAL)),
    "padded last": lambda: (Conv2d(6, 6, 3, fed=BINARY, groups=6), Conv2d(6, 6, fed=REAL, padding=1)),
    "striding last": lambda: (Conv2d(6, 6, 3, fed=BINARY, groups=6), Conv2d(6, 6, fed=REAL, stride=2)),
    "grouped last": lambda: (Conv2d(6, 6, 3, fed=BINARY, groups=6), Conv2d(6, 6, fed=REAL, groups=2)),
    "three": lambda: (Conv2d(6, 6, 3, fed=BINARY, groups=6), *(Conv2d(6, 6, fed=REAL) for _ in range(2))),
}


@pytest.mark.parametrize("chain", OTHER_CHAINS)
def test_other_chains_fold_their_last_convolution_only(chain: str) -> None:
    convs = OTHER_CHAINS[chain]()
    layer = fused_layer(nn.Sequential(*convs))
    assert isinstance(layer.norm, nn.Identity)
    assert isinstance(layer.conv, nn.Sequential)
    assert len(layer.conv) == len(convs)


def test_batch_norms_that_are_not_constant_and_weights_that_are_computed_are_left() -> None:
    for norm in (nn.BatchNorm2d(6, affine=False), nn.BatchNorm2d(6, track_running_stats=False), nn.InstanceNorm2d(6)):
        assert fused_layer(Conv2d(6, 6, fed=BINARY), norm).norm is norm
    for computed in (nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm):
        conv = computed(Conv2d(6, 6, fed=BINARY))
        assert isinstance(fused_layer(conv).norm, nn.BatchNorm2d)
    for conv in (Squared(6, 6, fed=BINARY), nn.Sequential()):
        assert isinstance(fused_layer(conv).norm, nn.BatchNorm2d)


def test_a_layer_scale_behind_a_neuron_or_a_pool_is_left() -> None:
    """A pool of scaled values is no scaled pool where the factor is negative."""
    config = SpikformerConfig.from_dict(contract.small())
    conv = Conv2d(6, 6, fed=BINARY)
    for branch in (ConvBN(conv, 6, pools=1), Unit(ConvBN(conv, 6), config, spikes_leave=True)):
        fusion._fuse_conv_bn(branch if isinstance(branch, ConvBN) else branch.conv)  # pyrefly: ignore[bad-argument-type]
        residual = Residual(branch, 6, config, layer_scale=0.5)
        fusion._fold_layer_scale(residual)
        assert residual.layer_scale is not None
    model = Spikformer(SpikformerConfig.from_dict(contract.small(residual="sew")))
    mixer = fuse(model).get_submodule("stages.0.blocks.0.mixer.branch")
    assert fusion._acts_last(mixer) is None


@pytest.mark.parametrize("mixer", ["ssa_rep", "sdsa", "sepconv", "dssa"])
def test_costs_of_a_fused_network_equal_enumeration(mixer: str) -> None:
    """Every pair of factors written out, and torch's FLOP counter."""
    model, images = contract.calibrated(config_of_parts((mixer, "mlp", "ms", "published", "lif"), 2))
    passed, detail = contract._costs(fuse(model), images)
    assert passed, detail


@pytest.mark.parametrize("name", ["tiny_sdt2", "sdt3_large"])
def test_weights_keep_type_device_and_their_need_of_gradients(name: str) -> None:
    model, images = miniature(name)
    model = model.float().requires_grad_(False)
    seed = torch.get_rng_state()
    fused = fuse(model.train())
    assert torch.equal(torch.get_rng_state(), seed)
    assert model.training
    assert not any(module.training for module in fused.modules())
    assert {(p.dtype, p.requires_grad) for p in fused.parameters()} == {(torch.float32, False)}
    assert fused(images.float()).isfinite().all()


def test_published_sizes_fuse_without_memory() -> None:
    """On the meta device: what multiplies is read off the network."""
    with torch.device("meta"):
        model = Spikformer(spikformer.published.config("sdt2_in_8_512"))
    assert real_multiplications(fuse(model)) == ["stem.embedding.conv: weights meet real numbers"]


class Shifted(nn.Module):
    """Any module between a convolution and its batch norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.inner = Conv2d(dim, dim, fed=BINARY)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 1


class Squared(Conv2d):
    """No linear layer, though a convolution by its class."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** 2


class Twice(ConvBN):
    """A forward of one's own."""

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return super().forward(x) + normed


class Mine(nn.Module):
    """A mixer with every kind of batch norm: folded the first six, left the others."""

    def __init__(self, dim: int, config: SpikformerConfig) -> None:
        super().__init__()
        self.neuron = neuron(config)
        shared = Conv2d(dim, dim, fed=BINARY)
        chain = nn.Sequential(Conv2d(dim, dim, 3, fed=BINARY), Conv2d(dim, dim, 3, fed=REAL))
        twice = nn.Sequential(shared, shared)
        plain = nn.Conv2d(dim, dim, 3, padding=2, dilation=2, groups=2)
        plain.operands = ((BINARY,),)  # pyrefly: ignore[bad-argument-type]
        convs = [shared, shared, chain, plain, twice, Conv2d(dim, dim, fed=BINARY, bias=True)]
        self.folded = nn.ModuleList(ConvBN(conv, dim) for conv in convs)
        self.own_module, self.own_forward = ConvBN(Shifted(dim), dim), Twice(Conv2d(dim, dim, fed=BINARY), dim)
        self.alone = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        layers = [*self.folded, self.own_module, self.own_forward]
        total: Tensor = sum((layer(spikes) for layer in layers), start=torch.zeros_like(x))
        return self.alone(total.flatten(0, 1)).unflatten(0, x.shape[:2])


def own_block() -> SpikformerConfig:
    values = contract.small(time_steps=2)
    values["stages"][0]["mixer"] = {"kind": f"{__name__}:Mine"}
    return SpikformerConfig.from_dict(values)


def test_blocks_of_one_s_own_fold_where_a_conv_bn_is_plain() -> None:
    plugins.allow(__name__)
    model, images = trained(own_block())
    fused = fuse(model)
    with torch.no_grad():
        torch.testing.assert_close(fused(images), model(images), atol=1e-9, rtol=0)
    branch = "stages.0.blocks.0.mixer.branch"
    assert norms(fused) == [f"{branch}.{name}" for name in ("own_module.norm", "own_forward.norm", "alone")]
    assert [line for line in real_multiplications(fused) if branch in line] == [
        f"{branch}.folded.2.conv.1: weights meet real numbers",
        f"{branch}.own_module.norm: normalisation",
        f"{branch}.own_forward.norm: normalisation",
        f"{branch}.alone: normalisation",
    ]


STEM_AND_HEAD = ["stem.embedding.0.conv.conv: weights meet real numbers", "head.linear: weights meet real numbers"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny_spikingformer_cifar", STEM_AND_HEAD),  # no neuron before the classifier
        ("tiny_spikformer_cifar", STEM_AND_HEAD),
        ("tiny_sdt1_cifar", STEM_AND_HEAD[:1]),  # its classifier is fed spikes
        ("tiny_sdt2", ["stem.embedding.conv: weights meet real numbers"]),
        ("tiny_sdt3_base", ["stem.embedding.conv: weights meet real numbers"]),
        ("tiny_spikingresformer_cifar", ["stem.embedding.conv: weights meet real numbers", STEM_AND_HEAD[1]]),
    ],
)
def test_what_still_multiplies_once_fused(name: str, expected: list[str]) -> None:
    """By hand, from the papers' figures: the first convolution sees pixels, most heads see means."""
    model, _ = miniature(name)
    assert real_multiplications(fuse(model)) == expected
    folded = [f"{path}: normalisation" for path in norms(model)]
    assert set(real_multiplications(model)) >= {*expected, *folded}
    if name != "tiny_sdt2":
        assert len(real_multiplications(model)) == len(expected) + len(folded)


def test_what_multiplies_in_the_second_spike_driven_transformer_before_fusing() -> None:
    """By hand: 69 of 138 layers with weights are fed real numbers, as counted in the authors' code."""
    model, _ = miniature("tiny_sdt2")
    expected = {"stem.embedding.conv", "stem.embedding.norm"}
    expected |= {f"stages.{stage}.down.conv.norm" for stage in range(1, 5)}
    for stage, depth in enumerate([1, 1, 2, 6, 2]):
        for block in range(depth):
            path = f"stages.{stage}.blocks.{block}"
            expected |= {f"{path}.mlp.branch.{unit}.conv.norm" for unit in ("expand", "contract")}
            mixer = f"{path}.mixer.branch"
            if stage < 3:
                expected |= {f"{mixer}.0.conv.norm", f"{mixer}.1.conv.conv.1", f"{mixer}.1.conv.norm"}
                continue
            for projection in ("query.conv", "key.conv", "value.conv", "proj"):
                rep = [f"conv.{name}" for name in ("first_norm", "depthwise", "last", "last_norm")]
                expected |= {f"{mixer}.{projection}.{name}" for name in (*rep, "norm")}
    found = real_multiplications(model)
    assert {line.split(":")[0] for line in found} == expected
    assert len(found) == len(expected)
    assert sum("weights" in line for line in found) == 69
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == 138


def test_products_and_layers_that_declare_nothing_are_named() -> None:
    product, total, silent = nn.Module(), nn.Module(), nn.Linear(2, 2)
    product.operands = ((BINARY, REAL), (REAL, REAL))  # pyrefly: ignore[bad-argument-type]
    total.operands = ((REAL,),)  # pyrefly: ignore[bad-argument-type]  # a sum, which multiplies nothing
    whole = nn.ModuleDict({"product": product, "total": total, "silent": silent, "norm": nn.LayerNorm(2)})
    assert real_multiplications(whole) == [
        "product: product of real numbers",
        "silent: declares no operand",
        "norm: normalisation",
    ]
    assert real_multiplications(silent) == [": declares no operand"]


def test_layer_scales_are_named() -> None:
    model, _ = miniature("sdt3_large")
    branches = [f"stages.3.blocks.{block}.{part}" for block in (0, 1) for part in ("mixer", "mlp")]
    scales = [f"{branch}.layer_scale: layer scale" for branch in branches]
    assert [line for line in real_multiplications(model) if "layer scale" in line] == scales
