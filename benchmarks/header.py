"""What a result must say about how it came to be."""

import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent.parent


def header(command: str, checkout: Path = _FOLDER) -> str:
    """Command, date, processor, threads, versions and the commit of `checkout`, a line each."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "spikingjelly"))
    return "\n".join(
        [
            f"command   {command}",
            f"date      {datetime.datetime.now(datetime.UTC).date().isoformat()}",
            f"machine   {_processor()}, {torch.get_num_threads()} thread",
            f"versions  python {platform.python_version()}, {versions}",
            f"commit    {_commit(checkout)}",
        ]
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def note(text: str) -> None:
    """Progress, where it does not mix with the result."""
    print(text, file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit(checkout: Path) -> str:
    """With "+" if tracked files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD")[:12] + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
