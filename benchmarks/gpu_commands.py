"""Stages of gpu_day.py that are commands as a user types them: tests, searches, validation, trainings.

A search and a training are interrupted in time, and go on in a later call from what came back.
"""

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from gpu_task import Ended, Task, processors

_WORKERS = 4  # trainings at a time on the card
_STUDY = "day"
_QUICK_SPACE = """
[base]
published = "spikformer_cifar10_4_384"
stages.0.embed_dim = 48
stages.0.depth = 1

[axes]
mlp_ratio = [1, 2]
residual = ["sew", "ms"]
time_steps = [1, 2]

[data]
dataset = "cifar10"
search_val = 0.25
report_val = 0.25

[proxy]
epochs = 2
batch_size = 10
learning_rate = 2e-3
augment = "shift_flip"
rungs = [1]
"""
"""So small that a few images of noise suffice."""
_TESTED = (
    *("spiking", "step", "training", "image_encoding", "device_memory", "measurement", "cost", "contract"),
    *("full_training", "loop", "workers", "published"),
)
"""Those with tests that run on the device."""


def run_tests(task: Task) -> bool:
    """The tests of what runs on the device; on a CPU a few of them."""
    options = ["-q", "-p", "no:cacheprovider", f"--device={task.device.split(':')[0]}"]
    if task.quick:
        options += ["tests/spikformer/test_spiking.py", "-m", "not slow and not exhaustive"]
    else:
        options += [f"tests/test_{name}.py" for name in _TESTED]
        options += ["-m", "not exhaustive", "--maxfail=15", "-n", str(min(8, processors()))]
    ended = task.run("-m", "pytest", *options, seconds=task.left(), stop=signal.SIGINT)
    last = ([line for line in ended.text.splitlines() if line.strip()] or [""])[-1]
    failed = [line for line in ended.text.splitlines() if line.startswith(("FAILED", "ERROR"))]
    task.tell("pytest", code=ended.code, summary=last, failed=failed[:15])
    return ended.code == 0


def run_searches(task: Task) -> bool:
    """The same search with one worker and with several, then what a whole one will take by its own plan."""
    trials, size = ("2", []) if task.quick else ("30", ["--epochs", "4", "--train-images", "10000"])
    passed = True
    for workers in (1, 2 if task.quick else _WORKERS):
        study = f"{workers}_workers"
        plan = ["--trials", trials, "--no-references", "--workers", str(workers), "--per-gpu", str(workers)]
        ended = _search(task, study, [*size, *plan], 0.4 * (task.left() + 10))
        evaluated = _evaluated(task, study)
        an_hour = round(3600 * evaluated / ended.seconds)
        task.tell(study, code=ended.code, networks=evaluated, seconds=round(ended.seconds, 1), networks_an_hour=an_hour)
        passed = passed and ended.code in (0, None) and evaluated > 0
    words = "At the speed measured here"
    ended = _search(task, "plan", ["--trials", "200"], task.left(), until=words)
    task.tell("200 networks", plan=ended.line("Plan:"), takes=ended.line(words))
    return passed and bool(ended.line("Plan:"))


def run_study(task: Task) -> bool:
    """A search by time, its report, and its knee exported, trained as far as time allows, and evaluated."""
    size = ["--budget", "6min", "--workers", str(_WORKERS), "--per-gpu", str(_WORKERS)]
    searched = _search(task, _STUDY, ["--budget", "300"] if task.quick else size, 0.6 * task.left())
    task.tell("search", code=searched.code, networks=_evaluated(task, _STUDY), seconds=round(searched.seconds))
    place = ["--study", _STUDY, "--results-dir", str(task.folder)]
    reported = task.run("report", *place, seconds=60)
    _, _, findings = reported.text.partition("┘")  # below the table
    findings, _, _ = findings.partition("wrote ")
    task.tell("report", code=reported.code, findings=findings.split("\n"))
    exported = task.run("export", *place, "--pick", "knee", "--as-is", seconds=30)
    bundle = exported.line("wrote ").removeprefix("wrote ")
    task.tell("knee", code=exported.code, bundle=Path(bundle).name)
    if not bundle or reported.code != 0:
        return False
    return _train(task, bundle, epochs=0)


