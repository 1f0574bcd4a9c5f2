"""Whether a machine is ready: what this program finds on it, and what to do where something is missing.

Nothing is written or downloaded. torch is imported when it is examined.
"""

import contextlib
import importlib.metadata
import logging
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nas import files, quiet
from nas.settings import Recipe
from nas.version import VERSION

if TYPE_CHECKING:
    import torch

State = Literal["ok", "note", "broken"]
"""Nothing works without what is "broken"; a "note" is slower, or missing for some purposes."""

_PACKAGE = "spikformer-nas"
_NUMBERS = re.compile(r"\d+")
_LITTLE_GB = 5.0  # free, of a disk: CIFAR takes 0.4 GB, the checkpoints of a large network several
_MUCH_GB = 20.0  # of caches
_LONG = 10**9  # pixels that a training sees, for which everything is done that makes it faster
_GB = 1e9


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    Attributes:
        topic: what was examined, in a word or two.
        remedy: what to do, where something is to be done.
    """

    topic: str
    state: State
    text: str
    remedy: str = ""


def examine(results: Path) -> list[Finding]:
    """Everything, in the order in which one thing needs the other.

    Args:
        results: directory that holds the studies.
    """
    findings: list[Finding] = []
    topics: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("program", _program),
        ("libraries", _libraries),
        ("device", _devices),
        ("kernels", _kernels),
        ("threads", _threads),
        ("disk", lambda: _disks(results)),
        ("caches", _caches),
        ("images", _images),
        ("browser", _browser),
    )
    for topic, found in topics:
        try:
            findings += found()
        except Exception as error:  # whatever a damaged installation raises is what is looked for
            text = f"cannot be examined: {type(error).__name__}: {error}".splitlines()[0]
            findings.append(Finding(topic, "broken", text, f"Install again: pip install --force-reinstall {_PACKAGE}"))
    return findings


def _program() -> Iterator[Finding]:
    text = f"{_PACKAGE} {VERSION} in {Path(__file__).parent.parent}, Python {platform.python_version()}"
    yield Finding("program", "ok", f"{text}, {platform.system()} {platform.release()} on {platform.machine()}")


def _libraries() -> Iterator[Finding]:
    """Versions of those that results depend on, and all that are missing or too old."""
    named = ("torch", "torchvision", "spikingjelly", "optuna", "numpy", "timm")
    versions = {name: version for name in named if (version := _version(name)) is not None}
    yield Finding("libraries", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))
    for name, least in _required().items():
        version = _version(name)
        if version is None:
            yield Finding("libraries", "broken", f"{name} is not installed", f"pip install '{name}>={least}'")
        elif _numbers(version) < _numbers(least):
            text = f"{name} {version} is older than {least}"
            yield Finding("libraries", "broken", text, f"pip install --upgrade '{name}>={least}'")


def _required() -> dict[str, str]:
    """Name -> lowest version of each library that the installed package asks for; of a clone alone, some of them."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        lines = importlib.metadata.requires(_PACKAGE) or []
        matches = [re.match(r"([\w-]+)[^;]*?>=([\d.]+)[^;]*$", line) for line in lines]
        return {match[1]: match[2] for match in matches if match is not None}
    return dict.fromkeys(("torch", "torchvision", "spikingjelly", "optuna", "timm"), "0")


