"""One step of a training: its learning rate after a resume, its graph on CUDA, and what it leaves behind."""

import contextlib
import dataclasses
import gc
import logging
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from nas.datasets.loaders import Split, Splits
from nas.settings import Recipe
from nas.training import evaluation, execution, graph, measurement, probing
from nas.training import fitting as training
from nas.training.epoch import Epoch
from nas.training.execution import REFERENCE, options_for
from nas.training.proxy import ProxySteps
from nas.training.spikes import SpikeCount
from nas.training.step import Inputs, Step
from spikformer import Spikformer
from spikformer.config import NeuronConfig
from tests.helpers import small_config, thinned

BRIGHT = dataclasses.replace(small_config(depth=2), neuron=NeuronConfig(threshold=0.5, surrogate="atan"), drop_path=0.3)


def split_of(device: torch.device, n: int = 60) -> Split:
    """Five classes, told apart by the brightness of one channel."""
    labels = torch.arange(n) % 5
    images = torch.zeros(n, 3, 8, 8, dtype=torch.uint8)
    images[:, 0] = (50 * labels[:, None, None]).to(torch.uint8)
    return Split(images, labels).to(device)


def network(device: torch.device) -> Spikformer:
    torch.manual_seed(0)
    return Spikformer(BRIGHT).to(device)


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The learning rates that the optimizer has in its steps, in their order."""
    found: list[float] = []
    real = Step.__call__

    def call(self: Step, number: int, parts: list[Inputs], rate: float) -> None:
        real(self, number, parts, rate)
        found.extend({float(group["lr"]) for group in self._update._optimizer.param_groups})

    monkeypatch.setattr(Step, "__call__", call)
    return found


@pytest.mark.parametrize("stopped", thinned([3, 1], 2))
def test_a_resumed_training_keeps_its_schedule(
    stopped: int, rates: list[float], device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 5 epochs of 5 steps, the optimizer's own rates in each, held against an uninterrupted training's."""
    monkeypatch.setattr(training, "_SAVED_EVERY_S", 0.0)
    recipe, saved = Recipe(epochs=5, batch_size=12, learning_rate=1e-2), tmp_path / "saved.pt"
    training.fit(network(device), split_of(device), recipe, seed=3)
    expected = rates[:]
    rates.clear()

    def stop(epoch: int, _found: Epoch) -> None:
        if epoch == stopped:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.fit(network(device), split_of(device), recipe, seed=3, on_epoch=stop, saved=saved)
    training.fit(network(device), split_of(device), recipe, seed=3, saved=saved)
    assert len(expected) == len(set(expected)) + 1 == 25  # all differ, but for the two at the top
    assert rates == expected


def test_the_loaded_rate_is_the_tensor_that_a_graph_reads(device: torch.device) -> None:
    model, train = network(device), split_of(device)
    steps = ProxySteps(model, train, Recipe(), 0, REFERENCE, SpikeCount(model, Recipe()))
    steps.load_state(steps.state())
    update = steps._update
    assert isinstance(update._rate, Tensor)
    assert all(group["lr"] is update._rate for group in update._optimizer.param_groups)
    assert update._rate.device == train.labels.device


# A captured step: on a CPU with stand-ins for what CUDA does


class StandIn:
    """Of a CUDA graph: what is captured does not run, and replaying it runs it."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.replay, self.replays = self._replay, 0
        self._run = run

    def _replay(self) -> None:
        self.replays += 1
        self._run()


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Step.__init__

    def init(self: Step, *arguments: Any, **settings: Any) -> None:
        real(self, *arguments, **settings | {"captures": True})

    monkeypatch.setattr(Step, "__init__", init)

    def watched(run: Callable[[], None]) -> None:
        run()

    monkeypatch.setattr(graph, "waits", watched)


def fitted(model: Spikformer, recipe: Recipe) -> tuple[list[Epoch], list[Tensor]]:
    history = training.fit(model, split_of(torch.device("cpu")), recipe, seed=3, options=REFERENCE)
    return history, weights(model)


PENALISED = Recipe(epochs=4, batch_size=12, learning_rate=1e-2, spike_penalty=0.5)


def test_a_replayed_step_trains_as_a_plain_one(capturing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 steps: momentum settles with the twelfth, which still runs by itself; eight replays follow."""
    graphs: list[StandIn] = []

    def captured(run: Callable[[], None], *_: object) -> StandIn:
        graphs.append(StandIn(run))
        return graphs[-1]

    monkeypatch.setattr(graph, "captured", captured)
    replayed = fitted(network(torch.device("cpu")), PENALISED)
    monkeypatch.undo()
    plain = fitted(network(torch.device("cpu")), PENALISED)
    assert replayed[0] == plain[0]
    assert all(map(torch.equal, replayed[1], plain[1]))
    assert [found.replays for found in graphs] == [8]


