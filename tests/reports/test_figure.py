"""Figures for papers: as wide as columns are, with embedded fonts, and with labels that do not touch."""

import re
import zlib
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from nas.reports import figure
from nas.reports.contents import Report

WIDTHS = (figure.ONE_COLUMN, figure.TWO_COLUMNS)


def _report(energies_mj: list[float], name: str = "mine", references: int = 0) -> Report:
    """A study whose networks all lie on the front, better the more energy they take."""
    count = len(energies_mj)
    accuracies = [0.5 + 0.4 * i / count for i in range(count)]
    table = pd.DataFrame({"trial": range(count), "status": "complete", "constraints": "", "parameters": range(count)})
    table = table.assign(energy_mj=energies_mj, on_front=True, search_val_accuracy=accuracies)
    table = table.assign(report_val_accuracy=accuracies, reference="")
    table.loc[: references - 1, "reference"] = [f"A published network with a long name {i}" for i in range(references)]
    return Report(name, "measured+repeat", "energy_mj", table, table, [], [], knee=0)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_figure_is_as_wide_as_columns_are(width: float, tmp_path: Path) -> None:
    """IEEE prints columns of 3.5 inches, and 7.16 over both; a PNG has 300 pixels in an inch, a PDF 72 points."""
    drawn = figure.figure(_report([1e-3, 2e-3, 5e-3]), width)
    for kind in ("png", "pdf"):
        figure.save(drawn, tmp_path / f"front.{kind}")
    with Image.open(tmp_path / "front.png") as picture:
        assert picture.width == round(300 * width)
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", (tmp_path / "front.pdf").read_bytes())
    assert float(box) == pytest.approx(72 * width)


def test_fonts_are_embedded_and_none_is_of_type_3(tmp_path: Path) -> None:
    """Streams and objects of the file are compressed."""
    figure.save(figure.figure(_report([1e-3, 2e-3])), tmp_path / "front.pdf")
    content = (tmp_path / "front.pdf").read_bytes()
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.S):
        try:
            content += zlib.decompress(stream)
        except zlib.error:
            continue
    assert b"/FontFile2" in content
    assert b"/Type3" not in content


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "decades", [*(pytest.param(d, marks=pytest.mark.exhaustive) for d in (1, 2.9, 6, 12)), 0.3, 3.1, 20]
)
def test_labels_of_the_energy_axis_do_not_touch(width: float, decades: float) -> None:
    """Whatever the range of energies; their places are asked of matplotlib."""
    energies_mj = [1e-7 * 10 ** (decades * i / 9) for i in range(10)]
    drawn = figure.figure(_report(energies_mj), width)
    (axes,) = drawn.axes
    assert not figure.labels_touch(axes)
    low, high = axes.get_xlim()
    assert sum(low <= mark <= high for mark in axes.get_xticks()) >= 1


def test_labels_that_touch_are_found() -> None:
    (axes,) = figure.figure(_report([1.0, 10.0])).axes
    axes.set_xticks([1.0, 1.01, 10.0])
    assert figure.labels_touch(axes)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_leaves_the_figure(width: float) -> None:
    """Neither a long name, nor the words of the axis, nor a legend of many references."""
    drawn = figure.figure(_report([1e-3 * i for i in range(1, 13)], "a long name of a study " * 4, 6), width)
    (axes,) = drawn.axes
    boxes = [text.get_window_extent() for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
    boxes += [legend.get_window_extent() for legend in drawn.legends]
    page = drawn.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 + 1 and page.y0 <= box.y0 for box in boxes)
