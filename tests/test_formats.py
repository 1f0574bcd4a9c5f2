"""Files of other formats compute what the network does: run by onnxruntime and by SpikingJelly's NIR reader."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spikformer import FormatError, Spikformer, SpikformerConfig, formats, fuse, published
from spikformer.config import DownConfig, HeadConfig, MixerConfig, MLPConfig, NeuronConfig, StageConfig, StemConfig
from tests.helpers import small_config


def _lively(config: SpikformerConfig) -> Spikformer:
    """Fresh weights, with batch norm's statistics of one batch, so that spikes reach the head."""
    torch.manual_seed(0)
    model = Spikformer(config).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    stem = config.stem
    with torch.no_grad():
        model(torch.randn(16, stem.in_channels, stem.image_size, stem.image_size))
    return model.eval()


def _conv_mlp(kind: str = "lif", head: bool = True, mixer: str = "identity", **changes: Any) -> SpikformerConfig:
    """What NIR can hold: convolutions, neurons, sums."""
    mixing = MixerConfig(mixer, kernel_size=3)
    config = SpikformerConfig(
        residual="ms",
        time_steps=3,
        neuron=NeuronConfig(kind, threshold=0.1),
        stem=StemConfig("conv", image_size=16, kernel_size=3, stride=1, position="none"),
        stages=(
            StageConfig(8, 1, mixer=mixing, mlp=MLPConfig("convffn", ratio=2)),
            StageConfig(16, 2, DownConfig("conv"), mixer=mixing, mlp=MLPConfig("mlp", ratio=1, inner_residual=True)),
        ),
        head=HeadConfig(5, neuron=head, time_mean="after"),
    )
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize("neuron", ["lif", "plif", "if"])
@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("mixer", ["identity", "sepconv", "dwconv"])
def test_nir_is_read_by_spikingjelly_with_equal_logits(tmp_path: Path, neuron: str, head: bool, mixer: str) -> None:
    path = tmp_path / "model.nir"
    assert formats.write_nir(_lively(_conv_mlp(neuron, head, mixer)), path) < 1e-5
    assert [found.name for found in tmp_path.iterdir()] == ["model.nir"]


@pytest.mark.parametrize("kind", ["position", "grouped"])
def test_nir_holds_spikes_that_are_added_positions_and_groups(tmp_path: Path, kind: str) -> None:
    """Grouped convolutions are written dense: the same logits."""
    if kind == "position":
        stem = StemConfig("sps", image_size=8, pool=(False, False, False, False))
        config = _conv_mlp(residual="sew", stem=stem, neuron=NeuronConfig(threshold=0.5))
    else:
        mlp = MLPConfig("gwffn", ratio=2, group_width=4)
        config = _conv_mlp(stages=(StageConfig(8, 2, mixer=MixerConfig("identity"), mlp=mlp),))
    assert formats.write_nir(_lively(config), tmp_path / "model.nir") < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neuron": NeuronConfig("psn")}, "stages.0.blocks.0.mlp.branch.expand.neuron: NIR has no neuron PSN"),
        ({"stages": (StageConfig(8, mixer=MixerConfig(num_heads=2)),)}, "product of two activations"),
        ({"stem": StemConfig("conv", image_size=16, position="learned")}, 'stem.position: .*position "learned"'),
        ({"stem": StemConfig("conv", image_size=16, position="none", max_pool=True)}, "stem.embedding: NIR has no max"),
    ],
)
def test_what_nir_cannot_hold_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        formats.write_nir(Spikformer(_conv_mlp(**changes)), tmp_path / "model.nir")
    assert not list(tmp_path.iterdir())


_FAMILIES = (
    *("spikformer_in_8_384", "spikingformer_in_8_384", "sdt1_in_8_384", "sdt2_in_15M_kd", "sdt3_base_t"),
    *("sdt3_large_spikformer12_768", "qkformer_in_10_384", "msqkformer_in_10_384", "maxformer_in_10_384"),
    "spikingresformer_ti",
)


def _shallow(name: str) -> SpikformerConfig:
    """One block a stage, 64 x 64 pixels; a low threshold, so that fresh weights let spikes through."""
    config = published.config(name)
    stages = tuple(dataclasses.replace(stage, depth=1) for stage in config.stages)
    stem = dataclasses.replace(config.stem, image_size=64)
    return dataclasses.replace(
        config, stem=stem, stages=stages, neuron=dataclasses.replace(config.neuron, threshold=0.25)
    )


@pytest.mark.parametrize("name", _FAMILIES)
def test_no_published_family_fits_into_nir(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r'NIR|only "ms"'):
        formats.write_nir(Spikformer(_shallow(name)), tmp_path / "model.nir")


@pytest.mark.parametrize(
    ("residual", "attention", "neuron"),
    [
        ("sew", "ssa", "lif"),
        ("ms", "sdsa", "plif"),
        ("ms", "qkta", "psn"),
        ("sew", "qkca", "if"),
        ("ms", "ssa", "ternary"),
    ],
)
@pytest.mark.slow
def test_onnx_is_run_by_onnxruntime_with_equal_logits(
    residual: str, attention: str, neuron: str, tmp_path: Path
) -> None:
    """Again here, with another number of images than it was traced with."""
    import onnxruntime

    model = _lively(small_config(residual, attention, neuron=neuron))
    path = tmp_path / "model.onnx"
    assert formats.write_onnx(model, path) < 1e-5
    assert [found.name for found in tmp_path.iterdir()] == ["model.onnx"]
    here = str(Path(formats.__file__).parent.parent).encode()
    assert here not in path.read_bytes()  # torch writes where the code of each operation lies
    images = torch.randn(3, 3, 8, 8)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = fuse(model)(images)
    torch.testing.assert_close(torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0]), expected)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", _FAMILIES)
def test_every_family_becomes_onnx(name: str, tmp_path: Path) -> None:
    assert formats.write_onnx(_lively(_shallow(name)), tmp_path / "model.onnx") < 1e-5


def test_a_file_that_computes_something_else_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_by_spikingjelly", lambda *_: lambda images: torch.randn(len(images), 5))
    with pytest.raises(FormatError, match=r"was not written: its logits differ .* is rounding"):
        formats.write_nir(_lively(_conv_mlp()), tmp_path / "model.nir")
    assert not list(tmp_path.iterdir())


def test_a_silent_network_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"says the same of any image\. Train it first"):
        formats.write_nir(Spikformer(_conv_mlp(neuron=NeuronConfig(threshold=1e6))), tmp_path / "model.nir")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(FormatError, match=r"nir cannot be imported: .* pip install 'spikformer-nas\[nir\]'"):
        formats.write_nir(Spikformer(_conv_mlp()), tmp_path / "model.nir")
