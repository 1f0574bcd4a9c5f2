"""Stages `env` and `checks` of gpu_day.py: what the machine is, and whether it does what the code expects of it.

A check is a function that returns what it found, or fails by an AssertionError. The next one runs all the same.
"""

import collections
import contextlib
import dataclasses
import importlib.metadata
import logging
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from gpu_task import Task, check_device, processors
from torch import nn

from nas.datasets.loaders import Split, Splits
from nas.settings import Recipe
from nas.training import evaluation, measurement, probing
from nas.training import fitting as training
from nas.training.augmentation import Normalise
from nas.training.execution import REFERENCE, ExecutionOptions, options_for
from spikformer import Spikformer, SpikformerConfig, published, spiking

_PACKAGES = ("torch", "triton", "torchvision", "timm", "spikingjelly", "optuna", "numpy")


class Checks:
    """The checks, in their order, with a network and images of a size that the machine is worth."""

    def __init__(self, task: Task) -> None:
        self.device, self.on_cuda, self.quick = torch.device(task.device), task.on_cuda, task.quick
        self.batch, self.steps = (16, 4) if task.quick else (128, 40)

    def all(self) -> list[Callable[[], Any]]:
        return [
            self.ceilings,
            self.kernels_run,
            self.graph_equals_eager,
            self.counts_equal_the_cpus,
            self.memory_between_candidates,
            self.synchronisations,
            self.pace_is_that_of_a_training,
        ]

    def ceilings(self) -> Any:
        """Of this card: what bounds every step from below."""
        if not self.on_cuda:
            return "no GPU"
        size, n = 2**30, 8192
        source = torch.empty(size, dtype=torch.uint8, device=self.device)
        goal, small = torch.empty_like(source), torch.zeros(1, device=self.device)
        a = torch.randn(n, n, device=self.device, dtype=torch.bfloat16)
        return {
            "copy_tb_s": round(2 * size / self._timed(lambda: goal.copy_(source)) / 1e12, 2),
            "bf16_tflop_s": round(2 * n**3 / self._timed(lambda: a @ a) / 1e12),
            "launch_us": round(1e6 * self._timed(lambda: small.add_(1), 2000), 2),
        }

    def kernels_run(self) -> Any:
        """Triton's kernels are used on CUDA; that they do not fail silently."""
        y = torch.randn(8, 16, 4, 4, device=self.device)
        fuses = spiking.fuses_norm(y, nn.BatchNorm2d(16).to(self.device))
        assert fuses == self.on_cuda, "batch norm and neuron are not one kernel here: see the warnings"
        return {"fuses_norm": fuses}

    def graph_equals_eager(self) -> Any:
        """The captured step is replayed, repeats itself, and learns what the same step learns launch by launch."""
        best = options_for(self.device, Recipe(), 0)
        config = dataclasses.replace(self._config(), drop_path=0.2)
        replays = collections.Counter[str]()
        replay = torch.cuda.CUDAGraph.replay

        def counted(graph: torch.cuda.CUDAGraph) -> None:
            replays["graph"] += 1
            replay(graph)

        with mock.patch.object(torch.cuda.CUDAGraph, "replay", counted):
            losses = [self._losses(best, config) for _ in range(2)]
        eager = self._losses(dataclasses.replace(best, cuda_graph=False), config)
        found = {"graph": losses[0], "again": losses[1], "eager": eager, "replays": replays["graph"]}
        assert replays["graph"] > 0 or not self.on_cuda, f"no step was replayed: {found}"
        assert max(abs(a - b) for a, b in zip(losses[0], eager, strict=True)) < 0.05, f"graph and eager differ: {found}"
        return found

    def counts_equal_the_cpus(self) -> Any:
        """Whether or not TF32 is allowed, as it is at first: measuring is not to use it."""
        model = self._trained()
        images, normalise = self._images(32 if self.quick else 256, 1), Normalise(self._train())
        found = {}
        for precision in ("tf32", "ieee"):
            with _convolutions_in(precision):
                found[precision] = _counts(measurement.measure(model, images, normalise))
        cpu = torch.device("cpu")
        on_cpu = measurement.measure(model.to(cpu), images.to(cpu), Normalise(self._train().to(cpu)))
        found["cpu"] = _counts(on_cpu)
        expected = found["cpu"]["events"]
        worst = max(abs(one["events"] - expected) / max(1, expected) for one in found.values())
        assert worst < 1e-3, f"events differ from the CPU's by {worst:.2%}: {found}"
        return found

    def memory_between_candidates(self) -> Any:
        """What a candidate leaves behind, MiB allocated and reserved."""
        found = []
        for seed in range(2 if self.quick else 5):
            record, _ = evaluation.evaluate(
                self._config(), self._splits(), Recipe(epochs=1, batch_size=self.batch), seed
            )
            assert record.status in ("complete", "silent"), record.reason
            held = (torch.cuda.memory_allocated(), torch.cuda.memory_reserved()) if self.on_cuda else (0, 0)
            found.append([record.provenance["wall_s"], *(round(n / 2**20) for n in held)])
        assert found[-1][1] <= found[1][1] + 1, f"memory grows from candidate to candidate: {found}"
        return found

    def synchronisations(self) -> Any:
        """Where the host waits for the device: in measuring two batches, and in an epoch launched step by step."""
        if not self.on_cuda:
            return "no GPU"
        model, images, normalise = self._trained(), self._images(512, 1), Normalise(self._train())
        recipe, few = Recipe(epochs=1, batch_size=self.batch), self._images(5 * self.batch)
        return {
            "measure": _waits(lambda: measurement.measure(model, images, normalise)),
            "fit": _waits(lambda: training.fit(model, few, recipe, 0, options=REFERENCE)),
        }

    def pace_is_that_of_a_training(self) -> Any:
        """What a time budget is planned by, beside a training that is long enough to know better."""
        splits, recipe = self._splits(4 if self.on_cuda else 1), Recipe(epochs=2, batch_size=self.batch)
        pace = probing.measured_pace(self._config(), splits, recipe)
        assert pace is not None, "there is no pace: the probe did not fit into memory"
        started = time.monotonic()
        record, _ = evaluation.evaluate(self._config(), splits, recipe)
        took_s, foretold_s = time.monotonic() - started, pace.seconds([1], [record.images_seen])
        found = {"foretold_s": round(foretold_s, 2), "took_s": round(took_s, 2)}
        assert not self.on_cuda or 0.6 < foretold_s / took_s < 1.7, f"the pace is off: {found}"
        return found

    def _timed(self, run: Callable[[], Any], times: int = 20) -> float:
        """Seconds of a call, by the device's clock."""
        run()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            run()
        end.record()
        torch.cuda.synchronize(self.device)
        return start.elapsed_time(end) / times / 1e3

    def _config(self) -> SpikformerConfig:
        config = published.config("spikformer_cifar10_2_256")
        if not self.quick:
            return config
        return dataclasses.replace(config, stages=(dataclasses.replace(config.stages[0], embed_dim=64, depth=1),))

    def _images(self, count: int, seed: int = 0) -> Split:
        """Of ten classes that can be told apart by how bright their first channel is."""
        random = torch.Generator().manual_seed(seed)
        labels = torch.randint(10, (count,), generator=random)
        images = torch.randint(256, (count, 3, 32, 32), generator=random, dtype=torch.uint8)
        images[:, 0] = (images[:, 0] // 2 + (12 * labels)[:, None, None]).to(torch.uint8)
        return Split(images, labels).to(self.device)

    def _train(self, times: int = 1) -> Split:
        return self._images(times * self.steps * self.batch)

    def _splits(self, times: int = 1) -> Splits:
        validation = [self._images(32 if self.quick else 512, seed) for seed in (1, 2)]
        return Splits(self._train(times), *validation, tuple("0123456789"), "")

    def _fitted(self, options: ExecutionOptions, config: SpikformerConfig) -> tuple[Spikformer, list[float]]:
        torch.manual_seed(0)
        model = Spikformer(config).to(self.device)
        history = training.fit(model, self._train(), Recipe(epochs=2, batch_size=self.batch), 0, options=options)
        return model, [round(epoch.loss, 5) for epoch in history]

    def _losses(self, options: ExecutionOptions, config: SpikformerConfig) -> list[float]:
        return self._fitted(options, config)[1]

    def _trained(self) -> Spikformer:
        return self._fitted(REFERENCE, self._config())[0]


@contextlib.contextmanager
def _convolutions_in(precision: str) -> Iterator[None]:
    settings = torch.backends.cudnn.conv
    before = settings.fp32_precision
    settings.fp32_precision = precision
    try:
        yield
    finally:
        settings.fp32_precision = before


def _counts(measured: measurement.Measurement) -> dict[str, Any]:
    return {"accuracy": measured.accuracy, "events": sum(operation.events for operation in measured.operations)}


def _waits(run: Callable[[], Any]) -> list[tuple[str, int]]:
    """Lines that made the host wait for the device, and how often."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [f"{w.filename.split('/')[-1]}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
    return collections.Counter(places).most_common(8)


class _Warnings(logging.Handler):
    """What the code logged; it says there when it takes a slower road."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def run_checks(task: Task) -> bool:
    """Whether all hold."""
    logged, passed = _Warnings(), True
    logging.getLogger().addHandler(logged)
    for check in Checks(task).all():
        started, before = time.monotonic(), len(logged.lines)
        try:
            outcome: dict[str, Any] = {"ok": True, "found": check()}
        except Exception as error:  # whatever a driver or a compiler raises: the others are asked all the same
            traceback.print_exc()
            outcome, passed = {"ok": False, "error": f"{type(error).__name__}: {error}"[:600]}, False
        outcome |= {"seconds": round(time.monotonic() - started, 1), "warnings": logged.lines[before:][:5]}
        task.tell(check.__name__, **outcome)
    return passed


def describe(task: Task) -> None:
    """Versions, device, processors."""
    task.tell("python", version=platform.python_version(), processors=processors(), machine=platform.machine())
    task.tell("packages", **{name: _version(name) for name in _PACKAGES})
    if task.on_cuda:
        place = torch.device(task.device)
        gb = torch.cuda.get_device_properties(place).total_memory / 1e9
        task.tell("device", gpu=torch.cuda.get_device_name(place), gb=round(gb, 1), cuda=torch.version.cuda)
        subprocess.run(["nvidia-smi"], check=False)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main() -> None:
    task = Task.read()
    check_device(task.device)
    if task.stage == "env":
        describe(task)
    elif not run_checks(task):
        sys.exit(1)


if __name__ == "__main__":
    main()
