"""What `evaluate` measured at several time steps and image sizes, as a figure: accuracy and costs against T."""

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas import files
from nas.errors import OutputError
from nas.full_training import Evaluation
from nas.reports.figure import STYLE, plain, save
from nas.stats import wilson

FORMATS = (".svg", ".png", ".pdf")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")  # Okabe and Ito's
_MARKERS = "os^Dv*P"


def write(evaluations: Sequence[Evaluation], path: Path) -> Path:
    """Draw into a file in the format that its suffix names.

    Raises:
        OutputError: another suffix than `FORMATS`, or the file cannot be written.
    """
    check(path)
    drawn = figure(evaluations)
    return files.write(path, lambda partial: save(drawn, partial))


def check(path: Path) -> None:
    """
    Raises:
        OutputError: a suffix that names none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"{path} must be a figure, with one of the suffixes {', '.join(FORMATS)}")


def figure(evaluations: Sequence[Evaluation]) -> Figure:
    """Top-1 accuracy with its interval over images, energy and spike operations, each against T.

    A line joins the evaluations of one network at one image size. A silent network has no energy: its line has a gap.
    """
    with matplotlib.rc_context(STYLE):
        return _drawn(evaluations)


def _drawn(evaluations: Sequence[Evaluation]) -> Figure:
    fig = Figure(figsize=(7.2, 3.0), layout="constrained")
    accuracy, energy, operations = (fig.add_subplot(1, 3, i + 1) for i in range(3))
    images = sorted({one.scores.images for one in evaluations})
    count = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    parts = ", ".join(sorted({one.part for one in evaluations}))
    names = list(dict.fromkeys(one.name for one in evaluations))
    whose = _shortened(names[0]) if len(names) == 1 else f"{len(names)} networks"
    convention = evaluations[0].convention
    title = f"{whose}: {count} images of {parts}, the same weights at every T; energy by convention '{convention}'"
    fig.suptitle(title, fontsize=8, parse_math=False)
    energies = [one.energy_mj for one in evaluations if one.energy_mj]
    factor, unit = _unit([mj * 1e-3 for mj in energies], "J")
    factor_of_operations, prefix = _unit([one.spike_operations for one in evaluations if one.spike_operations], "")
    groups = _groups(evaluations)
    for (label, line), color, marker in zip(groups, itertools.cycle(_COLOURS), itertools.cycle(_MARKERS), strict=False):
        style: dict[str, Any] = {"color": color, "marker": marker, "ms": 4, "lw": 1.1}
        steps = [one.config.time_steps for one in line]
        _with_interval(accuracy, steps, line, style, label if len(groups) > 1 or len(names) > 1 else "")
        energy.plot(steps, [_scaled(one.energy_mj, 1e-3 / factor) for one in line], **style)
        operations.plot(steps, [_scaled(one.spike_operations, 1 / factor_of_operations) for one in line], **style)
    accuracy.set_ylabel("top-1 accuracy (%), 95 % over images")
    energy.set_ylabel(f"energy per image ({unit})")
    operations.set_ylabel(f"spike operations per image ({prefix})" if prefix else "spike operations per image")
    ticks = sorted({one.config.time_steps for one in evaluations})
    for axes in (accuracy, energy, operations):
        axes.set(xlabel="time steps T", xticks=ticks)
        axes.grid(alpha=0.25, lw=0.5)
    for axes in (energy, operations):
        axes.set_ylim(bottom=0)
    if accuracy.get_legend_handles_labels()[1]:
        fig.legend(loc="outside lower center", ncols=4, fontsize=7, frameon=False)
    return fig


def _groups(evaluations: Sequence[Evaluation]) -> list[tuple[str, list[Evaluation]]]:
    """Label and evaluations by rising T, of each network at each image size."""
    several = len({one.name for one in evaluations}) > 1
    lines: dict[tuple[str, int], list[Evaluation]] = {}
    for one in evaluations:
        lines.setdefault((one.name, one.config.stem.image_size), []).append(one)
    return [
        (
            f"{_shortened(name)}, {pixels} px" if several else f"{pixels} x {pixels} pixels",
            sorted(line, key=lambda one: one.config.time_steps),
        )
        for (name, pixels), line in lines.items()
    ]


def _with_interval(axes: Axes, steps: list[int], line: Sequence[Evaluation], style: dict[str, Any], label: str) -> None:
    share = np.asarray([one.scores.top1 for one in line])
    low, high = wilson(share, np.asarray([float(one.scores.images) for one in line]))
    reach = [100 * (share - low).clip(0), 100 * (high - share).clip(0)]
    axes.errorbar(steps, 100 * share, yerr=reach, capsize=2, elinewidth=0.8, label=plain(label) or None, **style)


def _scaled(value: float | None, factor: float) -> float:
    return math.nan if value is None else value * factor


def _unit(values: Iterable[float], unit: str) -> tuple[float, str]:
    """The factor of the prefix that suits the largest value, and the unit with it."""
    largest = max(values, default=0.0)
    prefixes = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
    return next(((factor, prefix + unit) for factor, prefix in prefixes if largest >= factor), (1.0, unit))


def _shortened(name: str) -> str:
    return name if len(name) <= 40 else f"...{name[-37:]}"


__all__ = ["FORMATS", "check", "figure", "write"]
