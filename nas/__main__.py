"""The command line: one command for each step from a search space to a trained network (`nas.commands`)."""

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from nas.commands import COMMANDS, Group, let_threads_sleep
from nas.version import VERSION


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, prog_name="spikformer-nas")
def main() -> None:
    """Neural architecture search for spiking transformers: accuracy against spike operations and energy."""


for command in COMMANDS:
    main.add_command(command)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def run() -> NoReturn:
    """Run a command; bad input ends in one line on stderr and exit code 1, an interruption in 130."""
    _open_standard_streams()
    let_threads_sleep()
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(_flushed(_code_of(lambda: main.main(standalone_mode=False))))


def _code_of(command: Callable[[], object]) -> int:
    """The exit code of a command, whatever it raises that is its input's fault or its machine's."""
    from spikformer.errors import SpikformerError

    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):  # the latter is a RuntimeError
        _complain("Interrupted. Nothing is lost: the same command continues where it stopped.")
        return 130
    except SpikformerError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(_in_words(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_memory_full(error):
            raise
        return _failed("memory ran out. Give a smaller network, fewer images at a time or fewer workers")
    return 0


def _failed(what: str) -> int:
    _complain(f"Error: {what}")
    return 1


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):  # where stderr is full too, the exit code tells
        click.echo(line, err=True)


def _in_words(error: OSError) -> str:
    """What the system refused: mostly a path that was given."""
    if error.errno == errno.EMFILE:
        return "too many open files. Raise the limit, for example with `ulimit -n 1024`, or give fewer --workers"
    if error.filename is None:
        return f"the output cannot be written: {error.strerror or error}. Free some space or send it elsewhere"
    name = str(error.filename)
    if error.errno == errno.ENAMETOOLONG:
        return f"the path {name[:60]}... has {len(name):,} characters, too many. Give a shorter path"
    return f"{name}: {error.strerror}. Correct the path or its permissions"


def _is_memory_full(error: BaseException) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from nas.training import device_memory

    return device_memory.is_full(error)


def _open_standard_streams() -> None:
    """Give streams that the shell has closed a place: else the next file that is opened gets what is printed."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need be no text


def _flushed(code: int) -> int:
    """The exit code, once all is written: a command whose result nobody could read has failed."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more at its end
        return 1 if error.errno == errno.EPIPE else _failed(_in_words(error))
    return code


if __name__ == "__main__":
    run()
