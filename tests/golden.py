"""The golden corpus: what the program did before its rooms were moved, written down to be compared.

    python -m tests.golden tests/data/golden

records it again: a commit that changes a file of it says why. Numbers of trainings are those of one kind of processor
and one version of torch, which `machine.json` names; `tests/test_golden.py` compares on such a machine.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import cli
import nas
from nas.costs import contract
from nas.costs.counter import OperationCounter
from nas.errors import StudyError
from spikformer import SpikformerConfig, plugins, published
from tests import pictures
from tests.conftest import MICRO
from tests.helpers import random_config

ROOT = Path(__file__).parent.parent
SPACE = MICRO.replace("time_steps = 2\n", "").replace("rungs = [1]", "rungs = [0.5, 1]")
_TIMES = ("wall_s", "seconds", "latency_s", "images_per_s", "images_a_s", "finished_at")
_MACHINE = ("device", "processor", "threads", "versions")
_HIDDEN = [
    (re.compile(r"\b\d+(\.\d+)? ?(s|ms|min|h|images/s|MiB|GiB|GB)\b"), "TIME"),
    (re.compile(r"Commit\s+[0-9a-f]{12}\+?"), "COMMIT"),
    (re.compile(r"process\(es\) on .*?;\s.*?;", re.DOTALL), "process(es) on MACHINE;"),
    (re.compile(r"\d\d\d\d-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?"), "DATE"),
]


def record(out: Path) -> None:
    """Write the whole corpus; a minute and a half on one core."""
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "machine.json", machine())
    _write(out / "config_ids.json", config_ids())
    with tempfile.TemporaryDirectory() as folder, _inside(Path(folder)), _one_thread():
        Path("micro.toml").write_text(SPACE)
        lines = studies(out / "studies") + training(out / "trained.json")
        _write(out / "commands.json", lines + [run(*line.split()) for line in COMMANDS])
    _write(out / "block.json", block())  # last: what may be imported appears in the commands that are printed


def machine() -> dict[str, str]:
    """What rounding depends on."""
    return {"cpu_capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__.partition("+")[0]}


def config_ids() -> dict[str, str]:
    """Of the published networks, and of a thousand random ones by their seed."""
    ids = {name: published.config(name).config_id for name in published.names()}
    return ids | {f"random {seed}": random_config(random.Random(seed)).config_id for seed in range(1000)}


def block() -> list[dict[str, Any]]:
    """What the documented block of a user's own costs."""
    page = (ROOT / "docs" / "your_own_block.md").read_text()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "golden_block.py").write_text(re.findall(r"```python\n(.*?)```", page, re.S)[0])
        plugins.allow("golden_block", folder=folder)
        stage = {"embed_dim": 16, "depth": 1, "mixer": {"kind": "golden_block:AdditionOnly"}, "mlp": {"ratio": 2}}
        model, images = contract.calibrated(SpikformerConfig.from_dict(contract.small() | {"stages": [stage]}))
        with torch.no_grad(), OperationCounter(model) as counter:
            model(images)
    return [{"path": op.path, "kind": op.kind, "dense": op.dense, "events": op.events} for op in counter.operations()]


def studies(out: Path) -> list[dict[str, Any]]:
    """Searches of a space of twelve networks, what is reported of them, and exported bundles."""
    search = ["search", "--space", "micro.toml", "--trials", "6", "--device", "cpu"]
    lines = [
        run(*search, "--study", "one"),
        run(*search, "--study", "two", "--workers", "2"),
        run(*search, "--study", "sqlite", "--storage", "sqlite:///micro.db"),
        run(*search, "--study", "limits", "--max-params", "2k", "--min-accuracy", "0.1"),
        run("confirm", "--study", "one", "--seeds", "2", "--device", "cpu"),
        run("export", "--study", "one", "--as-is", "--out", "bundles"),
        run("export", "--study", "one", "--params", "1M", "--pick", "knee", "--out", "large"),
    ]
    _killed_and_resumed([*search, "--study", "killed"])
    for study in ("one", "two", "killed", "limits"):
        lines.append(run("report", "--study", study))
    for study in ("one", "limits"):  # of the others, numbers of trials depend on the moment
        for table in sorted(Path("results", study).glob("*.csv")):
            _copy_table(table, out / study / table.name)
    for study in ("one", "killed", "limits"):  # which networks "two" has depends on the worker that ends first
        _write(out / f"{study}.json", _candidates(study))
    _write(out / "sqlite.json", _candidates("sqlite", "sqlite:///micro.db"))
    for kind in ("bundles", "large"):
        _write(out / f"{kind}.json", {name: _content(Path(kind, name)) for name in files(Path(kind))})
    return lines


