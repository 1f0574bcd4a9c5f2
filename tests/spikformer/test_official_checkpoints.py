"""Released checkpoints: the authors' names and shapes, read into our networks, give the authors' logits and spikes."""

import argparse
import functools
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from spikformer import (
    CheckpointError,
    ConfigError,
    Spikformer,
    SpikformerConfig,
    official,
    published,
    published_events,
    published_networks,
)
from spikformer.checkpoints import load_official
from spikformer.neurons import Neuron
from tests.facts import config_of, points

POINTS = points("official_checkpoints.json")
COMPUTED = sorted(name for name, point in POINTS.items() if "logits" in point)
NAMED = sorted(POINTS.keys() - set(COMPUTED))
SPIKFORMER = "tiny_spikformer_cifar"

Weights = dict[str, Tensor]


def _plain(weights: Weights, path: Path) -> Path:
    torch.save(weights, path)
    return path


def _under_model(weights: Weights, path: Path) -> Path:
    torch.save({"model": weights, "epoch": 299}, path)
    return path


def _of_a_parallel_model(weights: Weights, path: Path) -> Path:
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}}, path)
    return path


def _with_a_command_line(weights: Weights, path: Path) -> Path:
    noise = {name: torch.full_like(tensor, 7) for name, tensor in weights.items()}
    torch.save({"state_dict_ema": noise, "args": argparse.Namespace(lr=5e-4), "state_dict": weights}, path)
    return path


def _moving_average(weights: Weights, path: Path) -> Path:
    torch.save({"model_ema": weights}, path)
    return path


def _safetensors(weights: Weights, path: Path) -> Path:
    path = path.with_suffix(".safetensors")
    safetensors.torch.save_file(weights, path)
    return path


WRITERS: list[Callable[[Weights, Path], Path]] = [
    _plain,
    _under_model,
    _of_a_parallel_model,
    _with_a_command_line,
    _moving_average,
    _safetensors,
]


@pytest.mark.parametrize(
    ("name", "write"), [(name, WRITERS[i % len(WRITERS)]) for i, name in enumerate(COMPUTED)], ids=COMPUTED
)
def test_logits_and_spikes_equal_the_authors_code(
    name: str, write: Callable[[Weights, Path], Path], tmp_path: Path
) -> None:
    """Their code's outputs on weights drawn by the rule in the file; files of all forms by turns."""
    point = POINTS[name]
    path = write(_weights(point), tmp_path / "released.pth")
    model = load_official(path, config_of(point["config"]))
    assert not model.training
    spikes: list[float] = []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _i, out: spikes.append(out.sum().item()))
    images = torch.from_numpy(np.random.RandomState(7).standard_normal(point["shape"]))
    with torch.no_grad():
        logits = model(images)
    torch.testing.assert_close(logits, torch.tensor(point["logits"], dtype=torch.float64), atol=1e-9, rtol=0)
    assert sum(spikes) == point["spikes"]


@pytest.mark.parametrize("name", NAMED)
def test_every_name_is_explained_and_every_weight_found(name: str, tmp_path: Path) -> None:
    """Of these the file lists the names alone; a translated weight holds the numbers of a released one."""
    weights = _weights(POINTS[name])
    model = load_official(_plain(weights, tmp_path / "released.pth"), config_of(POINTS[name]["config"]))
    released = sorted(tensor.double().sum().item() for tensor in weights.values())
    for name, tensor in model.state_dict().items():
        i = min(np.searchsorted(released, tensor.double().sum().item() - 1e-9), len(released) - 1)
        assert released[i] == pytest.approx(tensor.double().sum().item(), abs=1e-9), name