def run_published(task: Task) -> bool:
    """Published networks as proxies of the size of a search's rung, against what their papers print."""
    # A quarter of the space's 20 epochs: the size of a rung, with a schedule that ends there.
    size = ["--full-epochs", "5", "--shares", "0.25", "--workers", str(_WORKERS), "--per-gpu", str(_WORKERS)]
    if task.quick:
        size = ["--shares", "0.5", "--train-images", "20", "--configs", "6", "--replicates", "0"]
    where = ["--device", task.device, "--data-dir", str(task.data), "--results-dir", str(task.folder)]
    command = ("validate-proxy", "--space", _space(task), "--against", "published", *size, *where)
    ended = task.run(*command, seconds=task.left())
    said = [line for line in ended.text.splitlines() if "Kendall" in line]
    task.tell("published", code=ended.code, seconds=round(ended.seconds), said=said)
    return ended.code in (0, None)


def train_published(task: Task) -> bool:
    """A hundred epochs of the published network, one or several calls long."""
    return _train(task, "spikformer_cifar10_2_256", epochs=100)


def train_found(task: Task) -> bool:
    """The same for the knee that the stage `study` exported, in this call or an earlier one."""
    bundles = sorted((task.work / "study").rglob("exports/*/config.json"))
    if not bundles:
        print("Error: there is no study. Run the stage study first, or give its results: --earlier OUT", flush=True)
        return False
    return _train(task, str(bundles[0].parent), epochs=100)


def _train(task: Task, bundle: str, epochs: int) -> bool:
    """A full training and its test accuracy; `epochs` 0 takes as many as fit into the time."""
    out = task.folder / "trained"
    where = ["--device", task.device, "--data-dir", str(task.data)]
    if not (out / "model.safetensors").exists():
        settings = ["--set", f"workers={1 if task.quick else min(16, processors())}"]
        settings += ["--set", "batch_size=40"] if task.quick else []
        evaluating_s = 0.2 * task.left()
        if task.quick:
            epochs = 1
        elif epochs == 0:
            epochs = _affordable(task.run("train", bundle, "--dry-run", *where, *settings, seconds=40), task.left())
        length = [f"epochs={epochs}", f"warmup_epochs={epochs // 10}", "cooldown_epochs=0", "evaluate_every_epochs=10"]
        settings += [word for setting in length for word in ("--set", setting)]
        ended = task.run("train", bundle, "--out", str(out), *where, *settings, seconds=task.left() - evaluating_s)
        task.tell("train", network=Path(bundle).name, epochs=epochs, code=ended.code, seconds=round(ended.seconds))
        if ended.code:
            return False
    whole = (out / "model.safetensors").exists()
    if not whole and not (out / "checkpoint.pt").exists():
        return False
    evaluated = task.run(
        "evaluate", str(out if whole else out / "checkpoint.pt"), *where, "--json", seconds=task.left()
    )
    task.tell("test", whole=whole, code=evaluated.code, **_scores(evaluated))
    return evaluated.code == 0


def _affordable(dry_run: Ended, seconds: float) -> int:
    """Epochs of 50,000 images in 0.6 of these seconds, by what the dry run said of pace and readers."""
    paces = [float(found.replace(",", "")) for found in re.findall(r"([\d,]+(?:\.\d+)?) images/s", dry_run.text)]
    return max(1, int(0.6 * seconds * min(paces, default=0) / 50_000))


def _scores(evaluated: Ended) -> dict[str, object]:
    try:
        first = json.loads(evaluated.text[evaluated.text.index("[") :])[0]
    except (ValueError, LookupError):
        return {"error": evaluated.text[-300:]}
    return {key: first[key] for key in ("top1", "top5", "images", "energy_mj", "spike_operations", "parameters")}


def _search(task: Task, study: str, rest: list[str], seconds: float, until: str = "") -> Ended:
    where = ["--device", task.device, "--data-dir", str(task.data), "--results-dir", str(task.folder)]
    command = ("search", "--space", _space(task), "--study", study, *where, *rest)
    return task.run(*command, seconds=seconds, until=until)


def _evaluated(task: Task, study: str) -> int:
    ended = task.run("studies", "--study", study, "--results-dir", str(task.folder), "--json", seconds=30)
    try:
        return int(json.loads(ended.text[ended.text.index("[") :])[0]["evaluated"])
    except (ValueError, LookupError):
        return 0


def _space(task: Task) -> str:
    if not task.quick:
        return "spikformer_small"
    path = task.work / "quick.toml"
    path.write_text(_QUICK_SPACE)
    return str(path)


STAGES: dict[str, Callable[[Task], bool]] = {
    "tests": run_tests,
    "search": run_searches,
    "study": run_study,
    "published": run_published,
    "train_published": train_published,
    "train_found": train_found,
}


def main() -> None:
    task = Task.read()
    if not STAGES[task.stage](task):
        sys.exit(1)


if __name__ == "__main__":
    main()
