"""What a training tells as it goes: lines of JSON, TensorBoard, and a bar in a terminal; by the first process alone."""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from nas import files
from nas.full_training.process_group import ProcessGroup
from spikformer.fields import PlainTable

FILE = "log.jsonl"


class Logger:
    """
    Args:
        folder: of the training.
        steps: of the whole training.
        done: steps behind it: lines of later ones, from a run that was killed, are dropped.
    """

    def __init__(self, folder: Path, group: ProcessGroup, steps: int, done: int) -> None:
        self._is_main = group.is_main
        self._path, self._steps, self._done = folder / FILE, steps, done
        self.console = Console(stderr=True)
        if not self._is_main:
            return
        self._drop_later_lines(done)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=done)  # pyrefly: ignore[possibly-uninitialized-attribute]
        self._progress = Progress(  # pyrefly: ignore[possibly-uninitialized-attribute]
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            speed_estimate_period=86_400,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("steps", total=steps, completed=done, note="")  # pyrefly: ignore[possibly-uninitialized-attribute]

    def __enter__(self) -> Self:
        if self._is_main:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_main:
            self._progress.stop()
            self._board.close()

    def notice(self, text: str) -> None:
        """Something worth a line for people."""
        if self._is_main:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def stepped(self, steps: int) -> None:
        """So many steps are done."""
        if self._is_main:
            self._progress.update(self._task, completed=steps)

    def record(self, steps: int, epoch: int, **figures: float) -> None:
        """Figures after a step."""
        if not self._is_main:
            return
        line = {"step": steps, "epoch": epoch} | figures
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(name, value, steps)
        note = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self._progress.update(self._task, note=f"epoch {epoch + 1}, {note}")
        if not self.console.is_terminal or "test_top1" in figures:
            self.notice(f"step {steps} of {self._steps}, epoch {epoch + 1}: {note}")

    def _drop_later_lines(self, done: int) -> None:
        lines = [line for line in read(self._path) if line["step"] <= done]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        files.write(self._path, lambda partial: partial.write_text(text))


def read(path: Path) -> list[PlainTable]:
    """Lines of a log; one that was cut off when its process died is left out."""
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


__all__ = ["FILE", "Logger", "read"]