@pytest.mark.parametrize("name", NAMED)
def test_each_batch_norm_stays_behind_its_convolution(name: str) -> None:
    """The names' order in the authors' code, which the rules never look at, must be found in ours."""
    shapes: dict[str, list[int]] = dict(POINTS[name]["keys"])
    family = official.family_of(_weights(POINTS[name]))
    theirs = list(dict.fromkeys(map(_parent, shapes)))
    ours = list(dict.fromkeys(map(_parent, _state_dict(config_of(POINTS[name]["config"])))))
    norms = [i for i, module in enumerate(theirs) if f"{module}.running_mean" in shapes]
    assert norms
    for i in norms:
        before, norm = (_parent(family.our_name(f"{module}.weight") or "") for module in theirs[i - 1 : i + 1])
        assert ours.index(norm) == ours.index(before) + 1, theirs[i]


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("tiny_sdt2_kd", "head.weight", "head.linear.weight"),
        ("tiny_sdt2_kd", "head_kd.weight", "head.distilled.weight"),
        ("tiny_sdt3_large", "block3.7.layer_scale1", "stages.3.blocks.7.mixer.layer_scale"),
        ("tiny_sdt3_large", "block3.7.layer_scale2", "stages.3.blocks.7.mlp.layer_scale"),
        ("tiny_sdt3_large", "block3.7.attn.v_conv.1.bias", "stages.3.blocks.7.mixer.branch.value.conv.norm.bias"),
        ("tiny_sdt3_large", "block3.7.attn.proj_conv.1.bias", "stages.3.blocks.7.mixer.branch.proj.norm.bias"),
        (
            "tiny_spikingresformer_imagenet",
            "layers.0.3.up.1.weight",
            "stages.0.blocks.1.mlp.branch.expand.conv.conv.weight",
        ),
        (
            "tiny_spikingresformer_imagenet",
            "layers.2.11.W.weight",
            "stages.2.blocks.5.mixer.branch.summary.conv.weight",
        ),
        ("tiny_spikingresformer_imagenet", "layers.3.0.norm.bn.bias", "stages.3.down.conv.norm.bias"),
    ],
)
def test_a_name_that_no_shape_tells_from_its_neighbour(name: str, theirs: str, ours: str) -> None:
    """Block numbers as in full-size networks."""
    assert official.family_of(_weights(POINTS[name])).our_name(theirs) == ours


PUBLISHED = {
    "spikformer_cifar": "tiny_spikformer_cifar",
    "spikformer_in": "tiny_spikformer_imagenet",
    "spikingformer_cifar": "tiny_spikingformer_cifar",
    "spikingformer_in": "tiny_spikingformer_imagenet",
    "sdt1_cifar": "tiny_sdt1_cifar",
    "sdt1_in": "tiny_sdt1_imagenet",
    "sdt2": "tiny_sdt2",
    "sdt3_base": "tiny_sdt3_base",
    "sdt3_large": "tiny_sdt3_large",
    "qkformer_cifar": "tiny_qkformer_cifar_b1",
    "qkformer_in": "tiny_qkformer_imagenet_b1",
    "spikingresformer": "tiny_spikingresformer_imagenet",
    "msqkformer_cifar": "tiny_msqkformer_cifar",
    "msqkformer_in": "tiny_msqkformer_imagenet",
    "maxformer_cifar": "tiny_maxformer_cifar",
    "maxformer_in": "tiny_maxformer_imagenet",
}
"""Published networks by the start of their names, and a checkpoint of the same family."""


@pytest.mark.parametrize("name", published_networks.POINTS)
def test_published_networks_are_those_that_their_family_asks_for(name: str) -> None:
    (point,) = (point for start, point in PUBLISHED.items() if name.startswith(start))
    family = official.family_of(_weights(POINTS[point]))
    assert family.differences(published.config(name)) == []


EVENTS_READ = ("sdt2_", "spikingresformer_cifar10dvs", "spikingresformer_s_")
"""Networks for events that compute what their family does with images; the weights tell their widths and depths."""


@pytest.mark.parametrize("name", published_events.POINTS)
def test_weights_for_images_never_fill_a_network_for_events_that_computes_something_else(name: str) -> None:
    """By every checkpoint for images of its family."""
    checkpoints = [point for start, point in PUBLISHED.items() if start.split("_")[0] == name.split("_")[0]]
    families = [official.family_of(_weights(POINTS[point])) for point in checkpoints]
    differences = [family.differences(published.config(name)) for family in families]
    assert differences
    assert all((different == []) == name.startswith(EVENTS_READ) for different in differences)


