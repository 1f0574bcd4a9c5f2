"""The report as Markdown, and its front as a LaTeX table."""

import re
from collections.abc import Sequence

import pandas as pd

from nas.reports import findings, glossary
from nas.reports.contents import Report, front_cells, front_headings
from nas.reports.repeats import Row, energy_interval, interval
from nas.reports.summary import Summary, summary
from nas.reports.units import unit_of
from nas.training import in_si

_TERMS = (
    *("report-val", "search-val", "front", "dominated", "knee", "reference", "limit"),
    *("hypervolume", "reference point"),
)
_LATEX = {
    **{c: rf"\{c}" for c in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "µ": r"\textmu{}"},
}


def markdown(
    report: Report, options: Sequence[str] = (), program: str = "python -m nas", picture: str = "front.png"
) -> str:
    """The report as Markdown.

    Args:
        options, program: of the command that it names (`nas.reports.page.write`).
        picture: file that it shows.
    """
    lines = [f"# {_inline(report.study)}", "", *_first(summary(report, options, program))]
    lines += [*map(_inline, report.findings), "", f"![front]({picture})", ""]
    lines += [findings.drawn(report.trials, report.energy, report.sample), ""]
    lines += ["## Front", ""]
    lines += _table(front_headings(report), front_cells(report))
    lines += [
        "",
        "Quote report-val: it was not used to choose. With a 95 % interval, it and the energy are means of further "
        "seeds; else they are of the search's one seed. The search ranks by search-val, which flatters what it chose.",
    ]
    lines += _words("How to read a network", glossary.shorthand(report.front, report.sample))
    lines += _words("Words", glossary.terms([*_TERMS, *glossary.endings(report.statuses)], report.sample))
    if report.repeats is not None and not report.repeats.confirmed.empty:
        lines += ["", "## More seeds", ""]
        lines += _table(
            ("trial", "seeds", "report-val", "search-val", "energy", "beaten by", "undecided with", "ties with"),
            _confirmed_cells(report.repeats.confirmed),
        )
    lines += ["", "## How", "", *(f"* {_inline(sentence)}" for sentence in report.methods)]
    lines += ["", "## Checklist", ""]
    lines += _table(("", "", ""), [[check.question, check.answer, check.evidence] for check in report.checks])
    return "\n".join([*lines, ""])


def _first(sentences: Summary) -> list[str]:
    """The three sentences, a paragraph each, and the command."""
    paragraphs = [sentences.found, sentences.sure, sentences.next]
    lines = [line for sentence in paragraphs for line in (_inline(sentence), "")]
    return [*lines, f"    {_inline(sentences.command)}", ""] if sentences.command else lines


def _words(heading: str, words: glossary.Words) -> list[str]:
    return ["", f"## {heading}", "", *(f"* **{_inline(word)}**: {meaning}" for word, meaning in words)] if words else []


def _confirmed_cells(confirmed: pd.DataFrame) -> list[list[str]]:
    unit = unit_of(confirmed["energy_mj"])
    return [
        [
            str(row["trial"]),
            str(row["seeds"]),
            interval(row, "report_val"),
            interval(row, "search_val"),
            energy_interval(row, unit),
            str(row["beaten_by"]),
            str(row["undecided"]),
            str(row["ties"]),
        ]
        for row in confirmed.to_dict("records")
    ]


def _table(headings: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    cells = [[_inline(cell).replace("|", r"\|") for cell in row] for row in rows]
    return [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}", *(f"| {' | '.join(row)} |" for row in cells)]


def _inline(text: str) -> str:
    """Names are shown, not obeyed: Markdown lets HTML through."""
    return text.replace("<", "&lt;").replace(">", "&gt;")


def latex(report: Report) -> str:
    """The front for a paper: a tabular of the booktabs package.

    Accuracy is that of report-val, which chose nothing. Of a network that was trained with more seeds, accuracy and
    energy are means over these, which did not choose it either.
    """
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            rf"% {_tex(report.study)}, energy under the convention {_tex(report.convention)}",
            f"% accuracy: report-val {report.sample}s, which chose nothing; "
            "the front was chosen by others (search-val)",
            r"% with an interval: mean and 95 \% interval over that many further seeds; without: the search's one seed",
            r"\begin{tabular}{rlrrrrr}",
            r"\toprule",
            r"trial & network & report-val accuracy (\%) & seeds & energy & spike operations & parameters \\",
            r"\midrule",
            *(" & ".join(cells) + r" \\" for cells in _latex_cells(report)),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex_cells(report: Report) -> list[tuple[str, ...]]:
    rows, means = report.front.to_dict("records"), report.means
    energies_mj = [report.quoted(row)["energy_mj"] for row in rows]
    unit = unit_of(energies_mj)
    return [
        (
            str(row["trial"]),
            _tex(row["network"]),
            *_latex_accuracy(row, means.get(row["trial"])),
            _tex(unit.text(energy_mj)),
            _tex(in_si(row["spike_operations"], "").strip()),
            _tex(f"{row['parameters']:,}"),
        )
        for row, energy_mj in zip(rows, energies_mj, strict=True)
    ]


def _latex_accuracy(row: Row, mean: Row | None) -> tuple[str, str]:
    """Report-val accuracy and the number of seeds behind it."""
    if mean is None:
        return f"{100 * row['report_val_accuracy']:.1f}", "1"
    half = 100 * (mean["report_val_accuracy"] - mean["report_val_low"])  # above, it may have met 100 %
    return rf"${100 * mean['report_val_accuracy']:.1f} \pm {half:.1f}$", str(mean["seeds"])


def _tex(text: str) -> str:
    return re.sub(r"[&%$#_{}~^\\<>µ]", lambda match: _LATEX[match[0]], " ".join(text.split()))


__all__ = ["latex", "markdown"]