def training(out: Path) -> list[dict[str, Any]]:
    """A bundle trained in full on small images: losses, scores and weights."""
    pictures.bundle(Path("small"))
    pictures.folders(Path("images"))
    line = run("train", "small/bundle", "--data-dir", "images", "--out", "trained", "--device", "cpu")
    _write(out, {name: _content(Path("trained", name)) for name in files(Path("trained")) if _is_ours(name)})
    return [line, run("export", "--network", "spikformer_cifar10_4_256", "--out", "published")]


def _is_ours(name: str) -> bool:
    """Not TensorBoard's curves, the lock, and the checkpoint, which is a zip with times in it."""
    return "tfevents" not in name and Path(name).suffix != ".pt" and name != "lock"


def _killed_and_resumed(search: list[str]) -> None:
    """Killed as soon as two networks are there, and run again."""
    command = [sys.executable, str(ROOT / "cli.py"), *search]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(_candidates("killed")) < 2:
        time.sleep(0.2)
    process.kill()
    process.wait()
    run(*search)


def _candidates(study: str, url: str | None = None) -> list[dict[str, Any]]:
    """Of a study, without times, by network."""
    try:
        candidates = nas.load_study(study, storage=url).candidates.values()
    except StudyError:  # it has not begun
        return []
    records = [without_times(candidate.to_dict()) for candidate in candidates]
    return sorted(records, key=lambda record: str((record["config_id"], record["seed"], record["images_seen"])))


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the machine, the hour and the load; spikes and operations as one hash each."""
    kept = {key: value for key, value in record.items() if key not in (*_TIMES, *_MACHINE, "provenance")}
    if "training" in kept:
        kept["training"] = without_times(kept["training"])
    for key in {"operations", "firing_rates", "activity"} & set(kept):
        kept[key] = _hash(json.dumps(kept[key], sort_keys=True).encode())
    return kept


def run(*arguments: str) -> dict[str, Any]:
    """A command in this process: exit code and last line."""
    said, complained, code = io.StringIO(), io.StringIO(), 0
    before, sys.argv = sys.argv, ["cli.py", *arguments]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            cli.run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.argv = before
    lines = [line for text in (complained, said) for line in text.getvalue().splitlines() if line.strip()]
    return {"command": " ".join(arguments), "exit": code, "last": _masked(lines[-1]) if lines else ""}


def _masked(line: str) -> str:
    for pattern, word in _HIDDEN:
        line = pattern.sub(word, line)
    return re.sub(r"\s+", " ", line.replace(str(Path.cwd()), "HERE").replace(str(ROOT), "ROOT")).strip()


def _copy_table(source: Path, to: Path) -> None:
    with source.open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in _TIMES} for row in csv.DictReader(file)]
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def files(folder: Path) -> list[str]:
    """Of a corpus, relative to its folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _content(path: Path) -> Any:
    """Of a file of a bundle: its values, its text, or the hash of its weights."""
    if path.suffix == ".safetensors":
        return _hash(path.read_bytes())
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [without_times(json.loads(line)) for line in path.read_text().splitlines()]
    return _masked(path.read_text())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, sort_keys=True, default=str) + "\n")


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Here and in processes that are started here; tables of one width."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("COLUMNS", "200")
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # `python` is this one
        yield
    torch.set_num_threads(threads)


