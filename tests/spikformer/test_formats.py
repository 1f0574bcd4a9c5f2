"""Files of others: onnxruntime and SpikingJelly compute the network's logits from them, or there is no file."""

import importlib.util
import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs import contract
from spikformer import FormatError, Spikformer, SpikformerConfig, formats, fuse, plugins, published, spiking
from spikformer.formats import write_nir, write_onnx
from spikformer.layers import Conv2d
from spikformer.neurons import Neuron
from spikformer.operands import BINARY
from tests.costs.test_contract import NEURONS, TOKEN_MIXERS
from tests.facts import fill
from tests.helpers import calibrated
from tests.spikformer.test_published import PARITY, tiny

needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))), reason="extra onnx is not installed"
)
needs_nir = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nir", "nirtorch"))), reason="extra nir is not installed"
)

# One miniature of each published family.
FAMILIES = {
    "spikformer": "tiny_spikformer_cifar",
    "spikingformer": "tiny_spikingformer_cifar",
    "sdt1": "tiny_sdt1_cifar",
    "sdt2": "tiny_sdt2",
    "sdt3_base": "tiny_sdt3_base",
    "sdt3_large": "sdt3_large",
    "qkformer": "tiny_qkformer_cifar_b1",
    "msqkformer": "tiny_msqkformer_cifar",
    "maxformer": "tiny_maxformer_cifar",
    "spikingresformer": "tiny_spikingresformer_cifar",
}


TWO_STEPS = ("spikformer", "sdt1", "spikingresformer")


def family(name: str) -> Spikformer:
    """A published network of one block a stage and few time steps, whose neurons fire: tracing takes time."""
    config = tiny(FAMILIES[name])
    stages = tuple(replace(stage, depth=1) for stage in config.stages)
    config = replace(config, stages=stages, time_steps=2 if name in TWO_STEPS else 1)
    model = Spikformer(config).eval()
    fill(model, images_of(config, 2), PARITY.get(FAMILIES[name], {"boost": 0.9})["boost"])
    return model


def images_of(config: SpikformerConfig, count: int) -> Tensor:
    stem, generator = config.stem, torch.Generator().manual_seed(5)
    return torch.randn(count, stem.in_channels, stem.image_size, stem.image_size, generator=generator)


def convolutional(**fields: Any) -> dict[str, Any]:
    """Plain values of a small network without attention: two stages, the stream a membrane current."""
    stem = {"kind": "conv", "image_size": 8, "kernel_size": 3, "position": "none"}
    stage = {"embed_dim": 8, "depth": 2, "mixer": {"kind": "identity"}, "mlp": {"ratio": 2, "group_width": 8}}
    stages = [stage, stage | {"embed_dim": 16, "depth": 1, "down": {"kind": "conv"}}]
    return contract.small(time_steps=3, stem=stem, stages=stages) | fields


def smallest(neuron: str = "lif") -> Spikformer:
    """One block, two time steps, no attention."""
    values = convolutional(time_steps=2)
    values["stages"] = [values["stages"][0] | {"depth": 1}]
    values["neuron"] |= {"kind": neuron} | NEURONS[neuron]
    return calibrated(SpikformerConfig.from_dict(values))[0]


def logits_of(path: Path, images: Tensor) -> Tensor:
    """What onnxruntime makes of a file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def assert_mostly_equal(found: Tensor, expected: Tensor) -> None:
    """For all images but those in which rounding flips a spike."""
    assert ((found - expected).abs().amax(1) <= 1e-5 * expected.abs().amax()).float().mean() >= 0.75
    assert (expected - expected.mean(0)).abs().max() > 1e-3 * expected.abs().max()  # else the test could not tell


# ONNX


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_onnx_of_every_published_family(name: str, tmp_path: Path) -> None:
    model, path = family(name), tmp_path / "network.onnx"
    off = write_onnx(model, path)
    images = images_of(model.config, 8)
    with torch.no_grad():
        assert_mostly_equal(logits_of(path, images), fuse(model)(images))
    assert off < 0.1


@needs_onnx
@pytest.mark.parametrize("neuron", NEURONS)
def test_onnx_of_every_neuron(neuron: str, tmp_path: Path) -> None:
    model, path = smallest(neuron), tmp_path / "network.onnx"
    assert write_onnx(model, path) < 0.1
    images = images_of(model.config, 8)
    with torch.no_grad():
        assert_mostly_equal(logits_of(path, images), model(images))


@needs_onnx
def test_an_onnx_file_stands_alone_and_takes_any_batch(tmp_path: Path) -> None:
    import onnx

    model, path = smallest(), tmp_path / "network.onnx"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    write_onnx(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["network.onnx"]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    images = images_of(model.config, 9)
    for count in (1, 2, 9):
        assert logits_of(path, images[:count]).shape == (count, 5)
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    assert {opset.domain for opset in file.opset_import} == {""}
    assert "BatchNormalization" not in {node.op_type for node in file.graph.node}
    held = {weight.name: onnx.numpy_helper.to_array(weight) for weight in file.graph.initializer}
    for name, tensor in fuse(model).state_dict().items():
        np.testing.assert_array_equal(held[name], tensor.numpy())  # and not of the copy that was verified first
    assert str(Path(formats.__file__).parent).encode() not in path.read_bytes()  # of this computer it tells nothing


@needs_onnx
def test_another_firing_rule_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Firing above the threshold and not at it: one number of all, which coarse currents do meet."""
    steps = spiking._steps_forward

    def above(x_T: Tensor, leak: Tensor, threshold: Tensor, charge: spiking.Charge) -> tuple[Tensor, Tensor]:
        return steps(x_T, leak, threshold * (1 + 1e-6), charge)

    monkeypatch.setattr(spiking, "_steps_forward", above)
    path = tmp_path / "network.onnx"
    path.write_text("kept")
    with pytest.raises(FormatError, match="the file computes other logits than the network: off by"):
        write_onnx(smallest("if"), path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("network.onnx", "kept")]


