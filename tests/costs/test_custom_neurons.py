"""What a neuron of the user's own may do: anything at one place over time, and nothing more."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs import contract
from nas.costs.counter import OperationCounter
from nas.errors import CostError
from spikformer import SpikformerConfig, plugins
from spikformer.config import NeuronConfig
from spikformer.layers import Residual, conv_bn, fed_by_stream
from spikformer.neurons import IF, LIF, Neuron, neuron
from spikformer.operands import REAL
from tests.conftest import MICRO, Run


class Custom(LIF):
    """LIF under another name."""


class ChannelThresholds(LIF):
    """A threshold a channel, powers of currents, what came earlier: all of one place."""

    def __init__(self, config: NeuronConfig, threshold: float, time_steps: int) -> None:
        super().__init__(config, threshold, time_steps)
        self.thresholds = nn.Parameter(torch.linspace(0.2, 0.3, 2)[:, None, None])

    def forward(self, x_T: Tensor) -> Tensor:
        past_T = x_T.cumsum(0) * x_T + x_T**3
        spikes_T: Tensor = self.surrogate(past_T - self.thresholds)
        return spikes_T


class Blurs(LIF):
    def forward(self, x_T: Tensor) -> Tensor:
        return super().forward(x_T + 0.1 * x_T.roll(1, -1))


class Normalises(LIF):
    def forward(self, x_T: Tensor) -> Tensor:
        return super().forward(x_T - x_T.amax((1, 2, 3, 4), keepdim=True) / 4)


class LooksAround(LIF):
    """Reads more of the memory that its currents lie in."""

    def forward(self, x_T: Tensor) -> Tensor:
        whole = x_T if x_T._base is None else x_T._base
        return super().forward(whole[: len(x_T)] * whole[-len(x_T) :])


class Reads(LIF):
    def forward(self, x_T: Tensor) -> Tensor:
        return super().forward(x_T + torch.from_numpy(x_T.numpy()[::-1].copy()))


class Gated(LIF):
    gate: Tensor

    def forward(self, x_T: Tensor) -> Tensor:
        return super().forward(x_T * self.gate)


def run(module: nn.Module, *inputs: Tensor) -> OperationCounter:
    with torch.no_grad(), OperationCounter(module) as counter:
        module(*inputs)
    counter.operations()
    return counter


def made(kind: type[Neuron]) -> Neuron:
    return kind(NeuronConfig(tau=1.5, threshold=0.25), 0.25, 4)


def currents(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [Custom, ChannelThresholds, LIF])
def test_what_happens_at_one_place_is_its_update(kind: type[Neuron]) -> None:
    """4 time steps x 3 images x 2 channels x 5 x 5 tokens: 600 updates."""
    assert run(made(kind), currents(4, 3, 2, 5, 5)).overheads.neuron_updates == 600


@pytest.mark.parametrize("kind", [Blurs, Normalises, Reads])
def test_no_place_acts_on_another(kind: type[Neuron]) -> None:
    with pytest.raises(CostError, match=r"at one place depend on currents at other places|calls numpy"):
        run(made(kind), currents(4, 3, 2, 5, 5))


class Uses(nn.Module):
    """A block that hands its neuron more than currents."""

    def __init__(self, inner: Neuron, how: str) -> None:
        super().__init__()
        self.inner, self.how = inner, how

    def forward(self, x_T: Tensor) -> Any:
        if self.how == "kept":
            self.inner.gate = x_T.flip(1)
        if self.how == "view":
            return self.inner(torch.cat([x_T, x_T.flip(1)])[: len(x_T)])
        return self.inner(x_T, x_T) if self.how == "second" else self.inner(x_T)


def test_nothing_but_its_currents_comes_in() -> None:
    x_T = currents(4, 3, 2, 5, 5)
    with pytest.raises(CostError, match="neither its input nor a parameter"):
        run(Uses(made(Gated), "kept"), x_T)
    with pytest.raises(CostError, match="is given 2 tensors"):
        run(Uses(made(Custom), "second"), x_T)
    # The copy that a neuron is given has no more memory than its currents: all that it finds there is itself.
    looking = made(LooksAround)
    seen: list[Tensor] = []
    looking.register_forward_hook(lambda _m, _inputs, spikes: seen.append(spikes))
    run(Uses(looking, "view"), x_T)
    assert torch.equal(seen[0], made(LIF)(x_T * x_T))


class AlongChannels(nn.Module):
    """Sums up channels in the membranes of neurons for which they are time."""

    def __init__(self, dim: int, config: SpikformerConfig) -> None:
        super().__init__()
        self.conv = conv_bn(dim, dim, fed=fed_by_stream(config))
        self.neuron = neuron(config)
        self.sums = IF(config.neuron, 1.0, config.time_steps)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.neuron(x))
        spikes: Tensor = self.sums(y.movedim(2, 0))
        return y * spikes.movedim(0, 2)


def test_the_first_axis_of_currents_is_time() -> None:
    plugins.allow(__name__)
    stage = {"embed_dim": 16, "depth": 1, "mixer": {"kind": f"{__name__}:AlongChannels"}}
    config = SpikformerConfig.from_dict(contract.small() | {"stages": [stage]})
    model, images = contract.calibrated(config)
    with pytest.raises(CostError, match="whose first axis must be time, 4 steps"):
        run(model, images)


class Grouped(AlongChannels):
    """The same of as many channels as there are time steps, whose time lies behind."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.neuron(x))
        groups = y.unflatten(2, (-1, len(x))).permute(3, 1, 2, 0, 4, 5).contiguous()
        spikes: Tensor = self.sums(groups)
        return y * spikes.permute(3, 1, 2, 0, 4, 5).flatten(2, 3)


