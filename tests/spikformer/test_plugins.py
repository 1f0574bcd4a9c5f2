"""Blocks of one's own: the documented one works as printed, and broken ones are seen."""

import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.costs import contract
from nas.errors import CostError
from nas.spaces import load_space
from spikformer import ConfigError, Spikformer, SpikformerConfig, plugins
from tests.conftest import MICRO, Run
from tests.test_cli import ROOT, _run

PAGE = (ROOT / "docs" / "your_own_block.md").read_text()

OTHERS = '''
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikformer.errors import ConfigError
from spikformer.layers import Conv2d, Unit, conv_bn, fed_by_stream
from spikformer.neurons import LIF, neuron
from spikformer.operands import REAL
from spikformer.stems import ImageEncoding


class Leaky(LIF):
    """A neuron: LIF under another name."""


class OneConvolution(nn.Module):
    """A channel mixer for membrane currents; its two settings mean the same."""

    @dataclass(frozen=True)
    class Options:
        width: int = 1
        alias: int = 1

        def canonical(self) -> "OneConvolution.Options":
            return OneConvolution.Options(self.width * self.alias)

    def __init__(self, dim, options, config):
        super().__init__()
        if config.residual != "ms":
            raise ConfigError("adds membrane currents")
        self.conv = conv_bn(dim, dim, options.width * options.alias, fed=fed_by_stream(config))
        from spikformer.neurons import neuron
        self.neuron = neuron(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.neuron(x))


class Batchwise(OneConvolution):
    """Breaks a promise: centres each batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(1, keepdim=True))


class Hidden(OneConvolution):
    """Breaks a promise: multiplies without saying so."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) @ x.mT


class Halving(nn.Module):
    """A downsampling, and nothing of the kind where it keeps the grid."""

    def __init__(self, in_dim, dim, stride, config):
        super().__init__()
        if stride != 2:
            raise ConfigError("halves the grid and cannot do otherwise", ("stride",))
        self.unit = Unit(conv_bn(in_dim, dim, 3, fed=fed_by_stream(config), reduction="stride"), config)

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(x)


class Keeping(Halving):
    """Breaks a promise: another shape."""

    def __init__(self, in_dim, dim, stride, config):
        super().__init__(in_dim, dim, 2, config)
        self.unit.conv.conv.stride = (1, 1)


class Patches(nn.Module):
    """A stem that has no options."""

    def __init__(self, dim, config):
        super().__init__()
        stem = config.stem
        conv = Conv2d(stem.in_channels, dim, stem.stride, fed=REAL, stride=stem.stride, padding=0)
        self.encoding = ImageEncoding(conv, config.time_steps)
        self.neuron = nn.Identity() if config.residual == "ms" else neuron(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(self.encoding(x))


class Remembers(Patches):
    """Breaks a promise: keeps what it saw."""

    def forward(self, x: Tensor) -> Tensor:
        seen, self.seen = getattr(self, "seen", None), x.detach()
        return super().forward(x if seen is None or seen.shape != x.shape else x + 0.5 * seen)


class Crowd(Patches):
    """Breaks a promise: centres each batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.amax(1, keepdim=True))


class Small(Patches):
    """Breaks a promise: fewer tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., 1:]


class Silent(Patches):
    """Breaks a promise: adds two images up without saying so."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + x.roll(1, -1))


class Brightening(Patches):
    """Breaks a promise: frames become brighter with time."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * torch.arange(1, len(x) + 1)[:, None, None, None, None])


class Falls(OneConvolution):
    """Has a defect."""

    def forward(self, x: Tensor) -> Tensor:
        return self.missing(x)
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with `mine.py` and `stems.py`, the block and the stem of the page, and `others.py`."""
    block, stem = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.py").write_text(block)
    (tmp_path / "stems.py").write_text(stem)
    (tmp_path / "others.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    plugins.allow("mine", "others", "stems")
    yield tmp_path
    for name in ("mine", "others", "stems"):
        sys.modules.pop(name, None)


def test_the_documented_attention_keeps_every_promise_in_thirty_lines(mine: Path, run_here: Run) -> None:
    lines = [line for line in (mine / "mine.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 30
    done = run_here("check-block", "mine:AdditionOnly", cwd=mine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("kept") == 1 + 2 * 2 * 8  # equality; two residuals, two numbers of steps, eight promises
    assert "BROKEN" not in done.stdout


@pytest.mark.exhaustive
def test_the_documented_space_searches_it(mine: Path) -> None:
    axes = re.search(r"```toml\n\[axes\]\n(.*?)```", PAGE, re.DOTALL)
    assert axes is not None
    text = MICRO.replace('num_heads = [1, 2]\nresidual = ["sew", "ms"]\nattention = ["ssa", "sdsa"]\n', axes[1])
    text = text.replace('{ residual = "sew", attention = "ssa" }', '{ attention = "mine:AdditionOnly" }')
    (mine / "own.toml").write_text(text)
    # By hand: 2 widths x (ssa, to which the other's heads mean nothing, + 2 numbers of heads).
    assert load_space(mine / "own.toml").size() == (2 * (1 + 2), True)
    done = _run("search", "--space", "own.toml", "--trials", "2", cwd=mine)
    assert done.returncode == 0, done.stderr


@pytest.mark.exhaustive
def test_neurons_and_channel_mixers_likewise(mine: Path) -> None:
    assert all(check.passed for check in contract.check_block("others:Leaky"))
    checks = contract.check_block("others:OneConvolution", {"width": 3})
    assert all(check.passed for check in checks)
    assert [check.network for check in checks if "refused" in check.detail] == [
        "residual sew, T = 1",
        "residual sew, T = 4",
    ]
    values = contract.small()
    values["stages"][0]["mlp"] = {"kind": "others:OneConvolution", "options": {"width": 3}}
    values["neuron"]["kind"] = "others:Leaky"
    config = SpikformerConfig.from_dict(values)
    assert SpikformerConfig.from_dict(config.to_dict()) == config
    assert all(check.passed for check in contract.checks(config))


@pytest.mark.exhaustive  # in CI the documented attention is held to them
def test_the_documented_stem_keeps_every_promise(mine: Path) -> None:
    done = _run("check-block", "stems:TwoScales", "--part", "stem", cwd=mine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("kept") == 1 + 2 * 2 * 2 * 9  # equality; residuals, steps and strides, nine promises
    assert '"stem.kind" = ["sps", "stems:TwoScales"]' in done.stdout


def test_stems_downsampling_and_channel_mixers_take_their_own_places(mine: Path) -> None:
    down = contract.check_block("others:Halving", part="down")
    assert [check for check in down if not check.passed] == []
    assert sum("refused: cannot" in check.detail or "cannot do otherwise" in check.detail for check in down) == 4
    mlp = contract.check_block("others:OneConvolution", part="mlp")
    assert all(check.passed for check in mlp)
    assert sum(check.network == "residual ms, T = 4" for check in mlp) == 8
    with pytest.raises(ConfigError, match=r"cannot be used in any network; .*\(in_dim, dim, stride, config\)"):
        contract.check_block("others:Patches", part="down")


@pytest.mark.parametrize(
    ("stem", "name", "detail"),
    [
        pytest.param("Remembers", "no state survives a call", "after others", marks=pytest.mark.exhaustive),
        ("Crowd", "samples are independent", "moves? by"),
        ("Small", "runs", r"returned \[4, 8, 16, 4, 3\], but must return \[4, 8, 16, 4, 4\], which is \[T, B, C, H /"),
        ("Silent", "costs equal enumeration", "does not declare"),
        pytest.param("Brightening", "frames and images", "differ by", marks=pytest.mark.exhaustive),
    ],
)
def test_broken_promises_of_a_stem_are_seen(mine: Path, stem: str, name: str, detail: str) -> None:
    checks = contract.check_block(f"others:{stem}", part="stem")
    assert any(check.name == name and re.search(detail, check.detail) for check in checks if not check.passed)


@pytest.mark.exhaustive
def test_a_broken_downsampling_is_seen(mine: Path) -> None:
    checks = contract.check_block("others:Keeping", part="down")
    (detail,) = {check.detail for check in checks if not check.passed and "T = 1, stride 2" in check.network}
    assert "returned [1, 8, 24, 4, 4], but must return [1, 8, 24, 2, 2]" in detail


def test_costs_of_stems_and_downsampling_are_held_before_a_search(mine: Path) -> None:
    """In their places and by their strides; a stage without blocks has none."""
    values = contract.small(stem={"kind": "others:Patches", "stride": 2, "image_size": 8, "position": "none"})
    values["stages"].append(values["stages"][0] | {"down": {"kind": "others:Halving"}})
    values["stages"].append(values["stages"][0] | {"depth": 0, "mixer": {"kind": "nowhere:Nothing"}})
    contract.hold_to_costs(SpikformerConfig.from_dict(values))
    values["stem"]["kind"] = "others:Silent"
    with pytest.raises(CostError, match="check-block others:Silent --part stem` checks the whole block"):
        contract.hold_to_costs(SpikformerConfig.from_dict(values))


def test_equal_settings_are_equal_networks(mine: Path) -> None:
    def config_id(**options: int) -> str:
        values = contract.small()
        values["stages"][0]["mixer"] = {"kind": "others:OneConvolution", "options": options}
        return SpikformerConfig.from_dict(values).config_id

    assert config_id() == config_id(width=1) == config_id(alias=1)
    assert config_id(width=3) == config_id(alias=3) == config_id(width=1, alias=3) != config_id()


@pytest.mark.parametrize(
    ("block", "name", "detail"),
    [
        ("others:Batchwise", "samples are independent", "moves? by"),
        ("others:Hidden", "costs equal enumeration", "does not declare"),
        ("others:Falls", "runs", "AttributeError"),
    ],
)
def test_broken_promises_are_seen(mine: Path, block: str, name: str, detail: str) -> None:
    broken = [check for check in contract.check_block(block) if not check.passed]
    assert name in {check.name for check in broken}
    assert any(re.search(detail, check.detail) for check in broken)


def test_the_command_fails_where_a_promise_is_broken(mine: Path, run_here: Run) -> None:
    assert run_here("check-block", "others:Falls", cwd=mine).returncode == 1


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"kind": "others:Nothing"}, "others has no class Nothing"),
        (
            {"kind": "others:OneConvolution", "options": {"widht": 1}},
            'has no option "widht". It declares: width, alias',
        ),
        ({"kind": "others:Leaky"}, "cannot be built as"),
        ({"kind": "others:OneConvolution", "options": {"width": [1]}}, "options.width must be a plain value"),
    ],
)
def test_what_is_wrong_is_said(mine: Path, part: dict[str, object], message: str) -> None:
    values = contract.small()
    values["stages"][0]["mixer"] = part
    with pytest.raises(ConfigError) as caught:
        Spikformer(SpikformerConfig.from_dict(values))
    assert message in str(caught.value)


def test_a_neuron_must_be_one(mine: Path) -> None:
    values = contract.small()
    values["neuron"]["kind"] = "others:OneConvolution"
    with pytest.raises(ConfigError, match=r"is not a spikformer\.neurons\.Neuron"):
        Spikformer(SpikformerConfig.from_dict(values))


def test_the_documented_attention_is_the_formula(mine: Path) -> None:
    """neuron(q (k^T v)), index by index, from the spikes that its parts return."""
    values = contract.small(residual="ms", time_steps=2)
    values["stages"][0]["mixer"] = {"kind": "mine:AdditionOnly"}
    model, images = contract.calibrated(SpikformerConfig.from_dict(values))
    block: Any = model.get_submodule("stages.0.blocks.0.mixer.branch")
    seen: dict[str, torch.Tensor] = {}
    for name, part in block.named_children():
        part.register_forward_hook(lambda _m, _x, out, name=name: seen.update({name: out}))
    block.proj.register_forward_pre_hook(lambda _m, x: seen.update(context=x[0]))
    model(images)
    q, k, v = (seen[name].flatten(3).unflatten(2, (2, -1)) for name in ("query", "key", "value"))
    assert set(v.unique().tolist()) == {-1.0, 0.0, 1.0}
    expected = torch.zeros_like(v)
    for i, j in itertools.product(range(v.shape[3]), repeat=2):
        expected[..., i, :] += (v[..., i, :] * k[..., j, :]).sum(-1, keepdim=True) * q[..., j, :]
    fired = block.neuron(expected.reshape(seen["context"].shape))
    torch.testing.assert_close(seen["context"], fired)


def test_the_page_of_networks_names_every_kind_and_field() -> None:
    page = (ROOT / "docs" / "networks.md").read_text()
    values = SpikformerConfig().to_dict()
    fields = set(values["stages"][0]) | set(values["stages"][0]["mixer"]) | set(values["stages"][0]["mlp"])
    for part in ("neuron", "stem", "head"):
        fields |= set(values[part])
    fields |= set(values["stages"][0]["down"]) | set(values["stem"]["chain"][0])
    missing = [name for name in fields - {"kind"} if f"`{name}`" not in page]
    assert missing == []
