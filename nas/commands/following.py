"""The command that is printed as the next one, and settings of the process that a command runs in."""

import contextlib
import gc
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click


def program() -> str:
    """How commands are called: as `cli.py` of a checkout, or as the module of an installed package."""
    return "python -m nas" if Path(sys.argv[0]).name == "__main__.py" else "python cli.py"


def print_next(command: str, *arguments: str) -> None:
    """Print the command that comes next, as it can be pasted into a shell; it may import the same custom blocks."""
    from spikformer import plugins

    click.echo(f"Next: {program()} {command} {shlex.join([*arguments, *plugins.arguments()])}")


def print_next_about(study: str, command: str, results_dir: str, storage: str | None) -> None:
    """Print the next command about a study."""
    print_next(command, "--study", study, *place(results_dir, storage))


def place(results_dir: str | Path, storage: str | None) -> list[str]:
    """Options that lead another command to the same studies; passwords are hidden."""
    options = [] if str(results_dir) == "results" else ["--results-dir", str(results_dir)]
    if storage and "SPIKFORMER_STORAGE" not in os.environ:
        from nas.studies import urls

        options += ["--storage", urls.redacted(storage)]
    return options


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Read thousands of records, none of them garbage: looking for some, also at the end, doubles the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def let_threads_sleep() -> None:
    """Before torch and numpy load: threads that spin while they wait slow others on the machine many times over.

    Numpy and scipy see small matrices only, for which a second thread never pays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


__all__ = ["let_threads_sleep", "place", "print_next", "print_next_about", "program", "without_garbage_collection"]