@needs_onnx
def test_other_weights_are_noticed(tmp_path: Path) -> None:
    """The network itself is run too, not only the copy that shows the graph to be right."""
    model = smallest()
    other, fused = fuse(smallest()), fuse(model)
    with torch.no_grad():
        other.head.linear.weight[0] += 0.01

    def write(network: Spikformer, partial: Path) -> formats._Run:
        partial.write_text("")
        return other if network is fused else network

    with pytest.raises(FormatError, match="for half of 8 images, where rounding explains"):
        formats._agree(write, fused, tmp_path / "network")
    assert not list(tmp_path.iterdir())


@needs_nir
def test_logits_that_are_no_numbers_do_not_agree(tmp_path: Path) -> None:
    model = smallest()
    with torch.no_grad():
        model.head.linear.bias[0] = torch.nan
    with pytest.raises(FormatError, match="off by nan of the largest"):
        write_nir(model, tmp_path / "network.nir")


class BranchesOnValues(nn.Module):
    """A mixer of one's own that cannot be traced."""

    def __init__(self, dim: int, config: SpikformerConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        return x_TBCHW if x_TBCHW.sum() > 0 else -x_TBCHW


def own_block() -> Spikformer:
    values = contract.small(time_steps=2)
    values["stages"][0]["mixer"] = {"kind": "tests.spikformer.test_formats:BranchesOnValues"}
    plugins.allow("tests.spikformer.test_formats")
    return Spikformer(SpikformerConfig.from_dict(values)).eval()


@needs_onnx
def test_a_block_that_cannot_be_traced_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"torch cannot trace this network as ONNX: .*no Python branch"):
        write_onnx(own_block(), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_a_family_is_each_published_name_s_start() -> None:
    assert all(any(known.startswith(f"{name}_") for name in FAMILIES) for known in published.names())


# What both share


@pytest.mark.parametrize(
    ("write", "library", "extra"),
    [(write_onnx, "onnxruntime", "onnx"), (write_onnx, "onnxscript", "onnx"), (write_nir, "nirtorch", "nir")],
)
def test_a_missing_library_gives_the_remedy(
    write: Any, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxscript", "nir"):
        monkeypatch.setitem(sys.modules, name, sys)  # any module
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(FormatError, match=rf"{library} cannot be imported.*pip install 'spikformer-nas\[{extra}\]'"):
        write(smallest(), tmp_path / "network")


@needs_nir
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"cannot be written: .* Make room or name another place"):
        write_nir(smallest(), tmp_path / "nowhere" / "network.nir")


@pytest.mark.parametrize("name", ["spikformer_cifar10_4_256", "msqkformer_cifar10_4_384"])
def test_a_coarse_copy_fires_everywhere_and_is_exact(name: str) -> None:
    """float64 gives the same logits to the last bits of float32; untrained, the network itself does not fire."""
    torch.manual_seed(0)
    coarse = formats._coarse(fuse(Spikformer(published.config(name)).eval()))
    rates: list[float] = []
    for module in coarse.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _i, out: rates.append(out.float().mean().item()))
    images = formats._images(coarse, 2)
    with torch.no_grad():
        logits = coarse(images)
        torch.testing.assert_close(coarse.double()(images.double()).float(), logits, atol=0, rtol=1e-5)
    assert 0.05 < min(rates) < max(rates) < 1


# NIR


