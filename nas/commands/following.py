"""The command that is printed as the next one, and settings of the process that a command runs in."""

import contextlib
import gc
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

SCRIPT = "spikformer-nas"
"""What an installation puts on the path (`project.scripts` in pyproject.toml)."""


def program(*, here: bool = True) -> str:
    """How this program was called, so that its next command can be called in the same way.

    That is as `cli.py` of a clone, as the script that an installation brings, or as the module of a package.

    Args:
        here: in the folder where it was called; else on another machine, as files are read.
    """
    called = Path(sys.argv[0])
    if called.name == SCRIPT:
        return SCRIPT
    if called.name == "cli.py":
        return f"{_interpreter()} {shlex.quote(str(called))}" if here else "python cli.py"
    return f"{_interpreter() if here else 'python'} -m nas"


def _interpreter() -> str:
    """`python`, where a shell finds this interpreter by that name; else its path, as of an environment not active."""
    known = shutil.which("python")
    if known is not None and Path(known).parent == Path(sys.executable).parent:
        return "python"
    path = Path(sys.executable)
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def print_next(command: str, *arguments: str) -> None:
    """Print the command that comes next, as it can be pasted into a shell; it may import the same custom blocks."""
    from spikformer import plugins

    click.echo(f"Next: {program()} {command} {shlex.join([*arguments, *plugins.arguments()])}")


def print_next_about(study: str, command: str, results_dir: str, storage: str | None, *more: str) -> None:
    """Print the next command about a study."""
    print_next(command, "--study", study, *place(results_dir, storage), *more)


def images(data_dir: str | None) -> list[str]:
    """Options that lead another command to the same images."""
    return [] if data_dir is None else ["--data-dir", data_dir]


def place(results_dir: str | Path, storage: str | None) -> list[str]:
    """Options that lead another command to the same studies; passwords are hidden."""
    options = [] if str(results_dir) == "results" else ["--results-dir", str(results_dir)]
    if storage and "SPIKFORMER_STORAGE" not in os.environ:
        from nas.studies import urls

        options += ["--storage", urls.redacted(storage)]
    return options


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[list[object]]:
    """Read thousands of records, none of them garbage: looking for some, also at the end, doubles the time.

    Yields:
        A list that holds itself and so is never freed. What a command puts there the system frees at once with the
        process, where Python would free record after record.
    """
    for_ever: list[object] = []
    for_ever.append(for_ever)
    gc.disable()
    try:
        yield for_ever
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


__all__ = [
    "images",
    "let_threads_sleep",
    "place",
    "print_next",
    "print_next_about",
    "program",
    "without_garbage_collection",
]