def test_after_a_capture_that_failed_the_training_is_the_same(
    capturing: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It breaks off in the forward pass, after some neurons were seen; what they fired must not be penalised later."""

    class BrokenError(RuntimeError):
        pass

    def captured(_run: Callable[[], None], _device: torch.device, generators: tuple[torch.Generator]) -> None:
        (random,) = generators
        before = random.get_state(), torch.get_rng_state()
        hook = model.stages[-1].register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(BrokenError("no such luck")))
        gradients = {p: p.grad for p in model.parameters()}
        try:
            _run()
        finally:  # as the real one does
            hook.remove()
            random.set_state(before[0])
            torch.set_rng_state(before[1])
            for parameter, gradient in gradients.items():
                parameter.grad = gradient

    model = network(torch.device("cpu"))
    monkeypatch.setattr(graph, "captured", captured)
    with caplog.at_level(logging.WARNING):
        broken = fitted(model, PENALISED)
    monkeypatch.undo()
    plain = fitted(network(torch.device("cpu")), PENALISED)
    assert broken[0] == plain[0]
    assert all(map(torch.equal, broken[1], plain[1]))
    assert [record.getMessage() for record in caplog.records] == [
        "training continues without a CUDA graph, which is slower. The step could not be captured: no such luck"
    ]


def test_a_step_that_waits_for_the_device_is_never_captured(
    capturing: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def waits(run: Callable[[], None]) -> str:
        run()
        return "block.py:7"

    monkeypatch.setattr(graph, "waits", waits)
    monkeypatch.setattr(graph, "captured", lambda *_: pytest.fail("it was captured"))
    with caplog.at_level(logging.WARNING):
        fitted(network(torch.device("cpu")), PENALISED)
    assert "could not be captured: it waits for the device at block.py:7" in caplog.text


def test_memory_that_runs_out_during_a_capture_is_no_reason_to_go_on(
    capturing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def captured(*_: object) -> None:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")  # what leaves torch's graph

    monkeypatch.setattr(graph, "captured", captured)
    with pytest.raises(RuntimeError, match="previous error"):
        fitted(network(torch.device("cpu")), PENALISED)


class Generator:
    """Stands in for one of CUDA's, whose state is an object that a failed capture spoils."""

    device = torch.device("cuda", 0)

    def __init__(self) -> None:
        self.state = ["whole"]

    def clone_state(self) -> list[str]:
        return list(self.state)

    def graphsafe_set_state(self, state: list[str]) -> None:
        self.state = state


@pytest.mark.parametrize(("version", "registered"), [("2.11.0", 1), ("2.12.0", 0), ("2.14.1+cu130", 0)])
def test_a_failed_capture_leaves_both_generators_whole(
    version: str, registered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also, generators are registered where torch needs that, and not where it calls it deprecated."""
    own, other, told = Generator(), Generator(), []

    class Graph:
        def register_generator_state(self, generator: Generator) -> None:
            told.append(generator)

    @contextlib.contextmanager
    def capture(_graph: Graph, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"  # others may pin memory meanwhile
        yield

    def run() -> None:
        for generator in (own, other):
            generator.state[0] = "spoiled"
        raise RuntimeError("no such luck")

    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "default_generators", (other,))
    with pytest.raises(RuntimeError, match="no such luck"):
        graph.captured(run, own.device, [own])  # pyrefly: ignore[bad-argument-type]
    assert (own.state, other.state) == (["whole"], ["whole"])
    assert told == [own] * registered


def test_waiting_is_heard_in_torchs_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of other warnings none is lost; the debug mode is as before."""
    modes: list[Any] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def run() -> None:
        warnings.warn("called a synchronizing CUDA operation (Triggered internally at ...)", stacklevel=1)

    def other() -> None:
        warnings.warn("something else", stacklevel=1)

    place = graph.waits(run)
    assert place is not None
    assert "test_step.py:" in place
    with pytest.warns(UserWarning, match="something else"):
        assert graph.waits(other) is None
    assert modes == ["warn", 0, "warn", 0]


# Time and memory


def test_the_pace_is_that_of_settled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, on a clock of its own: 12 first steps of 100 s, later ones of 1 s, a batch of 12; measuring 50 s.

    A training begins with 12 x 99 s that its steps do not explain.
    """
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    real = Step.__call__

    def call(self: Step, number: int, parts: list[Inputs], rate: float) -> None:
        settled = self.has_settled
        real(self, number, parts, rate)
        now[0] += 1.0 if settled else 100.0

    def measure(self: Any) -> None:
        now[0] += 50.0

    monkeypatch.setattr(Step, "__call__", call)
    monkeypatch.setattr(evaluation.ProxyTraining, "measure", measure)
    images = split_of(torch.device("cpu"))
    splits = Splits(images, images, images, tuple("abcde"), "")
    found = probing._on_gpu(BRIGHT, splits, Recipe(epochs=5, batch_size=12))
    assert found.image_s == pytest.approx(1 / 12)
    assert found.measuring_s == pytest.approx(12 * 99 + 50)


def test_the_pace_on_a_cpu_is_that_of_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: a step takes 0.2 s and 0.1 s an image, in batches of 12 that is 0.1 + 0.2 / 12 s an image.

    Measuring takes 0.1 s a batch and 0.01 s an image: 60 images in 4 batches, as tests measure, and 60 in one. The
    record takes 7 s.
    """
    now, sizes = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def step(_self: ProxySteps, _number: int, chosen: Tensor, rate: float) -> None:
        assert rate == 0
        sizes.append(len(chosen))
        now[0] += 0.2 + 0.1 * len(chosen)

    def measure(_model: Spikformer, batches: list[tuple[Tensor, Tensor]], fed: object) -> mock.Mock:
        assert fed is None
        now[0] += sum(0.1 + 0.01 * len(labels) for _, labels in batches)
        return mock.Mock()

    def record(*_arguments: object) -> None:
        now[0] += 7.0

    monkeypatch.setattr(probing, "energy_at_target", record)
    monkeypatch.setattr(ProxySteps, "__call__", step)
    monkeypatch.setattr(measurement, "measure_batches", measure)
    images = split_of(torch.device("cpu"))
    splits = Splits(images, images, images, tuple("abcde"), "")
    pace = probing.measured_pace(BRIGHT, splits, Recipe(epochs=5, batch_size=12))
    assert pace is not None
    assert sizes == [2, 2, 5]  # a second's worth, after a step that warms up
    assert pace.image_s == pytest.approx(0.1 + 0.2 / 12)
    assert pace.measuring_s == pytest.approx(120 * 0.01 + 5 * 0.1 + 7)


def test_a_probe_of_the_pace_learns_nothing(device: torch.device) -> None:
    """Whoever is timed cannot diverge: weights stay as they are, statistics move."""
    model = network(device)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    start_s, step_s = training.step_seconds(model, split_of(device), Recipe(batch_size=12), 0, REFERENCE, 3)
    assert start_s >= 0
    assert step_s > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.named_parameters())


def test_nothing_of_a_step_survives_its_training(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever still refers to it: frames of the first import of a module by torch did, until much later."""
    kept: list[Step] = []
    updates: list[weakref.ref[Any]] = []
    real = Step.__init__

    def init(self: Step, *arguments: Any, **settings: Any) -> None:
        real(self, *arguments, **settings)
        kept.append(self)
        updates.append(weakref.ref(self._update))

    monkeypatch.setattr(Step, "__init__", init)
    gc.collect()
    gc.disable()
    try:
        training.fit(network(device), split_of(device), Recipe(epochs=1, batch_size=12), seed=0)
        assert vars(kept[0]) == {}
        assert updates[0]() is None
    finally:
        gc.enable()


def test_cuda_convolves_the_fastest_way_while_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: torch.cuda.Stream.__new__(torch.cuda.Stream))
    assert torch.backends.cudnn.benchmark is False
    with execution.tuned(torch.device("cuda"), captures=False):
        assert torch.backends.cudnn.benchmark is True  # pyrefly: ignore[unnecessary-comparison]
    assert torch.backends.cudnn.benchmark is False


def test_a_stream_is_waited_for_after_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __init__(self, *_: object) -> None:
            self.awaited: list[Stream] = []

        def wait_stream(self, other: "Stream") -> None:
            self.awaited.append(other)

    outer = Stream()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: outer)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    with pytest.raises(KeyError), execution._stream(torch.device("cuda")):
        raise KeyError
    assert len(outer.awaited) == 1


# On a GPU


def graph_used(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    used: list[bool] = []
    real = Step.close

    def close(self: Step) -> None:
        used.append(self._graph is not None)
        real(self)

    monkeypatch.setattr(Step, "close", close)
    return used


@pytest.mark.cuda
def test_a_captured_step_trains_as_a_plain_one(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, with augmentation and dropped paths; kernels that sum in changing order may round otherwise."""
    best = options_for(device, Recipe(), 0)
    used, histories = graph_used(monkeypatch), []
    for levers in (best, dataclasses.replace(best, cuda_graph=False)):
        history = training.fit(network(device), split_of(device), PENALISED, seed=3, options=levers)
        histories.append([epoch.loss for epoch in history])
    assert used == [True, False]
    assert histories[0] == pytest.approx(histories[1], rel=2e-2)


@pytest.mark.cuda
def test_a_captured_step_goes_on_after_a_resume(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after its capture, and captured anew: the losses of an uninterrupted training."""
    monkeypatch.setattr(training, "_SAVED_EVERY_S", 0.0)
    used, saved = graph_used(monkeypatch), tmp_path / "saved.pt"
    recipe = dataclasses.replace(PENALISED, epochs=8)
    whole = training.fit(network(device), split_of(device), recipe, seed=3)

    def stop(epoch: int, _found: Epoch) -> None:
        if epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.fit(network(device), split_of(device), recipe, seed=3, on_epoch=stop, saved=saved)
    resumed = training.fit(network(device), split_of(device), recipe, seed=3, saved=saved)
    assert used == [True, True, True]
    assert [e.loss for e in resumed] == pytest.approx([e.loss for e in whole], rel=2e-2)


@pytest.mark.cuda
@pytest.mark.parametrize("fault", ["waits", "is refused"])
def test_a_step_that_no_graph_can_hold_runs_by_itself(
    fault: str, device: torch.device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A block that reads a number, seen before a capture begins or, where torch does not tell, by its failing."""

    def read(_module: nn.Module, _inputs: Any, logits: Tensor) -> Tensor:
        return logits + 0 * logits.sum().item()

    if fault == "is refused":
        monkeypatch.setattr(graph, "waits", lambda run: run())
    used, model = graph_used(monkeypatch), network(device)
    model.head.register_forward_hook(read)
    with caplog.at_level(logging.WARNING):
        history = training.fit(model, split_of(device), PENALISED, seed=3)
    expected = training.fit(network(device), split_of(device), PENALISED, seed=3)
    assert used == [False, True]
    assert "could not be captured" in caplog.text
    assert [e.loss for e in history] == pytest.approx([e.loss for e in expected], rel=2e-2)


@pytest.mark.cuda
def test_a_candidate_leaves_no_memory_behind(device: torch.device) -> None:
    images = split_of(device)
    splits = Splits(images, images, images, tuple("abcde"), "")
    held = []
    for seed in range(4):
        evaluation.evaluate(BRIGHT, splits, PENALISED, seed=seed)
        held.append(torch.cuda.memory_allocated(device))
    assert max(held[1:]) <= held[0]