EXPRESSIBLE: dict[str, dict[str, Any]] = {
    "as it is": {},
    "if": {"neuron": {"kind": "if", "threshold": 0.5}},
    "plif": {"neuron": {"kind": "plif", "tau": 1.7, "threshold": 0.5}},
    "sepconv": {"mixer": {"kind": "sepconv", "kernel_size": 3}},
    "sepconv_middle": {"mixer": {"kind": "sepconv", "kernel_size": 5, "middle_neuron": True, "layer_scale": 0.5}},
    "dwconv": {"mixer": {"kind": "dwconv", "kernel_size": 3}},
    "convffn": {"mlp": {"kind": "convffn", "ratio": 2}},
    "gwffn": {"mlp": {"kind": "gwffn", "ratio": 2, "group_width": 4}},
    "inner_residual": {"mlp": {"kind": "mlp", "ratio": 1, "inner_residual": True}},
    "head": {"head": {"num_classes": 5, "neuron": True, "time_mean": "after", "bias": False}},
    "sps": {"stem": {"kind": "sps", "image_size": 8, "pool": [False] * 4}},
    "sps_replaced": {"stem": {"kind": "sps", "image_size": 8, "pool": [False] * 4, "shortcut": False}},
    "speds": {"stem": {"kind": "speds", "image_size": 8, "encode": "stride", "position": "conv"}},
    "sew": {
        "residual": "sew",
        "stem": {"kind": "sps", "image_size": 8, "pool": [False] * 4},
        "down": {"kind": "speds", "convs": ["none", "stride"], "deformed_shortcut": "stride"},
    },
}


def expressible(**fields: Any) -> SpikformerConfig:
    """A convolutional network; fields of a stage go into each."""
    values = convolutional()
    of_stages = {name: fields.pop(name) for name in ("mixer", "mlp") if name in fields}
    values["stages"] = [stage | of_stages for stage in values["stages"]]
    values["stages"][1]["down"] = fields.pop("down", values["stages"][1]["down"])
    return SpikformerConfig.from_dict(values | fields)


@needs_nir
@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_spikingjelly_computes_a_nir_file_s_logits(name: str, tmp_path: Path) -> None:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    model = calibrated(expressible(**EXPRESSIBLE[name]))[0]
    off = write_nir(model, tmp_path / "network.nir")
    assert [file.name for file in tmp_path.iterdir()] == ["network.nir"]
    assert off < 0.1
    network, images = import_from_nir(tmp_path / "network.nir"), images_of(model.config, 8)
    logits_TBC, state = [], None
    with torch.no_grad():
        for _ in range(model.config.time_steps):
            logits_BC, state = network(images, state)
            logits_TBC.append(logits_BC)
        assert_mostly_equal(torch.stack(logits_TBC).mean(0), model(images))
    assert not torch.equal(logits_TBC[0], logits_TBC[1])  # neurons remember


@needs_nir
def test_nodes_and_edges_of_a_nir_file(tmp_path: Path) -> None:
    """By hand: two convolutions of one block, whose branch is added to the stream by a second edge."""
    import nir

    values = convolutional(neuron={"kind": "lif", "tau": 4.0, "threshold": 0.5})
    values["stages"] = [values["stages"][0] | {"depth": 1}]
    model = calibrated(SpikformerConfig.from_dict(values))[0]
    write_nir(model, tmp_path / "network.nir")
    graph = nir.read(tmp_path / "network.nir")
    stem, mlp = "stem.embedding.conv", "stages.0.blocks.0.mlp.branch"
    chain = ["images", stem, f"{mlp}.expand.neuron", f"{mlp}.expand.conv.conv"]
    chain += [f"{mlp}.contract.neuron", f"{mlp}.contract.conv.conv"]
    chain += ["head.mean", "head.flat", "head.linear", "logits"]
    edges = {*itertools.pairwise(chain), (stem, "head.mean")}
    assert set(graph.nodes) == set(chain)
    assert {tuple(edge) for edge in graph.edges} == edges
    nodes: dict[str, Any] = graph.nodes
    neuron = nodes[f"{mlp}.contract.neuron"]
    assert neuron.tau.shape == (16, 4, 4)
    assert [np.unique(x).tolist() for x in (neuron.r, neuron.v_leak, neuron.v_reset)] == [[1], [0], [0]]
    assert np.unique(neuron.v_threshold).tolist() == [0.5]
    np.testing.assert_allclose(neuron.tau, 4e-4)
    expected = fuse(model).get_submodule(stem)
    assert isinstance(expected, Conv2d)
    np.testing.assert_array_equal(nodes[stem].weight, expected.weight.detach().numpy())


