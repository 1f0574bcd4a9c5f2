"""What `validate-proxy` found: tables, a page of Markdown, a figure, and the TOML that `search --proxy` reads."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from nas import files
from nas.costs import energy
from nas.replicates import (
    GATE_RECALL,
    GATE_TAU,
    Noise,
    Quality,
    Validation,
    against_printed,
    energy_mj,
    noise,
    promoted_at,
    proxy_toml,
    quality,
    recommended,
    thirds,
)
from nas.stats import Interval, enough

_CLASSES = ("cheap", "middle", "dear")


def write(validation: Validation) -> tuple[list[Path], list[str]]:
    """Write what was found into the validation's folder; each file appears whole.

    Returns:
        The files, and sentences for the terminal.
    """
    if validation.against == "published":
        return _write_against_published(validation)
    qualities = [quality(validation, share) for share in validation.shares]
    seed_noise, chosen = noise(validation), recommended(qualities)
    findings = sentences(validation, qualities, seed_noise)
    text = markdown(validation, qualities, seed_noise, findings)
    folder = validation.folder
    written = [
        files.write(folder / "report.md", lambda path: path.write_text(text, encoding="utf-8")),
        files.write(folder / "networks.csv", lambda path: networks(validation).to_csv(path, index=False)),
        files.write(folder / "quality.csv", lambda path: table(qualities).to_csv(path, index=False)),
        files.write(folder / "proxy.png", lambda path: figure(validation).savefig(path, dpi=150)),
        files.write(folder / "proxy.toml", lambda path: path.write_text(proxy_toml(validation, chosen))),
    ]
    return written, findings


def networks(validation: Validation) -> pd.DataFrame:
    """A row a network: accuracy and energy under every convention, at every share."""
    rows = []
    for i, (network, third) in enumerate(zip(validation.networks, thirds(validation), strict=True)):
        row = {"network": network.name, "config_id": network.config.config_id, "macs": network.macs}
        row |= {"cost": _CLASSES[third]} | ({"printed": network.printed} if network.printed is not None else {})
        for share, records in validation.trained.items():
            c = records[i]
            row |= {f"search_val_accuracy_{share:g}": c.search_val_accuracy, f"status_{share:g}": c.status}
            for name in energy.names():
                row[f"energy_mj_{name}_{share:g}"] = energy_mj(c, name)
        again = validation.again.get(i)
        rows.append(row | {"search_val_accuracy_1_again": again.search_val_accuracy if again else None})
    return pd.DataFrame(rows)


def table(qualities: list[Quality]) -> pd.DataFrame:
    """A row a share; of each figure the estimate and its interval."""
    rows = []
    for q in qualities:
        row: dict[str, object] = {"share": q.share, "passes": q.passes}
        figures = {"tau": q.tau, "tau_within": q.tau_within, "tau_top_third": q.tau_top}
        figures |= {f"tau_{name}": tau for name, tau in zip(_CLASSES, q.tau_thirds, strict=True)}
        figures |= {f"tau_energy_{name}": tau for name, tau in q.tau_energy.items()}
        figures |= {f"recall_{name}": recall for name, recall in q.recall.items()}
        for name, interval in figures.items():
            row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row)
    return pd.DataFrame(rows)


def sentences(validation: Validation, qualities: list[Quality], seed_noise: Noise | None) -> list[str]:
    chosen = recommended(qualities)
    count = len(validation.networks)
    if chosen is None:
        best = max(qualities, key=lambda q: q.tau_within.value if q.tau_within.value == q.tau_within.value else -2)
        size = enough(best.tau_within.value, GATE_TAU)
        more = f", or validate on more: should its tau stay, about {size} are enough for its bound" if size else ""
        findings = [
            f"No share passes: of {count} networks the lower bounds must reach tau {GATE_TAU:g} within thirds of cost "
            f"and recall {GATE_RECALL:g}. The nearest, {best.share:.0%}, has tau {_words(best.tau_within)} and recall "
            f"{_words(best.recall['measured'])}. Train every network in full{more}."
        ]
    else:
        findings = [
            f"The cheapest training that may prune is {chosen.share:.0%} of the whole: tau within thirds of cost "
            f"{_words(chosen.tau_within)}, recall of the front {_words(chosen.recall['measured'])}, {count} networks."
        ]
    if seed_noise is None:
        return [*findings, "Without replicates the noise between seeds is unknown: give --replicates."]
    findings.append(
        f"Ceiling: two seeds of the whole training agree with tau {_words(seed_noise.tau)} on "
        f"{seed_noise.networks} networks; search-val accuracy scatters by {100 * seed_noise.deviation:.2f} points "
        "between seeds."
    )
    if not seed_noise.flips:  # a table has trainings at one learning rate
        return findings
    flips = [f"{wrong} of {pairs} at {factor:g} times" for factor, (wrong, pairs) in seed_noise.flips.items()]
    return [*findings, f"Pairs that another learning rate orders otherwise, beyond seed noise: {', '.join(flips)}."]


def markdown(validation: Validation, qualities: list[Quality], seed_noise: Noise | None, findings: list[str]) -> str:
    images = [records[0].images_seen for records in validation.trained.values()]
    lines = [
        f"# Proxies of {validation.name}",
        "",
        *findings,
        "",
        "![proxy against full](proxy.png)",
        "",
        "## Accuracy",
        "",
    ]
    headings: tuple[str, ...] = ("share", "images", "tau", "within thirds", *_CLASSES, "top third", "passes")
    rows: list[tuple[str, ...]] = [
        (
            f"{q.share:.0%}",
            f"{seen:,}",
            *map(_words, (q.tau, q.tau_within, *q.tau_thirds, q.tau_top)),
            "yes" if q.passes else "no",
        )
        for q, seen in zip(qualities, images, strict=False)
    ]
    lines += [*_table(headings, rows), "", "## Energy, and recall of the front, by convention", ""]
    headings = ("share", *(f"tau, {name}" for name in energy.names()), *(f"recall, {name}" for name in energy.names()))
    rows = [(f"{q.share:.0%}", *map(_words, (*q.tau_energy.values(), *q.recall.values()))) for q in qualities]
    lines += [*_table(headings, rows), "", "## How", ""]
    epochs, count = validation.epochs, len(validation.networks)
    lines += [
        f"* {count} networks: the space's references, and networks drawn at random of which as many were kept in each "
        "third of dense multiplications, those unlike each other. In brackets 95 % intervals: of drawing networks with "
        "replacement, for tau the wider of that and Fieller's; none for four networks or fewer.",
        f"* The whole training is {epochs} epochs ({images[-1]:,} images); a share has a schedule of its own.",
        "* Kendall's tau-b, of search-val accuracy. Within thirds: pairs of one third of cost only, since size "
        "alone ranks the rest.",
        "* Recall: of the networks that no other beats in full, in accuracy and energy, the part that a search with "
        "that one rung below the last promotes, by rank of domination: of all networks "
        f"{', '.join(f'{promoted_at(q.share):.0%} at {q.share:.0%}' for q in qualities)}.",
        "* What failed counts as accuracy 0 and the largest energy.",
    ]
    return "\n".join([*lines, ""])


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        f"|{'---|' * len(headings)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _words(interval: Interval) -> str:
    """ "0.62 (0.41 to 0.78)"."""
    if interval.value != interval.value:
        return "none"
    around = f" ({interval.low:.2f} to {interval.high:.2f})" if interval.low == interval.low else ""
    return f"{interval.value:.2f}{around}"


def figure(validation: Validation) -> Figure:
    """Accuracy at each share against that in full, by class of cost."""
    shares, strata = validation.shares, thirds(validation)
    fig = Figure(figsize=(3 * len(shares) + 0.6, 3.2), layout="constrained")
    for i, share in enumerate(shares):
        axes = fig.add_subplot(1, len(shares), i + 1)
        for third, (marker, color) in enumerate((("o", "#0072b2"), ("s", "#e69f00"), ("^", "#d55e00"))):
            mine = [n for n, of in enumerate(strata) if of == third]
            x = [100 * (validation.trained[share][n].search_val_accuracy or 0) for n in mine]
            y = [100 * (validation.trained[1.0][n].search_val_accuracy or 0) for n in mine]
            axes.scatter(x, y, s=22, marker=marker, color=color, label=_CLASSES[third])
        axes.set(xlabel=f"search-val after {share:.0%} (%)", ylabel="search-val in full (%)" if i == 0 else "")
        axes.grid(alpha=0.25)
        if i == 0:
            axes.legend(title="dense cost", fontsize=8)
    return fig


def _write_against_published(validation: Validation) -> tuple[list[Path], list[str]]:
    forecasts = against_printed(validation)
    by = {foretold.by: foretold for foretold in forecasts}
    whole, size = by["100% of the training"], by["no training: parameters in print"]
    findings = [
        f"Proxies of {len(validation.networks)} published networks, made small, rank as their printed ImageNet top-1 "
        f"with Kendall's tau {_words(whole.tau)} after the whole training, {_words(whole.tau_within)} within families.",
        f"Their printed number of parameters alone, without any training, has {_words(size.tau)}, "
        f"{_words(size.tau_within)} within families.",
    ]
    lines = [f"# Proxies of {validation.name} against printed accuracies", "", *findings, ""]
    rows = [(foretold.by, _words(foretold.tau), _words(foretold.tau_within)) for foretold in forecasts]
    lines += _table(("ranked by", "tau", "within families"), rows)
    lines += [
        "",
        *_table(("network", "printed (%)", "proxy, search-val (%)", "dense MACs"), _published_rows(validation)),
    ]
    lines += ["", "What else differs, so that no tau of 1 can be expected:", "", *(f"* {c}" for c in _CONFOUNDS), ""]
    text, folder = "\n".join(lines), validation.folder
    written = [
        files.write(folder / "report.md", lambda path: path.write_text(text, encoding="utf-8")),
        files.write(folder / "networks.csv", lambda path: networks(validation).to_csv(path, index=False)),
    ]
    return written, findings


def _published_rows(validation: Validation) -> list[tuple[str, ...]]:
    return [
        (n.name, f"{n.printed:.2f}", f"{100 * (c.search_val_accuracy or 0):.1f}", f"{n.macs:,}")  # pyrefly: ignore[invalid-format-spec]
        for n, c in zip(validation.networks, validation.trained[1.0], strict=True)
    ]


_CONFOUNDS = (
    "the authors trained by recipes of their own: epochs, augmentation, teachers, image sizes",
    "small images and few classes: what pays on ImageNet need not pay here",
    "made narrow and shallow, networks that differ in depth only become one (equal figures)",
    "families differ in more than one thing, and networks of one family are no independent witnesses: the interval is "
    "too narrow",
    "one seed a network",
)


__all__ = ["figure", "markdown", "networks", "sentences", "table", "write"]