def test_a_network_can_be_given_by_name(tmp_path: Path) -> None:
    path = _plain(_weights(POINTS[SPIKFORMER]), tmp_path / "released.pth")
    with pytest.raises(CheckpointError, match=r"weights of the network are not in the file: stages\.0\.blocks\.2"):
        load_official(path, "spikformer_cifar10_4_384")
    with pytest.raises(ConfigError, match="Did you mean"):
        load_official(path, "spikformer_cifar10_4_38")


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    weights = {k: v.half() if v.is_floating_point() else v for k, v in _weights(POINTS[SPIKFORMER]).items()}
    model = load_official(_plain(weights, tmp_path / "half.pth"), _config())
    assert model.head.linear.weight.dtype == torch.float32
    assert torch.equal(model.head.linear.weight, weights["head.weight"].float())


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        (SPIKFORMER, r"left out 8 .*: block\.\*\.norm1\.weight, block\.\*\.norm1\.bias"),
        ("tiny_sdt1_plif", r"left out 3 .*: patch_embed\.rpe_lif\.w, block\.\*\.attn\.attn_lif\.w, .*talking_heads"),
        ("tiny_qkformer_cifar_b1", None),
    ],
)
def test_unused_weights_are_told_in_the_log(
    name: str, left_out: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _plain(_weights(POINTS[name]), tmp_path / "released.pth")
    with caplog.at_level(logging.INFO, logger="spikformer"):
        load_official(path, config_of(POINTS[name]["config"]))
    assert [record.name for record in caplog.records] == ["spikformer"] * (left_out is not None)
    assert left_out is None or re.search(left_out, caplog.text)


class _Code:
    """What a file must not bring along."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"is not a file\. Give"),
        (b"", r"is damaged, or is not a torch checkpoint \(\w+\)\. Download it again"),
        (b"<html>404</html>", r"is damaged, or is not a torch checkpoint \(\w+\)\. Download it again"),
        (
            {"model": {}, "hook": _Code()},
            r"holds a tests\.spikformer\.test_official_checkpoints\._Code, .* save its state_dict alone",
        ),
        ({"epoch": 3, "optimizer": {}}, r"holds no state_dict, neither .* model_ema: its keys are epoch, optimizer\."),
        ([torch.zeros(1)], r"holds no state_dict, neither at its top nor under state_dict, model, .*\. Give"),
        (
            {"conv.weight": torch.zeros(1)},
            r"the 1 names, such as conv\.weight, belong to no family .*Spikformer, .*Max-Former",
        ),
    ],
)
def test_a_file_without_weights_says_so(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "released.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    _refused(path, _config(), message)


def test_damaged_safetensors_say_so(tmp_path: Path) -> None:
    path = tmp_path / "released.safetensors"
    path.write_bytes(b"not that")
    _refused(path, _config(), r"cannot be read as safetensors: .*\. Download it again")


def _with(name: str, tensor: Tensor) -> Callable[[Weights], Weights]:
    return lambda weights: weights | {name: tensor}


def _without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {k: v for k, v in weights.items() if k != name}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            _with("block.0.attn.extra.weight", torch.zeros(1)),
            r"1 of \d+ names are not explained by the rules for Spikformer: block\.0\.attn\.extra\.weight\. Use",
        ),
        (
            _with("block.7.attn.q_bn.bias", torch.zeros(64)),
            r"this Spikformer is not .* 1 of its weights have no place in the network: "
            r"block\.7\.attn\.q_bn\.bias \(our stages\.0\.blocks\.7\.mixer\.branch\.query\.conv\.norm\.bias\)\. Give",
        ),
        (
            _without("block.1.mlp.fc2_linear.bias"),
            r"1 weights of the network are not in the file: "
            r"stages\.0\.blocks\.1\.mlp\.branch\.contract\.conv\.conv\.bias\.",
        ),
        (
            _with("head.weight", torch.zeros(100, 64)),
            r"head\.weight has shape \(100, 64\), but head\.linear\.weight .* has \(10, 64\)\. Give",
        ),
        (
            _with("block.0.attn.q_linear.weight", torch.zeros(64, 64, 1, 1, 1)),
            r"q_linear\.weight has shape \(64, 64, 1, 1, 1\), but .*query\.conv\.conv\.weight .* has \(64, 64, 1, 1\)",
        ),
        (
            _with("head.weight", torch.zeros(10, 64, dtype=torch.int8)),
            r"head\.weight holds torch\.int8, but head\.linear\.weight .*holds torch\.float.*not quantized",
        ),
        (
            _with("block.0.attn.q_conv.weight", torch.zeros(64, 64, 1)),
            r'"block\.0\.attn\.q_linear\.weight" and "block\.0\.attn\.q_conv\.weight" both stand for "stages',
        ),
    ],
)
def test_a_file_of_another_network_says_what_differs(
    changed: Callable[[Weights], Weights], message: str, tmp_path: Path
) -> None:
    _refused(_plain(changed(_weights(POINTS[SPIKFORMER])), tmp_path / "released.pth"), _config(), message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": "ms"}, r"those of Spikformer, .* residual is 'ms' instead of 'sew'\. Give the config"),
        ({"neuron": {"kind": "if"}}, r"neuron\.kind is 'if' instead of 'lif'"),
        ({"neuron": {"threshold": 0.5}}, r"neuron\.threshold is 0\.5 instead of 1\.0"),
        ({"stem": {"pool": [False, False, False, True]}}, r"stem\.pool is \(False, False, False, True\) instead"),
        ({"stem": {"shortcut": False}}, r"stem\.shortcut is False instead of True"),
        ({"stages.0.mixer": {"scale": 0.5}}, r"stages\.0\.mixer\.scale is 0\.5 instead of 0\.125"),
        ({"stages.0.mixer": {"kind": "sdsa"}}, r"stages\.0\.mixer\.kind is 'sdsa' instead of 'ssa'"),
        ({"head": {"neuron": True}}, r"head\.neuron is True instead of False"),
    ],
)
def test_a_config_that_computes_something_else_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Most of these have the very same weights: only the names tell whose they are."""
    values = _config().to_dict()
    for path, value in changes.items():
        part, last = values, path
        if path.startswith("stages.0."):
            part, last = values["stages"][0], path.removeprefix("stages.0.")
        part[last] = part[last] | value if isinstance(value, dict) else value
    _refused(
        _plain(_weights(POINTS[SPIKFORMER]), tmp_path / "released.pth"), SpikformerConfig.from_dict(values), message
    )


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("tiny_sdt3_base", {"neuron": {"divisor": 8}}, r"neuron\.quantum is 0\.125 instead of 0\.25"),
        ("tiny_sdt3_large", {"neuron": {"divisor": 1}}, r"neuron\.quantum is 1\.0 instead of 0\.25"),
        ("tiny_sdt1_cifar", {"mixer": {"erode": True}}, r"stages\.0\.mixer\.erode is True instead of False"),
    ],
)
def test_what_only_networks_for_events_have_is_refused(
    name: str, changed: dict[str, dict[str, Any]], message: str, tmp_path: Path
) -> None:
    """The weights and their names are the same."""
    config = config_of(POINTS[name]["config"])
    neuron = replace(config.neuron, **changed.get("neuron", {}))
    stages = tuple(replace(stage, mixer=replace(stage.mixer, **changed.get("mixer", {}))) for stage in config.stages)
    _refused(
        _plain(_weights(POINTS[name]), tmp_path / "released.pth"),
        replace(config, neuron=neuron, stages=stages),
        message,
    )


