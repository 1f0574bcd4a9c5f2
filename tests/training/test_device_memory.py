"""Memory that is full: every form in which that is said, and whether a neighbour holds it."""

import time
from typing import Any
from unittest import mock

import pytest
import torch

from nas.datasets.loaders import Split, Splits
from nas.engines import engine as engines
from nas.errors import DeviceError
from nas.settings import Recipe
from nas.training import device_memory, evaluation, probing
from nas.training import fitting as training
from nas.training.proxy import ProxySteps
from tests.helpers import small_config

GIB = 2**30
FULL = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory"),  # a graph, a context, a module of code
    torch.AcceleratorError("CUDA error: out of memory", 2),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory: you tried"),
    RuntimeError("could not create a primitive"),
    MemoryError(),
)
OTHER = (
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x5 and 6x7)"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("out of resource: shared memory, Required: 262144, Hardware limit: 232448."),
    ValueError("out of memory"),
)


@pytest.mark.parametrize("error", FULL, ids=str)
def test_every_form_is_known(error: Exception) -> None:
    assert device_memory.is_full(error)


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_other_errors_are_none(error: Exception) -> None:
    assert not device_memory.is_full(error)


def test_it_is_found_behind_the_error_that_hides_it() -> None:
    hiding = RuntimeError("operation failed due to a previous error during capture")
    assert not device_memory.is_full(hiding)
    hiding.__context__ = torch.OutOfMemoryError("CUDA out of memory.")
    assert device_memory.is_full(hiding)


@pytest.mark.parametrize("error", [FULL[1], pytest.param(FULL[10], marks=pytest.mark.exhaustive)], ids=str)
def test_a_network_that_does_not_fit_is_recorded_and_ends_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def train(self: Any) -> None:
        tried.append(self)
        raise error

    monkeypatch.setattr(evaluation.ProxyTraining, "train", train)
    images = Split(torch.zeros(20, 3, 8, 8, dtype=torch.uint8), torch.arange(20) % 5)
    splits = Splits(images, images, images, tuple("abcde"), "")
    found, _ = evaluation.evaluate(small_config(), splits, Recipe(epochs=1, batch_size=10))
    assert (found.status, found.reason, len(tried)) == ("out_of_memory", str(error), 2)
    monkeypatch.setattr(ProxySteps, "__call__", lambda self, *_, **__: train(self))
    assert probing.measured_pace(small_config(), splits, Recipe(epochs=1, batch_size=10)) is None


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A GPU of 80 GiB: what is free, what this process has reserved and may have at most; and a clock."""
    state = {"free": 70.0, "reserved": 5.0, "fraction": 1.0, "now": 0.0, "freed_at": float("inf")}

    def sleep(seconds: float) -> None:
        state["now"] += seconds
        if state["now"] >= state["freed_at"]:
            state["free"] = 70.0

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _d: (int(state["free"] * GIB), 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _d: int(state["reserved"] * GIB))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _d: state["fraction"])
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: state["now"])
    return state


@pytest.mark.parametrize(
    ("free", "fraction", "waits"),
    [(70.0, 1.0, False), (40.0, 1.0, True), (35.0, 0.475, False), (20.0, 0.475, True)],
    ids=["alone", "beside a stranger", "with its half", "with less than its half"],
)
def test_it_waits_while_a_neighbour_holds_its_share(
    free: float, fraction: float, waits: bool, card: dict[str, float]
) -> None:
    """By hand, of 80 GiB: 75, 45, 40 and 25 GiB are there for it, of 80, 80, 38 and 38; nine tenths are enough."""
    card.update(free=free, fraction=fraction, freed_at=60.0)
    device_memory.wait_for_share(torch.device("cuda", 0))
    assert card["now"] == (60.0 if waits else 0.0)


def test_a_neighbour_that_stays_is_named_and_the_network_is_not_blamed(card: dict[str, float]) -> None:
    card.update(free=20.0, fraction=1.0)
    with pytest.raises(DeviceError, match=r"leave 25\.0 GiB of the 80\.0 GiB reserved.*same command again to continue"):
        device_memory.wait_for_share(torch.device("cuda", 0))
    assert card["now"] == pytest.approx(300, abs=2)


def test_a_neighbour_that_comes_back_during_the_second_try_is_named_too(
    card: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out twice, and the second time others hold 55 of the 80 GiB."""

    def train(self: Any) -> None:
        card["free"] = 20.0 if tried else 70.0
        tried.append(self)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    tried: list[Any] = []
    monkeypatch.setattr(evaluation.ProxyTraining, "train", train)
    images = Split(torch.zeros(20, 3, 8, 8, dtype=torch.uint8), torch.arange(20) % 5)
    splits = Splits(images, images, images, tuple("abcde"), "")
    recipe, options = Recipe(epochs=1, batch_size=10), training.options_of(images, Recipe())
    trained = evaluation.ProxyTraining(small_config(), splits, recipe, 0, options, lambda *_: None, 1.0)
    trained.splits = Splits(_OnCard(images), images, images, tuple("abcde"), "")  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(DeviceError, match=r"leave 25\.0 GiB of the 80\.0 GiB"):
        evaluation._run_twice_if_out_of_memory(trained)
    assert len(tried) == 2


class _OnCard:
    """A split whose labels say that they lie on a GPU."""

    def __init__(self, split: Split) -> None:
        self.images = split.images
        self.labels = mock.Mock(device=torch.device("cuda", 0))


def test_on_a_cpu_nobody_waits() -> None:
    device_memory.wait_for_share(torch.device("cpu"))


@pytest.mark.parametrize(("processes", "fractions"), [(1, []), (2, [0.475]), (4, [0.2375])])
def test_processes_on_one_gpu_have_equal_parts(
    processes: int, fractions: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """95 % of it by as many: the rest is for contexts and libraries."""
    found: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda part, _device: found.append(part))
    device_memory.share_between(processes, torch.device("cuda", 1))
    assert found == pytest.approx(fractions)


def test_a_trainer_makes_its_gpu_the_processs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a worker of cuda:1 waits for, and has a context of half a gigabyte on, cuda:0."""
    chosen: list[int] = []
    parts: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *part: parts.append(part))
    monkeypatch.setattr(Splits, "to", lambda self, _device: self)
    images = Split(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.arange(2))
    trainer = engines.Trainer(Splits(images, images, images, tuple("ab"), ""), Recipe(), 0, 224)
    trainer.on("cuda:1", 2)
    trainer.on("cuda")
    trainer.on("cpu", 2)
    assert chosen == [1, 0]
    assert parts == [(0.475, 1)]


@pytest.mark.cuda
def test_a_network_that_does_not_fit_on_the_gpu_is_recorded_and_the_next_one_trains(device: torch.device) -> None:
    images = Split(torch.zeros(64, 3, 8, 8, dtype=torch.uint8), torch.arange(64) % 5).to(device)
    splits = Splits(images, images, images, tuple("abcde"), "")
    device_memory.free()
    torch.cuda.set_per_process_memory_fraction(0.001, device)
    try:
        found, _ = evaluation.evaluate(small_config(dim=1024), splits, Recipe(epochs=1, batch_size=64))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert found.status == "out_of_memory"
    found, _ = evaluation.evaluate(small_config(), splits, Recipe(epochs=1, batch_size=16))
    assert found.status in ("complete", "silent")
