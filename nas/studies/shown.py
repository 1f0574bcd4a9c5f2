"""What a study says of itself where a notebook or a console shows it: its networks and its front."""

import html
from typing import TYPE_CHECKING

from nas.training import Candidate, front_of, in_si, in_words, ranking

if TYPE_CHECKING:
    from nas.studies.study import Study


def one_line(study: "Study") -> str:
    """Its name, how many networks it holds, and the ends of its front.

    A study that cannot be read has its name alone: whoever looks into an error must not meet another one.
    """
    try:
        candidates, front = _read(study)
    except Exception:  # a storage has many ways to fail, and each library its own errors
        return f"<Study {study.name!r}: it cannot be read>"
    ends = [list(front.values())[i] for i in ((0, -1) if len(front) > 1 else range(len(front)))]
    words = " to ".join(f"{_percent(c.search_val_accuracy)} at {_energy(study, c)}" for c in ends)
    told = f"{len(front)} on the front, search-val {words}" if front else "no front yet"
    return f"<Study {study.name!r}: {len(candidates)} networks, {told}>"


def as_html(study: "Study") -> str:
    """The front as a table, by rising energy, all energies in mJ."""
    candidates, front = _read(study)
    whose = ranking.words_of(ranking.column_of(study.energy_of))
    headings = ("trial", "report-val", "search-val", f"{whose} (mJ)", "parameters", "network")
    rows = "".join(_row(_cells(study, number, candidate)) for number, candidate in front.items())
    caption = f"Study {study.name}: {len(candidates)} networks, {len(front)} on the front"
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _read(study: "Study") -> tuple[dict[int, Candidate], dict[int, Candidate]]:
    """All candidates and those of the front, of one moment."""
    candidates = study.candidates
    return candidates, front_of(study.keeping(candidates), study.energy_of)


def _cells(study: "Study", number: int, candidate: Candidate) -> tuple[str, ...]:
    accuracies = _percent(candidate.report_val_accuracy), _percent(candidate.search_val_accuracy)
    energy_mj = candidate.ranked_mj(study.energy_of) or 0.0
    return str(number), *accuracies, f"{energy_mj:.3g}", f"{candidate.parameters:,}", in_words(candidate)


def _row(cells: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _energy(study: "Study", candidate: Candidate) -> str:
    return in_si((candidate.ranked_mj(study.energy_of) or 0.0) * 1e-3, "J")


__all__ = ["as_html", "one_line"]
