"""Costs of networks that are fed frames of events: exact to the last event, and priced by a stated rule."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.costs import chip, contract, energy, memory, neurobench, quantised, target
from nas.costs.accesses import Counts
from nas.costs.enumeration import Tally, enumerate_costs
from nas.costs.operations import Operation, reads_counts
from nas.errors import CostError
from nas.training.candidate import energy_at_target
from nas.training.measurement import Measurement, counts_of, measure_batches
from spikformer import Spikformer, SpikformerConfig, fuse, plugins
from spikformer.errors import ConfigError
from spikformer.operands import Operand
from spikformer.stems import ImageEncoding
from tests.costs import test_contract as parts
from tests.costs import test_contract_chains as chains

COUNT = Operand("count")


def _events(config: SpikformerConfig, recordings: int, seed: int = 0) -> Tensor:
    """Poisson counts, [T, recordings, C, H, W]: most are 0, some 3 and more."""
    shape = (config.time_steps, recordings, config.stem.in_channels, config.stem.image_size, config.stem.image_size)
    return torch.poisson(torch.full(shape, 0.4), generator=torch.Generator().manual_seed(seed)).double()


def _for_events(config: SpikformerConfig, channels: int = 2, seed: int = 0) -> Spikformer:
    """The same network for events, in eval mode and float64, calibrated on other events."""
    config = dataclasses.replace(config, stem=dataclasses.replace(config.stem, in_channels=channels))
    model, _ = contract.calibrated(config, seed)
    model.train()
    with torch.no_grad():
        for i in range(3):
            model(_events(model.config, 8, 100 + i))
    return model.eval()


def _measured(model: Spikformer, frames: Tensor, batch: int = 8) -> Measurement:
    labels = torch.arange(frames.shape[1]) % model.config.head.num_classes
    return measure_batches(model, zip(frames.split(batch, 1), labels.split(batch), strict=True), fed=COUNT)


CHAINS = {"chain": chains.PLAIN, "chain_shortcut": chains.EVENTS, "own": chains.STEMS["own"]}
STEMS: dict[str, dict[str, Any]] = {name: {"image_size": 8} | stem for name, stem in (parts.STEMS | CHAINS).items()}


def _across() -> list[Any]:
    """Every token mixer once, and with them every stem, residual, channel mixer and neuron as often as they come."""
    plugins.allow(chains.__name__)
    factors = (STEMS, parts.CHANNEL_MIXERS, parts.NEURONS)
    cases = []
    for i, mixer in enumerate(parts.TOKEN_MIXERS):
        stem, mlp, neuron = (list(factor)[i % len(factor)] for factor in factors)
        for residual in (parts.RESIDUALS[(i + r) % 3] for r in range(3)):
            try:
                values = parts.config_of((mixer, mlp, residual, "published", neuron), 2).to_dict()
                config = SpikformerConfig.from_dict(values | {"stem": STEMS[stem]})
            except ConfigError:  # a residual that the mixer or the stem does not have
                continue
            cases.append(pytest.param(config, id=f"{mixer}-{stem}-{residual}-{mlp}-{neuron}"))
            break
    return cases


def _cover() -> list[Any]:
    """All of the contract's covers, before a release."""
    many = [(combination, parts.config_of(combination, 4)) for combination in parts.pairwise_cover()]
    many += [(combination, chains.config_of(combination)) for combination in chains.pairwise_cover(0)]
    frames = [("-".join(combination), config) for combination, config in many if config.time_steps > 1]
    return [pytest.param(config, id=name, marks=pytest.mark.exhaustive) for name, config in frames]


def test_every_part_is_fed_by_events_in_ci() -> None:
    configs = [case.values[0] for case in _across()]
    assert len(configs) == len(parts.TOKEN_MIXERS)
    assert {config.residual for config in configs} == set(parts.RESIDUALS)
    assert {config.neuron.kind for config in configs} == set(parts.NEURONS)
    assert {config.stem.kind for config in configs} == {stem["kind"] for stem in STEMS.values()}
    assert {config.stages[0].mlp.kind for config in configs} == {mlp["kind"] for mlp in parts.CHANNEL_MIXERS.values()}


@pytest.mark.parametrize("config", [*_across(), *_cover()])
def test_every_event_is_counted_where_it_meets_a_weight(config: SpikformerConfig) -> None:
    """Against an enumeration of all pairs, which shares no rule with the counter."""
    plugins.allow(chains.__name__)
    model = _for_events(config)
    frames, others = _events(model.config, 2), _events(model.config, 2, seed=1)
    measured = _measured(model, frames)
    for encoding in (module for module in model.modules() if isinstance(module, ImageEncoding)):
        encoding.conv.operands = ((COUNT,),)  # pyrefly: ignore[bad-argument-type]
    enumerated = enumerate_costs(model, frames, others)
    names = Tally.__dataclass_fields__
    assert [Tally(**{name: getattr(op, name) for name in names}) for op in measured.operations] == enumerated.operations
    assert measured.overheads.neuron_updates == enumerated.neuron_updates
    assert measured.overheads.residual_additions == enumerated.residual_additions
    assert reads_counts(measured.operations)
    assert measured.operations[0].spikes == frames.sum()


@pytest.mark.parametrize("residual", ["sew", "ms"])
def test_a_recording_costs_the_same_in_every_batch_and_order(residual: str) -> None:
    model = _for_events(SpikformerConfig.from_dict(contract.small(residual=residual)), channels=3)
    frames = _events(model.config, 6)
    expected = _measured(model, frames)
    alone = [_measured(model, frames[:, i : i + 1]) for i in range(6)]
    shuffled = _measured(model, frames[:, torch.randperm(6)], batch=4)
    assert energy.price(shuffled.operations, 6) == energy.price(expected.operations, 6)
    for name in ("spikes", "nonzero", "events", "dense"):
        sums = [sum(getattr(one.operations[i], name) for one in alone) for i in range(len(expected.operations))]
        assert [getattr(op, name) for op in expected.operations] == sums
    fused = _measured(fuse(model), frames)
    assert fused.operations[0].operands == (COUNT,)
    assert fused.operations[0].events == expected.operations[0].events


