"""What does counting every operation cost, beside a plain forward and beside other counters?

Each tool runs right after a plain forward of the same network on the same images, round after round; a
ratio is of processor seconds within such a pair, so other work on the machine hardly moves it. What a
tool needs to give its totals (hooks, tracing, reading) is part of its time.
"""

import argparse
import copy
import dataclasses
import importlib
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from header import header, note, table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nas.costs.counter import OperationCounter
from nas.datasets import loaders as data
from nas.spaces import load_space
from nas.training import augmentation, evaluation, measurement
from nas.training import fitting as training
from spikformer import Spikformer, published
from spikformer.neurons import Neuron

ROUNDS = 9
BATCH = 4
NETWORK = "spikformer_cifar10_4_384"
REFERENCE = "Spikformer miniature"


class _Null(TorchDispatchMode):
    """Sees every operation and does nothing: the least that any counter of this kind can cost."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def firing(config_name: str) -> tuple[Spikformer, Tensor]:
    """A network whose batch norm has seen random images, so that its neurons fire, and images [B, C, H, W]."""
    torch.manual_seed(0)
    config = published.config(config_name)
    model = Spikformer(config)
    shape = (BATCH, config.stem.in_channels, config.stem.image_size, config.stem.image_size)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None  # a plain mean of the batches
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(2 * BATCH, *shape[1:]))
    return model.eval(), torch.randn(shape)


def tools(model: Spikformer, images: Tensor) -> dict[str, Callable[[], object] | str]:
    """What each tool runs for its totals, by name; a text where it cannot run."""

    def ours() -> object:
        with OperationCounter(model) as counter:
            model(images)
        return counter.operations()

    def null() -> object:
        with _Null():
            return model(images)

    def torch_flops() -> object:
        with FlopCounterMode(display=False) as counter:
            model(images)
        return counter.get_total_flops()

    return {
        "nothing (a second plain forward)": lambda: model(images),
        "empty TorchDispatchMode": null,
        "OperationCounter (ours)": ours,
        "torch FlopCounterMode": torch_flops,
        "SpikingJelly SynOpCounter": lambda: _spikingjelly(model, images, "SynOpCounter"),
        "SpikingJelly MAC, AC and SynOp counters": lambda: _spikingjelly(
            model, images, "MACCounter", "ACCounter", "SynOpCounter"
        ),
        "SpikingJelly estimate_simple_energy": lambda: _op_counter().estimate_simple_energy(model, images),
        "fvcore FlopCountAnalysis, neurons left out": _fvcore(model, images),
        "NeuroBench SynapticOperations": _neurobench(model, images),
        "syops": _importable("syops"),
    }


def _op_counter() -> Any:
    return importlib.import_module("spikingjelly.activation_based.op_counter")


def _spikingjelly(model: nn.Module, images: Tensor, *names: str) -> list[int]:
    library = _op_counter()
    counters = [getattr(library, name)() for name in names]
    with library.DispatchCounterMode(counters, strict=False):
        model(images)
    return [counter.get_total() for counter in counters]


def _fvcore(model: Spikformer, images: Tensor) -> Callable[[], object]:
    """Static: it traces a forward. It cannot trace SpikingJelly's neurons, so its network has none."""
    library = importlib.import_module("fvcore.nn")
    static = copy.deepcopy(model)
    for path, module in list(static.named_modules()):
        if isinstance(module, Neuron):
            static.set_submodule(path, nn.Identity())
    return lambda: library.FlopCountAnalysis(static, images).unsupported_ops_warnings(False).total()


def _neurobench(model: Spikformer, images: Tensor) -> Callable[[], object] | str:
    missing = _importable("neurobench.metrics.workload")
    if missing is not None:
        return missing
    metrics = importlib.import_module("neurobench.metrics.workload")
    managers = importlib.import_module("neurobench.metrics.manager.workload_manager")
    wrapped = importlib.import_module("neurobench.models").TorchModel(model)

    def run() -> object:
        manager = managers.WorkloadMetricManager([metrics.SynapticOperations])
        manager.register_hooks(wrapped)
        manager.initialize_metrics()
        prediction = wrapped(images)
        found = manager.run_metrics(wrapped, prediction, (images, prediction), len(images), len(images))
        manager.cleanup_hooks(wrapped)
        return found

    return run