@pytest.mark.parametrize("name", sorted(POINTS))
def test_every_checkpoint_is_refused_by_every_other_network(name: str) -> None:
    """Whatever the number of classes; a distilled network is another one.

    The two of Spike-driven Transformer have the same names and shapes: pools without weights tell them apart.
    """
    weights, own = _weights(POINTS[name]), config_of(POINTS[name]["config"])
    for other, point in POINTS.items():
        config = config_of(point["config"])
        config = replace(config, head=replace(config.head, num_classes=own.head.num_classes))
        if config != own and {name, other} != {"tiny_sdt1_cifar", "tiny_sdt1_imagenet"}:
            with pytest.raises(CheckpointError):
                official.translate(weights, config, _state_dict(config))


@functools.cache
def _state_dict(config: SpikformerConfig) -> Weights:
    with torch.device("meta"):
        return Spikformer(config).state_dict()


def _config() -> SpikformerConfig:
    return config_of(POINTS[SPIKFORMER]["config"])


def _refused(path: Path, config: SpikformerConfig, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_official(path, config)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def _weights(point: dict[str, Any]) -> Weights:
    """A checkpoint in the authors' names, by the rule of `how` in official_checkpoints.json."""
    shapes: dict[str, list[int]] = dict(point["keys"])
    return {
        name: torch.as_tensor(
            _draw(
                name, shape, np.random.RandomState(22000 + j), point["boost"], f"{_parent(name)}.running_mean" in shapes
            )
        )
        for j, (name, shape) in enumerate(shapes.items())
    }


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _draw(name: str, shape: list[int], draw: np.random.RandomState, boost: float, in_norm: bool) -> Any:
    leaf, n = name.rpartition(".")[2], int(np.prod(shape))
    if leaf == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    if leaf == "running_mean":
        values = 0.1 * draw.randn(n)
    elif leaf == "running_var":
        values = 0.3 + 0.4 * draw.rand(n)
    elif in_norm:
        values = 0.6 + 0.9 * draw.rand(n) if leaf == "weight" else boost + 0.4 * draw.randn(n)
    elif leaf.startswith("firing_rate"):
        values = 0.1 + 0.3 * draw.rand(n)
    elif leaf.startswith("layer_scale"):
        values = 0.5 + 0.5 * draw.rand(n)
    elif leaf == "w":
        values = 0.3 * draw.randn(n)
    elif len(shape) >= 2:
        values = draw.randn(n) / np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.1 * draw.randn(n)
    return values.reshape(shape)
