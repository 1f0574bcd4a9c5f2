"""The command that tells whether a machine is ready."""

import dataclasses
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.commands import helping, options

if TYPE_CHECKING:
    from nas.doctor import Finding

_WIDTH = 110
_MARGIN = 20  # columns for the state and the topic


@helping.command(examples=("doctor",))
@options.RESULTS_DIR
@options.AS_JSON
def doctor(results_dir: str, as_json: bool) -> None:
    """Check that this machine has what searches and trainings need, and say how to mend what is missing.

    It looks at libraries, GPUs and their kernels, threads, disks, caches and images, and writes nothing. The exit code
    is 1 if something is broken without which nothing works.
    """
    from nas.doctor import examine  # torch, only now
    from nas.version import VERSION

    findings = examine(Path(results_dir))
    broken = [finding for finding in findings if finding.state == "broken"]
    if as_json:
        listed = [dataclasses.asdict(finding) for finding in findings]
        click.echo(json.dumps({"version": VERSION, "ready": not broken, "findings": listed}, indent=2))
    else:
        for finding in findings:
            click.echo(_lines(finding))
        click.echo(f"Broken: {len(broken)}. Mend what is marked so." if broken else "Ready: nothing needed is missing.")
    if broken:
        raise SystemExit(1)


def _lines(finding: "Finding") -> str:
    """State and topic in columns, the text beside them and the remedy below it."""
    state = finding.state.upper() if finding.state == "broken" else finding.state
    head = f"{state:<8}{finding.topic:<{_MARGIN - 8}}"
    margin = " " * _MARGIN
    lines = _wrapped(finding.text, head, margin)
    return f"{lines}\n{_wrapped(finding.remedy, f'{margin}-> ', f'{margin}   ')}" if finding.remedy else lines


def _wrapped(text: str, first: str, others: str) -> str:
    """The text in lines that begin so; paths and commands are not broken."""
    wrapper = textwrap.TextWrapper(
        _WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
    return wrapper.fill(text)


__all__ = ["doctor"]