COMMANDS = """
spaces
studies
studies --json
studies --study NOPE
studies --status
report --study NOPE
report --study one --convention paper
report --study one --convention nope
report --study one --chip loihi
report --study one --chip nope
report --study one --memory
report --study one --latex
report --study one --compare limits
report --study one --compare NOPE
report --results-dir nowhere
report --storage nonsense://x
search
search --space NOPE
search --space micro.toml
search --space micro.toml --trials 0
search --space micro.toml --trials -1
search --space micro.toml --trials x
search --space micro.toml --trials 2 --epochs 0
search --space micro.toml --trials 2 --device tpu
search --space micro.toml --trials 2 --budget 5x
search --space micro.toml --budget 0
search --space micro.toml --trials 2 --patience 0
search --space micro.toml --trials 2 --workers 0
search --space micro.toml --trials 2 --per-gpu 0
search --space micro.toml --trials 2 --max-params x
search --space micro.toml --trials 2 --min-accuracy 2
search --space micro.toml --trials 2 --sampler Nope
search --space micro.toml --trials 2 --engine mars
search --space micro.toml --trials 2 --train-images 3
search --space micro.toml --trials 2 --data-dir nowhere
search --space micro.toml --trials 2 --proxy nowhere.toml
search --space micro.toml --trials 2 --study ../x
search --space micro.toml --trials 6 --study one
search --space micro.toml --trials 2 --epochs 2 --study one
confirm --study NOPE
confirm --study one --seeds 0
confirm --study one --top x
confirm --study one --top 0
validate-proxy
validate-proxy --space NOPE
validate-proxy --space micro.toml --configs 1
validate-proxy --space micro.toml --shares 2
validate-proxy --space micro.toml --against x
export --study NOPE
export --study one --pick nope
export --study one --pick 999
export --study one --params 1
export --study one --params x
export --study one --macs 1
export --study one --as-is --params 1M
export --study one --as-is --classes 0
export --study one --format pdf
export --network nope
export --network spikformer_cifar10_4_256 --as-is --out published
export --network spikformer_cifar10_4_256 --study one
train
train nowhere
train bundles
train published/spikformer_cifar10_4_256 --dry-run --set epochs=0
train published/spikformer_cifar10_4_256 --dry-run --set nope=1
train published/spikformer_cifar10_4_256 --dry-run --set epochs
train published/spikformer_cifar10_4_256 --dry-run --recipe nope
train published/spikformer_cifar10_4_256 --data-dir nowhere
train small/bundle --data-dir images --out trained --device cpu --set epochs=4
train small/bundle --data-dir images --out trained --device cpu
train micro.toml
evaluate
evaluate nowhere
evaluate micro.toml
evaluate trained --data-dir images --device cpu
evaluate trained --data-dir images --device cpu --time-steps 1,2
evaluate published/spikformer_cifar10_4_256
evaluate published/spikformer_cifar10_4_256 --data-dir nowhere
evaluate published/spikformer_cifar10_4_256 --convention nope
evaluate published/spikformer_cifar10_4_256 --time-steps 0
evaluate published/spikformer_cifar10_4_256 --image-sizes x
inspect
inspect nowhere
inspect nope_cifar10
inspect spikformer_cifar10_4_256
inspect spikformer_cifar10_4_256 --json
inspect spikformer_cifar10_4_256 --check spike-driven
inspect spikingformer_cifar10_4_256 --check spike-driven
inspect spikformer_cifar10_4_256 --image-size 33
inspect spikformer_cifar10_4_256 --image-size 64
inspect spikformer_cifar10_4_256 --fused
inspect spikformer_cifar10_4_256 --rates 0.2
inspect spikformer_cifar10_4_256 --rates 2
inspect spikformer_cifar10_4_256 --rates 0.2 --chip loihi
inspect spikformer_cifar10_4_256 --rates 0.2 --memory
inspect one --trial 1
inspect one --trial 999
inspect one --trial x
inspect one
check-block
check-block nope
check-block nope:Nope
check-block os:path
shrink nowhere --out x
shrink
nope
""".strip().splitlines()


if __name__ == "__main__":
    record(Path(sys.argv[1]).absolute())