BLOCK = r"stages\.0\.blocks\.0"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    **{
        kind: (
            {"mixer": {"kind": kind, "num_heads": 2}},
            rf'{BLOCK}\.mixer\.branch: NIR has no product of two activations \(attention "{kind}"\)',
        )
        for kind in ("ssa", "sdsa", "qkta", "qkca", "dssa")
    },
    "multispike": ({"neuron": {"kind": "multispike"}}, r'neuron: NIR has no .* \(neuron "multispike"\)'),
    "psn": ({"neuron": {"kind": "psn"}}, r'neuron: NIR has no neuron .* \(neuron "psn"\)'),
    "ternary": ({"neuron": {"kind": "ternary"}}, r'neuron: NIR has no neuron .* \(neuron "ternary"\)'),
    "max pool": (
        {"stem": {"kind": "conv", "image_size": 8, "stride": 1, "position": "none", "max_pool": True}},
        r"^stem\.embedding: NIR has no max pool",
    ),
    "max pool of sps": (
        {"stem": {"kind": "sps", "image_size": 8}},
        r"^stem\.embedding\.2: NIR has no max pool",
    ),
    "learned position": (
        {"stem": {"kind": "sps", "image_size": 8, "pool": [False] * 4, "position": "learned"}},
        r'^stem\.position: NIR has no constant to add at each place \(position "learned"\)',
    ),
    "cpg": (
        {"stem": {"kind": "sps", "image_size": 8, "pool": [False] * 4, "position": "cpg"}},
        r'^stem\.position: NIR has no constant to add at each place \(position "cpg"\)',
    ),
    "sew_iand": (
        {"residual": "sew_iand", "stem": {"kind": "sps", "image_size": 8, "pool": [False] * 4}, "down": {}},
        r'NIR has no product of two activations \(residual "sew_iand"\)',
    ),
    "two classifiers": (
        {"head": {"num_classes": 5, "neuron": True, "distillation": True, "time_mean": "after"}},
        r"^head: its two classifiers are not written as NIR",
    ),
}


@needs_nir
@pytest.mark.parametrize("name", REFUSED)
def test_what_nir_cannot_express_is_named(name: str, tmp_path: Path) -> None:
    fields, words = REFUSED[name]
    if name == "sew_iand":
        values = convolutional(residual="sew_iand", stem=fields["stem"])
        values["stages"] = values["stages"][:1]
        config = SpikformerConfig.from_dict(values)
    else:
        config = expressible(**fields)
    with pytest.raises(FormatError, match=words):
        write_nir(Spikformer(config), tmp_path / "network.nir")
    assert not list(tmp_path.iterdir())


@needs_nir
def test_a_block_of_one_s_own_is_named(tmp_path: Path) -> None:
    values = convolutional()
    values["stages"][0]["mixer"] = {"kind": "tests.spikformer.test_formats:BranchesOnValues"}
    plugins.allow("tests.spikformer.test_formats")
    with pytest.raises(FormatError, match=rf"^{BLOCK}\.mixer\.branch: NIR has no operation BranchesOnValues"):
        write_nir(Spikformer(SpikformerConfig.from_dict(values)), tmp_path / "network.nir")


@needs_nir
@pytest.mark.parametrize("lost", ["joined", "neuron"])
def test_a_wrong_graph_is_noticed(lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the stream beside a branch; without the neurons."""
    wrong: dict[str, Any] = {
        "joined": lambda _graph, _stream, branch, _path: branch,
        "neuron": lambda _graph, _module, _path, x: x,
    }
    monkeypatch.setattr(formats._Graph, "joined", wrong["joined"] if lost == "joined" else formats._Graph.joined)
    if lost == "neuron":
        for kind in list(formats._RULES):
            if issubclass(kind, Neuron):
                monkeypatch.setitem(formats._RULES, kind, wrong["neuron"])
    with pytest.raises(FormatError, match="the file computes other logits than the network"):
        write_nir(smallest(), tmp_path / "network.nir")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(6, 6, 6), (6, 12, 3), (4, 8, 1)])
def test_a_grouped_kernel_is_dense_with_zeros(inputs: int, outputs: int, groups: int) -> None:
    conv = Conv2d(inputs, outputs, 3, fed=BINARY, groups=groups)
    x_nCHW = torch.randn(2, inputs, 5, 5)
    dense_nCHW = F.conv2d(x_nCHW, formats._dense(conv), padding=1)
    torch.testing.assert_close(dense_nCHW, conv(x_nCHW).detach())


def test_mixers_are_all_expressed_or_refused() -> None:
    kinds = {mixer["kind"] for mixer in TOKEN_MIXERS.values()}
    assert kinds == {"ssa", "sdsa", "qkta", "qkca", "dssa", "sepconv", "dwconv", "identity"}