def _importable(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return "not installed"
    except ImportError as error:
        return f"does not import: {str(error).split(' (')[0]}"
    return None


def seconds(run: Callable[[], object]) -> float:
    """Of the processor, in this process."""
    started = time.process_time()
    run()
    return time.process_time() - started


def compare(model: Spikformer, images: Tensor) -> str:
    """Time of each tool as a multiple of a plain forward."""
    runs = tools(model, images)
    ratios: dict[str, list[float]] = {name: [] for name, run in runs.items() if callable(run)}
    plain_s: list[float] = []
    for i in range(ROUNDS + 1):  # the first warms up
        note(f"round {i} of {ROUNDS}")
        for name in ratios:
            run = runs[name]
            assert callable(run)
            plain = seconds(lambda: model(images))
            ratio = seconds(run) / plain
            if i:
                plain_s.append(plain)
                ratios[name].append(ratio)
    rows = [("tool", "time / plain forward", "least", "most")]
    for name, run in runs.items():
        if name in ratios:
            values = ratios[name]
            rows.append((name, *(f"{f(values):.2f}" for f in (statistics.median, min, max))))
        elif isinstance(run, str):
            rows.append((f"{name}: {run}", "-", "-", "-"))
    return f"plain forward: {statistics.median(plain_s):.3f} s (median)\n\n{table(rows)}"


def share_of_a_trial(name: str, data_dir: str | None, rounds: int) -> str:
    """Seconds that counting adds to the evaluation of a trained candidate, against those of its whole trial."""
    found = load_space(name)
    splits = data.load(found, data_dir)
    config = found.references[REFERENCE]
    evaluation.evaluate(config, splits, dataclasses.replace(found.recipe, epochs=1))  # warms up
    trained: list[Spikformer] = []
    trial_s = seconds(lambda: trained.append(evaluation.evaluate(config, splits, found.recipe)[1]))
    normalise = augmentation.Normalise(splits.train)
    measured_s, plain_s = [], []
    for _ in range(rounds):
        plain_s.append(seconds(lambda: training.accuracy(trained[0], splits.search_val, normalise)))
        measured_s.append(seconds(lambda: measurement.measure(trained[0], splits.search_val, normalise)))
    extra_s = statistics.median(m - p for m, p in zip(measured_s, plain_s, strict=True))
    rows = [
        ("", "seconds", "% of the trial"),
        (f"whole trial, {found.recipe.epochs} epochs of {len(splits.train)} images", f"{trial_s:.3f}", "100.0"),
    ]
    for name, value in (
        (f"accuracy of {len(splits.search_val)} images", statistics.median(plain_s)),
        ("the same with counts, rates and error", statistics.median(measured_s)),
        ("what counting adds", extra_s),
    ):
        rows.append((name, f"{value:.3f}", f"{100 * value / trial_s:.1f}"))
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="of CIFAR-10: the share in a trial of cifar10_cpu, not in one of digits")
    data_dir = parser.parse_args().data_dir
    warnings.simplefilter("ignore")  # fvcore is built on torch.jit, which warns of its age
    torch.set_num_threads(1)
    print(header("python benchmarks/counting.py" + (" --data-dir DIR" if data_dir else "")))
    model, images = firing(NETWORK)
    with torch.no_grad():
        rate = statistics.mean(_rates(model, images))
        print(f"\n{NETWORK}, T = {model.config.time_steps}, batch {BATCH}, eval, no_grad, mean firing rate {rate:.3f}")
        print(f"processor seconds, {ROUNDS} rounds, each tool beside a plain forward: median, least and most ratio")
        print(compare(model, images))
    if data_dir is None:
        print(f'\nA trial of the space spikformer_tiny, "{REFERENCE}" on the bundled digits, processor seconds:')
        print(share_of_a_trial("spikformer_tiny", None, ROUNDS))
    else:
        print(f'\nA trial of the space cifar10_cpu, "{REFERENCE}", processor seconds:')
        print(share_of_a_trial("cifar10_cpu", data_dir, 3))


def _rates(model: Spikformer, images: Tensor) -> list[float]:
    with OperationCounter(model) as counter:
        model(images)
    return list(counter.firing_rates().values())


if __name__ == "__main__":
    main()