class Shifted(AlongChannels):
    """Adds up another token at each time step."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.neuron(x))
        spikes: Tensor = self.sums(torch.stack([now.roll(t, -1) for t, now in enumerate(y)]))
        return y * spikes


class AllSteps(AlongChannels):
    """Adds up all time steps before the neuron, in the open: declared, and the same for each."""

    operands = ((REAL,),)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.neuron(x))
        spikes: Tensor = self.sums(y.sum(0, keepdim=True).expand_as(y))
        return y * spikes


@pytest.mark.parametrize(("block", "alike"), [(Grouped, False), (Shifted, False), (AllSteps, True)])
def test_outside_its_neurons_a_block_treats_time_steps_alike(block: type[nn.Module], alike: bool) -> None:
    plugins.allow(__name__)
    stage = {"embed_dim": 16, "depth": 1, "mixer": {"kind": f"{__name__}:{block.__name__}"}}
    config = SpikformerConfig.from_dict(contract.small() | {"stages": [stage]})
    (check,) = (check for check in contract.checks(config) if check.name == "time steps are alike")
    assert check.passed == alike, check.detail


def test_the_contract_names_neurons_that_mix_places() -> None:
    plugins.allow(__name__)
    values = contract.small()
    values["neuron"] |= {"kind": f"{__name__}:Blurs"}
    broken = {c.name: c.detail for c in contract.checks(SpikformerConfig.from_dict(values)) if not c.passed}
    assert "neurons work place by place" in broken


def test_a_search_holds_blocks_to_the_same(tmp_path: Path, run_here: Run) -> None:
    """Before it trains them; and says how to see all of it."""
    text = MICRO.replace('attention = ["ssa", "sdsa"]', f'attention = ["{__name__}:Grouped"]').replace(
        "[references]", ""
    )
    text = "\n".join(line for line in text.splitlines() if "miniature" not in line)
    (tmp_path / "own.toml").write_text(text)
    done = run_here("search", "--space", "own.toml", "--trials", "1", "--device", "cpu", cwd=tmp_path)
    assert done.returncode != 0
    assert "changes otherwise: its first axis is not time alone" in done.stderr
    assert f"check-block {__name__}:Grouped" in done.stderr


class Wide(AlongChannels):
    """Runs at some widths only, and says so by an error of its own; adds up nothing."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] == 16:
            raise RuntimeError("16 channels are too few")
        y: Tensor = self.conv(self.neuron(x))
        return y


class Never(AlongChannels):
    def forward(self, x: Tensor) -> Tensor:
        if not torch.equal(x, x[:1].expand_as(x)):
            raise RuntimeError("time steps differ")
        return x


@pytest.mark.parametrize(("block", "message"), [(Wide, ""), (Never, "time steps differ")])
def test_a_block_that_fails_in_the_small_network_is_held_in_its_own(block: type[nn.Module], message: str) -> None:
    plugins.allow(__name__)
    stage = {"embed_dim": 24, "depth": 1, "mixer": {"kind": f"{__name__}:{block.__name__}"}}
    config = SpikformerConfig.from_dict(contract.small() | {"stages": [stage]})
    if not message:
        contract.hold_to_costs(config)
        return
    with pytest.raises(CostError, match=message):
        contract.hold_to_costs(config)


def test_a_layer_inside_a_neuron_is_refused() -> None:
    class Holds(LIF):
        def forward(self, x_T: Tensor) -> Tensor:
            return super().forward(F.conv2d(x_T.flatten(0, 1), torch.ones(2, 2, 1, 1)).unflatten(0, x_T.shape[:2]))

    with pytest.raises(CostError, match="inside a neuron"):
        run(made(Holds), currents(4, 3, 2, 5, 5))


class Pretends(nn.Module):
    """Calls itself one of ours, which joins a branch to the stream."""

    __module__ = "spikformer.layers"
    joins = True

    def forward(self, x_T: Tensor) -> Tensor:
        return x_T + x_T.roll(1, -1)


class Borrows(nn.Module):
    """Adds up what it likes in a module of ours."""

    def __init__(self, dim: int, config: SpikformerConfig) -> None:
        super().__init__()
        self.shifted = Residual(Rolled(), dim, config)
        self.conv = conv_bn(dim, dim, fed=fed_by_stream(config))
        self.neuron = neuron(config)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.neuron(self.shifted(x)))
        return y


class Rolled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, -1)


def test_no_block_adds_to_the_stream_by_itself() -> None:
    with pytest.raises(CostError, match=r"aten\.add, which the module does not declare"):
        run(Pretends(), currents(4, 3, 2, 5, 5))
    plugins.allow("tests.costs.test_custom_neurons")
    stage = {"embed_dim": 16, "depth": 1, "mixer": {"kind": "tests.costs.test_custom_neurons:Borrows"}}
    config = SpikformerConfig.from_dict(contract.small() | {"stages": [stage]})
    (costs,) = (c for c in contract.checks(config) if c.name == "costs equal enumeration")
    assert not costs.passed
    assert "aten.add" in costs.detail
    model, images = contract.calibrated(config)
    with pytest.raises(CostError, match=r"aten\.add, which the module does not declare"):
        run(model, images)