def _version(name: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def _numbers(version: str) -> list[int]:
    """As versions are compared: "2.14.1+cu130" -> [2, 14, 1]."""
    return [int(number) for number in _NUMBERS.findall(version.partition("+")[0])]


def _devices() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        yield _no_gpu(torch.version.cuda)
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        text = (
            f"cuda:{index} is {properties.name}, capability {properties.major}.{properties.minor}, "
            f"{total / _GB:.0f} GB of memory, {free / _GB:.0f} GB free; driver {_driver()}, torch built for CUDA "
            f"{torch.version.cuda}"
        )
        is_used = free < total / 2
        remedy = "Others use its memory: give another --device, or wait" if is_used else ""
        yield Finding("device", "note" if is_used else "ok", text, remedy)


def _no_gpu(built_for: str | None) -> Finding:
    if not quiet.has_gpu():
        return Finding("device", "note", f"no GPU; training runs on {_cores()} cores of the CPU")
    if built_for is None:
        remedy = "Install a torch that is built for CUDA: https://pytorch.org/get-started"
        return Finding("device", "note", "there is an NVIDIA driver, and torch is built for CPUs alone", remedy)
    remedy = "Look at nvidia-smi and CUDA_VISIBLE_DEVICES; update the driver, or install a torch for an older CUDA"
    text = f"there is an NVIDIA driver ({_driver()}), and torch, which is built for CUDA {built_for}, sees no GPU"
    return Finding("device", "note", text, remedy)


def _driver() -> str:
    with contextlib.suppress(OSError):
        version = re.search(r"\s(\d+(\.\d+)+)\s", Path("/proc/driver/nvidia/version").read_text())
        if version is not None:
            return version[1]
    return "of unknown version"


def _kernels() -> Iterator[Finding]:
    import torch

    from nas.training import options_for

    if not torch.cuda.is_available():
        yield _on_cpu(str(options_for(torch.device("cpu"), Recipe(), _LONG)))
        return
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        yield _neurons(device)
        yield _graphs(device)
        yield Finding("training", "ok", f"on {device}: {options_for(device, Recipe(), _LONG)}")


def _on_cpu(options: str) -> Finding:
    text = f"long training runs on the CPU use: {options}"
    if "compiled" in options:
        return Finding("training", "ok", text)
    return Finding("training", "note", f"{text}; neurons are not compiled, for want of a C++ compiler", "Install g++")


def _neurons(device: "torch.device") -> Finding:
    """By the check that a training makes too, whose reasons stand in the log."""
    from spikformer import spiking

    told = _Log()
    logger = logging.getLogger(spiking.__name__)
    logger.addHandler(told)
    before, logger.propagate = logger.propagate, False
    try:
        spiking.prepare(device)
    finally:
        logger.removeHandler(told)
        logger.propagate = before
    if not told.lines:
        return Finding("kernels", "ok", f"neurons and batch norm are fused by Triton on {device}")
    remedy = "Install the Triton that torch names (pip install triton) and a C compiler; results stay the same without"
    return Finding("kernels", "note", told.lines[0], remedy)


class _Log(logging.Handler):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _graphs(device: "torch.device") -> Finding:
    import torch

    try:
        with torch.cuda.device(device):
            numbers = torch.zeros(8, device=device)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                numbers += 1
            graph.replay()
            works = numbers.tolist() == [1.0] * 8
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        return Finding("kernels", "note", f"CUDA graphs cannot be captured on {device}: {reason}", "Update the driver")
    text = f"CUDA graphs {'are captured and replayed' if works else 'compute something else'} on {device}"
    return Finding("kernels", "ok" if works else "note", text, "" if works else "Update the driver and torch")


def _cores() -> int:
    """Of those of the machine, the ones that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> Iterator[Finding]:
    import torch

    cores = _cores()
    settings = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") if name in os.environ}
    named = "".join(f", {name}={value}" for name, value in settings.items())
    text = f"torch computes with {torch.get_num_threads()} threads on {cores} cores{named}"
    if torch.get_num_threads() > cores:
        remedy = f"Set OMP_NUM_THREADS={cores}: threads that wait for each other make a training many times slower"
        yield Finding("threads", "note", text, remedy)
    else:
        yield Finding("threads", "ok", text)


def _disks(results: Path) -> Iterator[Finding]:
    for topic, folder, remedy in (
        ("results", results, "Give another --results-dir"),
        ("caches", files.cache_folder(), "Set XDG_CACHE_HOME to another folder"),
    ):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            yield Finding("disk", "broken", f"{topic} go to {folder}, which cannot be written", remedy)
            continue
        free = shutil.disk_usage(existing).free / _GB
        text = f"{topic} go to {folder.absolute()}, where {free:,.1f} GB are free"
        is_little = free < _LITTLE_GB
        yield Finding("disk", "note" if is_little else "ok", text, f"Make room, or: {remedy}" if is_little else "")


def _caches() -> Iterator[Finding]:
    folder = files.cache_folder()
    sizes = {"downloads": 0, "decoded images": 0, "lists of shards": 0, "others": 0}
    for path in folder.rglob("*") if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # another process removed it
            sizes[_kind(path.relative_to(folder))] += path.stat().st_size if path.is_file() else 0
    total = sum(sizes.values()) / _GB
    parts = ", ".join(f"{kind} {size / _GB:.2f} GB" for kind, size in sizes.items() if size)
    text = f"{folder} holds {total:.2f} GB" + (f": {parts}" if parts else "")
    is_much = total > _MUCH_GB
    remedy = f"Whatever lies there is made again when it is needed: rm -r {folder}" if is_much else ""
    yield Finding("caches", "note" if is_much else "ok", text, remedy)


def _kind(path: Path) -> str:
    first = path.parts[0]
    if first.startswith("images-"):
        return "decoded images"
    if first.startswith("shards-"):
        return "lists of shards"
    return "downloads" if first.startswith("cifar-") else "others"


def _images() -> Iterator[Finding]:
    from nas.datasets import cifar

    yield Finding("images", "ok", "digits come with scikit-learn")
    for name, source in cifar.DATASETS.items():
        folder = files.cache_folder() / source.folder
        if folder.is_dir():
            yield Finding("images", "ok", f"{name} is in {folder}")
        else:
            text = f"{name} is not in the cache: the first search that needs it downloads 170 MB"
            remedy = f"Without a network, unpack {source.archive.url} elsewhere and give --data-dir"
            yield Finding("images", "note", text, remedy)


def _browser() -> Iterator[Finding]:
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        text = f"{' and '.join(missing)} not found; tests of the report's page alone need them"
        yield Finding("browser", "note", text, "To run these tests: apt install chromium chromium-driver")
    else:
        yield Finding("browser", "ok", "chromium and chromedriver are there, for tests of the report's page")


__all__ = ["Finding", "State", "examine"]
