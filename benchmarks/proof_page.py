"""The results part of docs/proof.md, from proof.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas import files

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
NOT_RUN = "No run has been made yet."
Document = dict[str, Any]


def claims(page: Path) -> str:
    """The page without its results."""
    before, _, after = _parted(page)
    return before + after


def results(page: Path) -> str:
    """The results as the page has them."""
    return _parted(page)[1]


def write(page: Path, document: Document) -> None:
    """Put the results between the markers of the page.

    Raises:
        SystemExit: the page has no such markers.
    """
    before, _, after = _parted(page)
    files.write(page, lambda partial: partial.write_text(f"{before}{text(document)}{after}"))


def _parted(page: Path) -> tuple[str, str, str]:
    """What stands before, between and behind the markers."""
    before, begin, rest = page.read_text().partition(f"{BEGIN}\n")
    between, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no lines {BEGIN} and {END}. Restore them, or give another --page")
    return before + begin, between, end + after


def text(document: Document) -> str:
    """All tables and sentences."""
    sections = [_beginning(document), _verdicts(document), _first(document), _third(document), _fourth(document)]
    sections += [_fifth(document), _sixth(document), _evaluated(document), _networks(document), _costs(document)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _beginning(document: Document) -> str:
    same = (
        "The claims above are those of the first run."
        if document["claims_as_planned"]
        else ("**The claims above were changed after the first run began.**")
    )
    begun, judged = (dict(line.split(maxsplit=1) for line in document[key]) for key in ("begun", "judged"))
    return (
        f"Written by `python benchmarks/proof.py --stage judge` from the files in `benchmarks/results/proof/`. {same} "
        f"Begun on {begun['date']} at commit {begun['commit']}; judged on {judged['date']} at commit "
        f"{judged['commit']}; {judged['machine']}."
    )


def _verdicts(document: Document) -> str:
    first, second, fourth, fifth = (document[key] for key in ("C1", "C2", "C4", "C5"))
    rows = [
        ("C1, points at equal energy", _with_interval(first), "at least 1", first["verdict"]),
        ("C2, factor of energy at equal accuracy", _with_interval(second, 2), "at least 1.25", second["verdict"]),
        ("C4, points on test after full training", _of_pairs(fourth), "above 0", fourth["verdict"]),
        ("C5, points of optimism", _with_interval(fifth), "0 to 3", fifth["verdict"]),
    ]
    return _table(("claim", "measured (95 % interval)", "margin", "verdict"), rows)


def _of_pairs(claim: Document) -> str:
    return "; ".join(_with_interval(pair) for pair in claim["pairs"]) or "no pair"


def _first(document: Document) -> str:
    first, second = document["C1"], document["C2"]
    if first["smallest"] is None or second["smallest"] is None:
        return "Found and published networks cover no energies or no accuracies together."
    return (
        f"At energies from {_energy(first['from_mj'])} to {_energy(first['to_mj'])}, the found networks are between "
        f"{first['smallest']:+.1f} and {first['largest']:+.1f} points better than the published ones, and better at "
        f"{first['share_better']:.0%} of these energies. At accuracies from {second['from']:.1f} to {second['to']:.1f} "
        f"%, the published networks need between {second['smallest']:.2f} and {second['largest']:.2f} times their "
        f"energy, and more at {second['share_better']:.0%} of these accuracies."
    )


def _third(document: Document) -> str:
    third = document["C3"]
    rows = [
        (name, _with_interval(own), _with_interval(third["differences"].get(name, _NOTHING)))
        for name, own in third["hypervolumes"].items()
    ]
    above = f"C3, hypervolume above {third['reference_accuracy']:.1f} % and below {_energy(third['reference_mj'])}"
    return f"{above}, in points times decades:\n\n" + _table(("study", "hypervolume", "the search has more"), rows)


def _fourth(document: Document) -> str:
    fourth, rows = document["C4"], []
    for pair in fourth["pairs"]:
        for role in ("found", "published"):
            own = pair[role]
            tests = ", ".join(f"{value:.2f}" for value in own["test"]) or "not run"
            figures = (f"{own['parameters']:,}", _energy(own["energy_mj"]), f"{own['confirmed']:.1f}", tests)
            rows.append((role, own["network"], *figures, _number(own["test_mean"], 2)))
    headings = ("", "network", "parameters", "energy", "report-val, %", "test by seed, %", "mean")
    more = any(pair["needs_more_energy"] for pair in fourth["pairs"])
    sentence = " A found network needs more energy than its partner, as no published one needs as much." if more else ""
    tau = f"Kendall's tau between report-val and test of these networks: {_number(fourth['tau'], 2)}.{sentence}"
    return "C4, pairs trained in full:\n\n" + _table(headings, rows) + f"\n\n{tau}" if rows else ""


def _fifth(document: Document) -> str:
    fifth = document["C5"]
    return (
        f"By search-val of seed 0 alone, C1 would be {_number(fifth['C1_by_search_val'], 1)} points and C2 a factor of "
        f"{_number(fifth['C2_by_search_val'], 2)}."
    )


def _sixth(document: Document) -> str:
    rows = [
        (
            f"{row['trial']}",
            row["network"],
            f"{row['bits']}",
            _number(row["points"], 1),
            _number(row["energy_multiplied"], 2),
            _number(row["energy_as_spikes"], 2),
        )
        for row in document["C6"]
    ]
    headings = ("trial", "network", "bits", "points", "energy, multiplied", "energy, as integer spikes")
    above = "C6, quantised counterparts less, or divided by, their spiking networks:"
    return f"{above}\n\n" + _table(headings, rows) if rows else "C6: no quantised counterpart has been trained."


def _evaluated(document: Document) -> str:
    rows = [
        (
            row["network"],
            f"{row['trained_at']}",
            f"{row['time_steps']}",
            f"{row['image_size']}",
            _number(row["accuracy"], 2),
            _energy(row["energy_mj"]),
        )
        for row in document["evaluated"]
    ]
    headings = ("network", "trained at T", "T", "pixels", "test, %", "energy")
    above = "One training of each network, with other numbers of time steps and image sizes:"
    return f"{above}\n\n" + _table(headings, rows) if rows else ""


def _networks(document: Document) -> str:
    rows = [
        (
            row["study"],
            f"{row['trial']}",
            row["group"],
            row["network"],
            f"{row['search_val']:.1f}",
            f"{row['accuracy']:.1f}",
            _energy(row["energy_mj"]),
        )
        for row in document["networks"]
    ]
    noise = document["noise"]
    scatter = (
        f"Confirmed networks. Between seeds, accuracy scatters by {_number(noise['accuracy_sd'], 2)} points "
        f"({noise['degrees_of_freedom']} degrees of freedom):"
    )
    headings = ("study", "trial", "group", "network", "search-val of seed 0, %", "report-val, %", "energy")
    return f"{scatter}\n\n" + _table(headings, rows)


def _costs(document: Document) -> str:
    rows = []
    for name, own in document["stages"].items():
        planned, real = own["planned"], own["real"]
        images = (f"{planned['images']:,.0f}", f"{real['images']:,.0f}")
        rows.append((name, *images, f"{planned['hours']:.2f}", f"{real['hours']:.2f}"))
    return "Costs:\n\n" + _table(("stage", "images planned", "images", "hours planned", "hours"), rows)


_NOTHING: Document = {"value": None, "low": None, "high": None}


def _with_interval(own: Document, digits: int = 1) -> str:
    if own["value"] is None:
        return "-"
    value = f"{own['value']:.{digits}f}"
    return value if own["low"] is None else f"{value} ({own['low']:.{digits}f} to {own['high']:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _energy(millijoules: float | None) -> str:
    return "-" if millijoules is None else f"{1000 * millijoules:.3g} µJ"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
