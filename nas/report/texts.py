"""The report as Markdown, and its front as a LaTeX table."""

import re
from typing import Any

from nas.progress import in_si
from nas.report.contents import Report, front_cells, front_headings

_LATEX = {
    **{c: rf"\{c}" for c in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "µ": r"\textmu{}"},
}


def markdown(report: Report, picture: str = "front.png") -> str:
    """The report as Markdown."""
    lines = [f"# {_inline(report.study)}", "", *map(_inline, report.findings), "", f"![front]({picture})", ""]
    lines += ["## Front", ""]
    lines += _table(front_headings(report.energy), front_cells(report.front, report.energy))
    lines += ["", "The search ranks by search-val; report-val was not used to choose, so it is the figure to quote."]
    if report.repeats is not None and not report.repeats.confirmed.empty:
        lines += ["", "## More seeds", ""]
        lines += _table(
            ("trial", "seeds", "accuracy", "report-val", "energy", "really beaten by", "ties with"),
            [_confirmed_cells(row) for row in report.repeats.confirmed.to_dict("records")],
        )
    lines += ["", "## How", "", *(f"* {_inline(sentence)}" for sentence in report.methods)]
    lines += ["", "## Checklist", ""]
    lines += _table(("", "", ""), [[check.question, check.answer, check.evidence] for check in report.checks])
    return "\n".join([*lines, ""])


def _confirmed_cells(row: dict[Any, Any]) -> list[str]:
    report = row["report_val_accuracy"]
    shares = interval(row, "accuracy", 100, "%")
    return [
        str(row["trial"]),
        str(row["seeds"]),
        shares,
        f"{100 * report:.1f} %" if report == report else "",
        energy_interval(row),
        str(row["beaten_by"]),
        str(row["ties"]),
    ]


def interval(row: dict[Any, Any], name: str, factor: float, unit: str) -> str:
    """ "61.2 % (60.1 to 62.3)", or without an interval "61.2 %"."""
    value, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    if value != value:
        return "no result"
    around = f" ({factor * low:.1f} to {factor * high:.1f})" if low == low else ""
    return f"{factor * value:.1f} {unit}{around}"


def energy_interval(row: dict[Any, Any]) -> str:
    """ "1.2 mJ (1.1 mJ to 1.3 mJ)"."""
    value, low, high = (float(row[key]) for key in ("energy_mj", "energy_low_mj", "energy_high_mj"))
    if value != value:
        return "no result"
    around = f" ({in_si(low * 1e-3, 'J')} to {in_si(high * 1e-3, 'J')})" if low == low else ""
    return f"{in_si(value * 1e-3, 'J')}{around}"


def _table(headings: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    cells = [[_inline(cell).replace("|", r"\|") for cell in row] for row in rows]
    return [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}", *(f"| {' | '.join(row)} |" for row in cells)]


def _inline(text: str) -> str:
    """Names are shown, not obeyed: Markdown lets HTML through."""
    return text.replace("<", "&lt;").replace(">", "&gt;")


def latex(report: Report) -> str:
    """The front for a paper: a tabular of the booktabs package."""
    confirmed = report.repeats.confirmed.to_dict("records") if report.repeats is not None else []
    means = {row["trial"]: row for row in confirmed}
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"% {_tex(report.study)}, energy under the convention {_tex(report.convention)}",
        r"\begin{tabular}{rlrrrr}",
        r"\toprule",
        r"trial & network & accuracy (\%) & energy & spike operations & parameters \\",
        r"\midrule",
    ]
    for row in report.front.to_dict("records"):
        accuracy = f"{100 * row['search_val_accuracy']:.1f}"
        mean = means.get(row["trial"])
        if mean is not None and mean["accuracy_low"] == mean["accuracy_low"]:  # not NaN: there are two seeds
            half = 100 * (mean["accuracy_high"] - mean["accuracy"])
            accuracy = rf"${100 * mean['accuracy']:.1f} \pm {half:.1f}$"
        cells = (
            str(row["trial"]),
            _tex(row["network"]),
            accuracy,
            _tex(in_si(row[report.energy] * 1e-3, "J")),
            _tex(in_si(row["spike_operations"], "").strip()),
            _tex(f"{row['parameters']:,}"),
        )
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex(text: str) -> str:
    return re.sub(r"[&%$#_{}~^\\<>µ]", lambda found: _LATEX[found[0]], " ".join(text.split()))


__all__ = ["energy_interval", "interval", "latex", "markdown"]
