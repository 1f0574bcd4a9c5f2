"""Starts commands by forking a process that has imported everything: twenty of them cost less than one import.

Reads lines of JSON, [folder, file for stderr, bytes that a file may have or -1, arguments], and answers each with the
number of the new process. When its input ends it waits for all of them and tells how they ended. These searches begin
without the trainings that tell how long they will take. With a space file as its argument, they also pretend to train:
a third of a second, and a formula.
"""

import dataclasses
import importlib
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import cli
from nas.datasets import loaders as data
from nas.engines import engine as engines
from nas.searching import forecast
from nas.spaces import load_space
from nas.training.candidate import Candidate
from nas.training.evaluation import evaluate
from spikformer import Spikformer, SpikformerConfig

# What a search imports when it is needed.
_LATE = ("nas.searching.loop", "sklearn.datasets", "sklearn.model_selection", "sympy", "torch._dynamo")


def main() -> None:
    for module in _LATE:
        importlib.import_module(module)
    mock.patch.object(engines, "measured_pace", return_value=None).start()
    mock.patch.object(forecast, "space_pace", return_value=None).start()
    if len(sys.argv) > 1:
        _pretend(Path(sys.argv[1]))
    begun = []
    for line in sys.stdin:
        folder, errors, largest, arguments = json.loads(line)
        pid = os.fork()
        if pid == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
            _become(Path(folder), errors, arguments)
        begun.append(pid)
        print(pid, flush=True)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in begun]), flush=True)


def _pretend(path: Path) -> None:
    loaded = load_space(path)
    recipe = dataclasses.replace(loaded.recipe, train_images=20)
    real, _ = evaluate(next(iter(loaded.references.values())), data.load(loaded), recipe)

    def pretended(config: SpikformerConfig, *_arguments: Any, **_settings: Any) -> tuple[Candidate, Spikformer]:
        time.sleep(0.3)
        made = dataclasses.replace(
            real,
            config=config,
            config_id=config.config_id,
            reference=None,
            search_val_accuracy=int(config.config_id[-12:-8], 16) / 2**16,
            energy_mj=1e-5 * (1 + int(config.config_id[-8:-4], 16)),
        )
        return made, Spikformer(config)

    mock.patch.object(engines, "evaluate", pretended).start()


def _become(folder: Path, errors: str, arguments: list[str]) -> NoReturn:
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDWR)
    said = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for ours, theirs in ((nothing, 0), (nothing, 1), (said, 2)):
        os.dup2(ours, theirs)
    sys.argv = ["cli.py", *arguments]
    code = 1
    try:
        cli.run()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
