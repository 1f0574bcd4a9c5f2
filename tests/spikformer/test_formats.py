"""ONNX files: onnxruntime computes the network's logits from them, or there is no file."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.costs import contract
from spikformer import FormatError, Spikformer, SpikformerConfig, formats, fuse, plugins, published, spiking
from spikformer.formats import write_onnx
from spikformer.neurons import Neuron
from tests.costs.test_contract import NEURONS
from tests.facts import fill
from tests.helpers import calibrated
from tests.spikformer.test_published import PARITY, tiny

needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))), reason="extra onnx is not installed"
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


USUAL = ("spikformer",)
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


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("name", [n if n in USUAL else pytest.param(n, marks=pytest.mark.exhaustive) for n in FAMILIES])
def test_onnx_of_every_published_family(name: str, tmp_path: Path) -> None:
    model, path = family(name), tmp_path / "network.onnx"
    off = write_onnx(model, path)
    images = images_of(model.config, 8)
    with torch.no_grad():
        assert_mostly_equal(logits_of(path, images), fuse(model)(images))
    assert off < 0.1


@needs_onnx
@pytest.mark.parametrize(
    "neuron", [n if n == "lif" else pytest.param(n, marks=pytest.mark.exhaustive) for n in NEURONS]
)
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
    with pytest.raises(FormatError, match="the file and the network compute different logits: off by"):
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

    with pytest.raises(FormatError, match="for half of 8 images, while rounding explains"):
        formats._agree(write, fused, tmp_path / "network")
    assert not list(tmp_path.iterdir())


@pytest.mark.exhaustive
@needs_onnx
def test_logits_that_are_no_numbers_do_not_agree(tmp_path: Path) -> None:
    model = smallest()
    with torch.no_grad():
        model.head.linear.bias[0] = torch.nan
    with pytest.raises(FormatError, match="off by nan of the largest"):
        write_onnx(model, tmp_path / "network.onnx")


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


@pytest.mark.parametrize("library", ["onnxruntime", "onnxscript"])
def test_a_missing_library_gives_the_remedy(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, sys)  # any module
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(FormatError, match=rf"{library} cannot be imported.*pip install onnx onnxscript onnxruntime"):
        write_onnx(smallest(), tmp_path / "network")


@pytest.mark.exhaustive
@needs_onnx
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"cannot be written: .* Free some space or choose another place"):
        write_onnx(smallest(), tmp_path / "nowhere" / "network.onnx")


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
