"""The progress of a running search, shown to nobody, or to a person in a terminal or a log file."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from nas.training import Candidate, EnergyOf, Epoch, front_of, in_si, in_words, ranking

_FRONT_ROWS = 8


class Observer:
    """Is told of the progress of a search. This base class ignores what it is told."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def notice(self, text: str) -> None:
        """Show a line of text."""

    def reading(self, what: str, done: int, total: int) -> None:
        """Images are being read."""

    def counted(self, done: int, total: int | None, fully: int | None) -> None:
        """`done` of `total` candidates are evaluated, `fully` of them on all images; None where trainings count."""

    def waiting(self, trainings: int) -> None:
        """There is nothing to do here while other workers run this many trainings."""

    def on_training_start(self, label: str, epochs: int) -> None:
        """A candidate's training begins."""

    def on_epoch(self, label: str, number: int, epoch: Epoch) -> None:
        """An epoch of that training ended."""

    def on_training_end(self, label: str) -> None:
        """That training ended, with or without a result."""

    def on_candidate(self, label: str, candidate: Candidate, candidates: list[Candidate], energy_of: EnergyOf) -> None:
        """A candidate is recorded. `candidates` are all so far that keep the constraints; `energy_of` ranks them."""


class Dashboard(Observer):
    """Bars and a live front in a terminal; a line for each candidate elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        # A day: rich forgets older steps, and a candidate may take longer than its default of 30 s.
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._overall = Progress(*columns, *times, speed_estimate_period=86_400)
        self._current = Progress(*columns, TextColumn("{task.fields[note]}"))
        self._overall_task = self._overall.add_task("evaluated", total=None)
        self._reading = self._current.add_task("", total=None, note="", visible=False)
        self._trainings: dict[str, TaskID] = {}
        self._front = Table.grid()
        self._live = Live(self._view(), console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def notice(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def reading(self, what: str, done: int, total: int) -> None:
        self._current.update(self._reading, description=what, completed=done, total=total, visible=done < total)

    def counted(self, done: int, total: int | None, fully: int | None) -> None:
        if self._overall.tasks[0].total is None:  # where a continued study starts says nothing about its speed
            self._overall.reset(self._overall_task, completed=done, total=total)
        words = f"{done} evaluated, {fully} fully" if fully is not None else f"{done} trained"
        self._overall.update(self._overall_task, description=words, completed=done, total=total)

    def waiting(self, trainings: int) -> None:
        self._current.update(
            self._reading, description=f"waiting for {trainings} training runs of other workers", visible=True
        )

    def on_training_start(self, label: str, epochs: int) -> None:
        self._current.update(self._reading, visible=False)
        self._trainings[label] = self._current.add_task(f"{label}, epoch", total=epochs, note="")

    def on_epoch(self, label: str, number: int, epoch: Epoch) -> None:
        note = f"loss {epoch.loss:.3f}, training accuracy {100 * epoch.accuracy:.1f} %"
        self._current.update(self._trainings[label], completed=number, note=note)

    def on_training_end(self, label: str) -> None:
        self._current.remove_task(self._trainings.pop(label))

    def on_candidate(self, label: str, candidate: Candidate, candidates: list[Candidate], energy_of: EnergyOf) -> None:
        self.notice(f"{label}: {summary(candidate)}")
        self._front = front_table(candidates, energy_of)
        self._live.update(self._view())

    def _view(self) -> Group:
        return Group(self._front, self._current, self._overall)


def summary(candidate: Candidate) -> str:
    """A candidate in a line; search-val ranks it, report-val is the figure to quote."""
    took = f"{candidate.provenance['wall_s']:.0f} s"
    if candidate.search_val_accuracy is None or candidate.energy_mj is None:
        return f"{candidate.status} ({candidate.reason}), {took}"
    if not candidate.is_ranked:
        return f"{candidate.status} ({candidate.reason}), {took}"
    measured = candidate.report_val_accuracy
    report = "" if measured is None else f" (report-val {100 * measured:.1f} %)"
    return (
        f"search-val {100 * candidate.search_val_accuracy:.1f} %{report}, {in_si(candidate.energy_mj * 1e-3, 'J')}, "
        f"{candidate.parameters:,} parameters, {took}"
    )


def front_table(candidates: list[Candidate], energy_of: EnergyOf = "proxy") -> Table:
    """The front so far, by rising energy."""
    complete = sum(c.status == "complete" for c in candidates)
    members = list(front_of(dict(enumerate(candidates)), energy_of).values())
    table = Table(title=f"front: {len(members)} of {complete} complete", title_justify="left", box=None)
    for heading in ("search-val", ranking.words_of(ranking.column_of(energy_of)), "parameters"):
        table.add_column(heading, justify="right")
    table.add_column("network")
    for c in members[-_FRONT_ROWS:]:
        accuracy, energy_j = 100 * (c.search_val_accuracy or 0.0), (c.ranked_mj(energy_of) or 0.0) * 1e-3
        table.add_row(*map(Text, (f"{accuracy:.1f} %", in_si(energy_j, "J"), f"{c.parameters:,}", in_words(c))))
    return table
