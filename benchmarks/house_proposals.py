"""For house.py: what one proposal costs, in the checkout that is on the path."""

import contextlib
import dataclasses
import importlib
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
import torch
from optuna.storages import JournalStorage

import nas
from nas.progress import Observer
from spikformer import SpikformerConfig

ROOT = Path(nas.__file__ or "").parent.parent
SPACE = """
[base]
neuron.threshold = 0.5
stem.image_size = 8
stem.in_channels = 1
stem.pool = [false, false, true, true]
head.num_classes = 10
stages = [{ embed_dim = 8, depth = 1, mixer = { num_heads = 2, threshold = 0.25 }, mlp = { ratio = 1 } }]

[axes]
embed_dim = [8, 16, 24, 32, 40, 48, 56, 64]
depth = [1, 2, 3]
num_heads = [1, 2, 4]
mlp_ratio = [1, 2, 3, 4]
residual = ["sew", "ms"]
attention = ["ssa", "sdsa", "qkta"]
time_steps = [1, 2, 4]

[data]
dataset = "digits"

[proxy]
epochs = 2
train_images = 200
batch_size = 50
rungs = [0.5, 1]
"""
COUNTED = 20  # networks of the counted search


class Counts:
    """What happens outside trainings, while a search runs."""

    def __init__(self) -> None:
        self.paused = False
        self.files: set[str] = set()
        self.entered: list[int] = []
        self.moves = self.configs = self.scans = self.trainings = 0
        self._last = ""

    def training_begins(self) -> None:
        self.trainings += 1
        self.entered.append(len(self.files))
        self.files, self.paused = set(), True

    def traced(self, frame: FrameType, event: str, _argument: object) -> None:
        """For `sys.setprofile`: a file is entered when one of its functions is called."""
        name = frame.f_code.co_filename
        if event != "call" or self.paused or not name.startswith((f"{ROOT}/nas/", f"{ROOT}/spikformer/")):
            return
        self.files.add(name)
        self.moves += name != self._last
        self._last = name


def answered(counts: Counts | None, evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """In place of a training: the first is real, later ones answer with its record and other figures."""
    stored: list[Any] = []
    generator = random.Random(0)

    def answer(config: SpikformerConfig, *arguments: Any, **options: Any) -> Any:
        if counts is not None:
            counts.training_begins()
        if not stored or counts is not None:
            stored[:] = [evaluate(config, *arguments, **options)]
            candidate, model = stored[0]
        else:
            candidate, model = stored[0]
            share = options.get("share", arguments[5] if len(arguments) > 5 else 1.0)
            candidate = _like(candidate, config, share, generator)
        if counts is not None:
            counts.paused = False
        return candidate, model

    return answer


def _like(candidate: Any, config: SpikformerConfig, share: float, generator: random.Random) -> Any:
    width = config.stages[0].embed_dim * config.stages[0].depth * config.time_steps
    accuracy = min(0.99, 0.5 + 0.05 * width**0.4 + generator.gauss(0, 0.02) - 0.1 * (1 - share))
    full = candidate.recipe.epochs * candidate.train_images
    return dataclasses.replace(
        candidate,
        config=config,
        config_id=config.config_id,
        search_val_accuracy=accuracy,
        energy_mj=1e-6 * width * generator.lognormvariate(0, 0.1),
        images_seen=round(full * share),
        status="complete" if share == 1 else "stopped",
        reason="" if share == 1 else "rung",
    )


def replace_evaluation(counts: Counts | None) -> None:
    """Wherever a module of the project has its name."""
    original = nas_evaluate()
    answer = answered(counts, original)
    for module in list(sys.modules.values()):
        if (getattr(module, "__name__", "") or "").startswith("nas.") and vars(module).get("evaluate") is original:
            setattr(module, "evaluate", answer)  # noqa: B010  # a module, not an object of ours


def nas_evaluate() -> Callable[..., Any]:
    """The function that trains and measures a proxy, where this checkout has it."""
    with contextlib.suppress(ImportError):  # a checkout whose engines are one module
        importlib.import_module("nas.engines.engine")
    for module in list(sys.modules.values()):
        function = vars(module).get("evaluate") if (module.__name__ or "").startswith("nas.engines") else None
        if function is not None:
            return function
    raise SystemExit("no module of nas.engines trains")


def count() -> dict[str, str]:
    counts = Counts()
    nas.search  # noqa: B018  # loaded now, so that importing is not counted
    replace_evaluation(counts)
    built, scanned = SpikformerConfig.__post_init__, JournalStorage.get_all_trials

    def build(config: SpikformerConfig) -> None:
        counts.configs += not counts.paused
        built(config)

    def scan(storage: JournalStorage, *arguments: Any, **options: Any) -> Any:
        counts.scans += not counts.paused
        return scanned(storage, *arguments, **options)

    SpikformerConfig.__post_init__ = build  # pyrefly: ignore[bad-assignment, method-assign]
    JournalStorage.get_all_trials = scan  # pyrefly: ignore[bad-assignment, method-assign]
    sys.setprofile(counts.traced)
    nas.search("proposals.toml", trials=COUNTED, study="counted", device="cpu", observer=Observer())
    sys.setprofile(None)
    n = counts.trainings
    return {
        "files entered by a proposal": f"{statistics.median(counts.entered[1:]):.0f}",
        "moves between files by a proposal": f"{counts.moves / n:,.0f}",
        "configs built by a proposal": f"{counts.configs / n:.1f}",
        "looks at all trials by a proposal": f"{counts.scans / n:.1f}",
    }


def between(history: int) -> float:
    """Median milliseconds from the end of a training to the beginning of the next, after so many trials."""
    moments: list[tuple[float, float]] = []
    original = nas_evaluate()

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = original(*arguments, **options)
        moments.append((began, time.perf_counter()))
        return result

    for module in list(sys.modules.values()):
        if (getattr(module, "__name__", "") or "").startswith("nas.") and vars(module).get("evaluate") is original:
            setattr(module, "evaluate", timed)  # noqa: B010
    nas.search("proposals.toml", trials=history, study="timed", device="cpu", observer=Observer())
    gaps = [1e3 * (begin - end) for (_, end), (begin, _) in itertools.pairwise(moments)]
    for module in list(sys.modules.values()):
        if (getattr(module, "__name__", "") or "").startswith("nas.") and vars(module).get("evaluate") is timed:
            setattr(module, "evaluate", original)  # noqa: B010
    return statistics.median(gaps[-10:])


def main() -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    Path("proposals.toml").write_text(SPACE)
    nas.search  # noqa: B018
    histories = [int(word) for word in sys.argv[1:]]
    figures = {}
    replace_evaluation(None)
    for history in histories:
        figures[f"milliseconds between two trainings after {history:,} trials"] = f"{between(history):,.0f}"
    print(json.dumps(count() | figures))


if __name__ == "__main__":
    main()
