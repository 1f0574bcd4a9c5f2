"""Three sentences for a reader who has read nothing else: what was found, how sure it is, what to do next."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from nas.reports.contents import Report
from nas.reports.repeats import Row
from nas.studies import constraints

_SHORT = "these are short proxy trainings, and energies are estimates from counted operations, without memory accesses"


@dataclass(frozen=True)
class Summary:
    """What a page says first.

    Attributes:
        found: what was found.
        sure: how far the figures can be trusted.
        next: what to do next.
        command: that does it; empty where the reader knows better, or where there is nothing to do.
    """

    found: str
    sure: str
    next: str
    command: str = ""


def summary(report: Report, options: Sequence[str], program: str) -> Summary:
    """The three sentences on a report.

    Args:
        options, program: of the command that is named (`nas.reports.page.write`).
    """
    front = report.front.to_dict("records")
    if not front:
        return _without_front(report)
    step, name, *more = _next(report, front)
    return Summary(
        _found(report, front), _sure(report, front), step, command(program, name, report.study, options, *more)
    )


def command(program: str, name: str, study: str, options: Sequence[str], *more: str) -> str:
    """A command on a study, as a shell takes it."""
    return f"{program} {name} {shlex.join(['--study', study, *more, *options])}"


def _without_front(report: Report) -> Summary:
    trained = len(report.trials)
    found = f"The search has trained {_networks(trained)}" if trained else "The search has not trained any network yet"
    why = "none of them qualifies for the front: either none is trained in full, or those that are break your limits"
    return Summary(
        f"{found}, and {why}." if trained else f"{found}.",
        f"There is nothing to be sure of yet: an accuracy counts once a network is trained on all {report.sample}s.",
        "Run the same search command again with more trials: it goes on where it stopped.",
    )


def _found(report: Report, front: list[Row]) -> str:
    count = len(report.trials)
    full = int((report.trials["status"] == "complete").sum())
    where = f" on {report.images}" if report.images else ""
    begun = f"The search tried {_networks(count)}{where} and trained {full:,} of them in full"
    least, best = front[0], front[-1]
    among = "Of those that keep your limits" if constraints.in_words(report.constraints) else "Of these"
    if len(front) == 1:
        only = "the search ranks one as both the most accurate and the cheapest"
        return f"{begun}. {among}, {only}: {_reach(report, best)}."
    given = sum(bool(row.get("reference")) for row in front)
    role = "a reference" if given == 1 else "references"
    own = f" ({given} of them given to the search as {role})" if given else ""
    return (
        f"{begun}. {among}, {len(front)} are worth choosing from{own}, as no other is both more accurate and cheaper: "
        f"they range from {_reach(report, least)} to {_reach(report, best)}."
    )


def _reach(report: Report, row: Row) -> str:
    """Its accuracy, energy and number."""
    quoted = report.quoted(row)
    where = f"per {report.sample}"
    where += ", predicted for its ImageNet version" if report.energy == "energy_target_mj" else ""
    accuracy, energy = f"{100 * quoted['report_val_accuracy']:.1f} %", report.unit.text(quoted["energy_mj"])
    return f"{accuracy} of unseen {report.sample}s right at {energy} {where} (trial {row['trial']})"


def _sure(report: Report, front: list[Row]) -> str:
    trained_again = [report.means[row["trial"]] for row in front if row["trial"] in report.means]
    if not trained_again:
        points = max(map(_half_width, front))
        return (
            f"These accuracies are not confirmed: each comes from a single training (one random seed), and the number "
            f"of {report.sample}s alone makes it uncertain by up to {points:.1f} points either way (95 %), so smaller "
            f"differences mean nothing yet; {_SHORT}."
        )
    points, seeds = max(map(_half_width, trained_again)), _range([row["seeds"] for row in trained_again])
    share = "All" if len(trained_again) == len(front) else f"{len(trained_again)}"
    rest = "" if len(trained_again) == len(front) else "; the others come from a single training each"
    return (
        f"{share} of these {_networks(len(front))} {'was' if len(front) == 1 else 'were'} trained again with {seeds} "
        f"further random seeds, and the mean accuracies are uncertain by up to {points:.1f} points either way "
        f"(95 %){rest}{_open(report, front)}; {_SHORT}."
    )


def _open(report: Report, front: list[Row]) -> str:
    """Whether more energy than at the knee is known to buy accuracy."""
    best, knee = front[-1]["trial"], report.knee
    mean = report.means.get(best)
    if mean is None or knee not in report.means or knee == best:
        return ""
    undecided = f"{mean.get('undecided', '')} {mean.get('ties', '')}".split()
    return f"; whether trial {best} is better than trial {knee} is not established" if str(knee) in undecided else ""


def _half_width(row: Row) -> float:
    """In points, the farther side of a 95 % interval of report-val accuracy."""
    accuracy = row["report_val_accuracy"]
    return 100 * float(max(row["report_val_high"] - accuracy, accuracy - row["report_val_low"]))


def _next(report: Report, front: list[Row]) -> tuple[str, ...]:
    """What to do, the command for it, and its options."""
    if report.running:
        under_way = "One training run is" if report.running == 1 else f"{report.running:,} training runs are"
        return f"{under_way} under way, so wait until the search ends and write this page again:", "report"
    if not all(row["trial"] in report.means for row in front):
        return (
            "Train these networks again with other random seeds to learn which differences are real:",
            "confirm",
        )
    choice = str(report.knee)
    reason = "at the knee of the front" if len(front) > 1 else "the only one on the front"
    sentence = (
        f"Take the network that suits you, such as trial {choice}, {reason}, and export it for full training, which "
        f"alone tells how accurate it becomes:"
    )
    return sentence, "export", "--pick", choice


def _networks(count: int) -> str:
    return "1 network" if count == 1 else f"{count:,} networks"


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least}" if least == most else f"{least} to {most}"


__all__ = ["Summary", "command", "summary"]