@pytest.fixture(scope="module")
def measured() -> tuple[SpikformerConfig, Measurement, Tensor]:
    model = _for_events(SpikformerConfig.from_dict(contract.small(residual="sew")))
    frames = _events(model.config, 6)
    return model.config, _measured(model, frames), frames


def _first(measured: Measurement) -> Operation:
    first = measured.operations[0]
    assert first.kind == "weight"
    return first


def test_each_convention_prices_counts_by_its_rule(measured: tuple[SpikformerConfig, Measurement, Tensor]) -> None:
    """2 channels of 8 x 8, width 16 / 8 = 2, 3x3 at the border too: numbers by a convolution with ones, or by hand."""
    _, found, frames = measured
    ones = torch.ones(2, 2, 3, 3, dtype=torch.float64)
    met = torch.nn.functional.conv2d(frames.flatten(0, 1), ones, padding=1).sum().item()
    nonzero = torch.nn.functional.conv2d((frames.flatten(0, 1) > 0).double(), ones, padding=1).sum().item()
    dense = 6 * 4 * 2 * 64 * 2 * 9
    expected = {
        "measured": (met, 0),
        "measured_single": (nonzero, 0),
        "measured_mac": (0, nonzero),
        "paper": (frames.mean().item() * dense, 0),
        "paper_strict": (0, dense),
    }
    assert met > nonzero
    assert list(expected) == energy.names()
    for name, (accumulates, macs) in expected.items():
        for variant in ("", "+repeat"):  # frames are shown once each
            priced = energy.price([_first(found)], 6, energy.convention(name + variant))
            assert priced.spike_operations == pytest.approx(accumulates / 6, rel=1e-12), name
            assert priced.real_macs == macs / 6, name


def test_no_energy_on_imagenet_is_predicted_from_events(
    measured: tuple[SpikformerConfig, Measurement, Tensor],
) -> None:
    config, found, _ = measured
    assert energy_at_target(config, found.operations, 224) is None
    with pytest.raises(CostError, match="no energy on ImageNet is predicted from frames of events"):
        target.predicted_energy_mj(found.operations, config)
    assert not reads_counts(())


def test_a_network_without_time_is_no_counterpart(measured: tuple[SpikformerConfig, Measurement, Tensor]) -> None:
    with pytest.raises(ConfigError, match="fed frames of events has no quantised counterpart"):
        quantised.compare(counts_of(measured[0], measured[1]))


def test_events_stay_where_no_neuron_fires(measured: tuple[SpikformerConfig, Measurement, Tensor]) -> None:
    counts = counts_of(measured[0], measured[1])
    silent = counts.silent().operations
    assert silent[0] == counts.operations[0]
    assert all(op.events == 0 for op in silent[1:])


def _moved_alone(counts: Counts) -> tuple[Counts, Counts]:
    """The first convolution alone, once as it is and once as if it had been fed spikes, as many and as spread."""
    first = counts.operations[0]
    spiking = dataclasses.replace(first, operands=(Operand("binary"),))
    one, other = (dataclasses.replace(counts, operations=(op,), fired={}) for op in (first, spiking))
    return one, other


@pytest.mark.parametrize("name", ["lemaire2022", "lemaire_64bit", "horowitz64"])
def test_models_of_memory_take_an_event_for_a_spike(
    name: str, measured: tuple[SpikformerConfig, Measurement, Tensor]
) -> None:
    one, other = _moved_alone(counts_of(measured[0], measured[1]))
    assert memory.load(name).price(one) == memory.load(name).price(other)
    assert memory.load(name).price(one).total.inputs > 0


def test_step_reads_all_weights_for_counts_by_hand(measured: tuple[SpikformerConfig, Measurement, Tensor]) -> None:
    """99.84 pJ for each of 4 x 2 x 64 x 2 x 9 multiplications of a recording, padding included."""
    one, _ = _moved_alone(counts_of(measured[0], measured[1]))
    weights_mj = memory.load("step").price(one).total.weights
    assert weights_mj == pytest.approx(99.84 * 4 * 2 * 64 * 2 * 9 * 1e-9)


@pytest.mark.parametrize("name", ["loihi", "digital"])
def test_chips_take_an_event_for_a_spike(name: str, measured: tuple[SpikformerConfig, Measurement, Tensor]) -> None:
    counts = counts_of(measured[0], measured[1])
    one, other = _moved_alone(counts)
    assert chip.load(name)(one) == chip.load(name)(other)
    doubled = dataclasses.replace(
        counts.operations[0], spikes=2 * counts.operations[0].spikes, events=2 * counts.operations[0].events
    )
    more = dataclasses.replace(counts, operations=(doubled, *counts.operations[1:]))
    cheap, dear = (chip.load(name)(each).energy_mj for each in (counts, more))
    assert cheap is not None
    assert dear is not None
    assert dear > cheap


def test_neurobench_multiplies_counts(measured: tuple[SpikformerConfig, Measurement, Tensor]) -> None:
    """Its `Effective_MACs`: numbers that are not 0 and meet a weight, where not all are 0, 1 or -1."""
    first = _first(measured[1])
    found = neurobench.synaptic_operations((first,), 6)
    assert found == {"Effective_MACs": first.nonzero / 6, "Effective_ACs": 0.0, "Dense": first.valid / 6}
