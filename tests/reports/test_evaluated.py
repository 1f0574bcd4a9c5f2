"""The figure of `evaluate` at several time steps and image sizes."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.errors import OutputError
from nas.full_training import loop
from nas.full_training.evaluation import Evaluation, Scores
from nas.reports import evaluated
from tests import pictures
from tests.conftest import Run
from tests.helpers import thinned


def _evaluations() -> list[Evaluation]:
    """T = 4, 1, 2 at 16 and 24 pixels; 50 of 100 images right at T = 1; silent at T = 4 and 24 pixels."""
    found = []
    for pixels in (16, 24):
        for steps, right, mj in ((4, 80, 4e-3), (1, 50, 1e-3), (2, 70, 2e-3)):
            network = pictures.network()
            stem = dataclasses.replace(network.stem, image_size=pixels)
            config = dataclasses.replace(network, time_steps=steps, stem=stem)
            silent = (steps, pixels) == (4, 24)
            energy_mj, operations = (None, None) if silent else (mj * pixels / 16, 1000.0 * steps)
            scores = Scores(right / 100, 0.9, 100, right / 100)
            words = "its head sees the same" if silent else None
            found.append(Evaluation("net", config, scores, 7, "measured", energy_mj, operations, 0.0, words, "val"))
    return found


def _lines(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Points of each line, by its colour."""
    return {
        str(line.get_color()): list(zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True))
        for line in axes.lines
        if str(line.get_marker()) in evaluated._MARKERS
    }


def test_accuracy_and_costs_are_drawn_against_t() -> None:
    drawn: Figure = evaluated.figure(_evaluations())
    accuracy, energy, operations = drawn.axes
    for axes in drawn.axes:
        assert axes.get_xlabel() == "time steps T"
        assert axes.get_xticks().tolist() == [1, 2, 4]
    assert accuracy.get_ylabel() == "top-1 accuracy (%), 95 % over images"
    assert energy.get_ylabel() == "energy per image (µJ)"
    assert operations.get_ylabel() == "spike operations per image (k)"
    assert list(_lines(accuracy).values()) == [[(1, 50), (2, 70), (4, 80)]] * 2
    small, large = (np.asarray(points)[:, 1] for points in _lines(energy).values())
    assert small == pytest.approx([1, 2, 4])
    assert large[:2] == pytest.approx([1.5, 3])
    assert math.isnan(large[2])
    assert [y for _, y in next(iter(_lines(operations).values()))] == [1, 2, 4]


def test_the_interval_is_wilsons() -> None:
    """50 of 100: 40.4 to 59.6 % (Wilson, JASA 1927; the figures of Agresti and Coull's table)."""
    accuracy = evaluated.figure(_evaluations()).axes[0]
    (bars, *_) = accuracy.containers[0].lines[2]  # pyrefly: ignore[missing-attribute]
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(40.38, abs=0.01), pytest.approx(59.62, abs=0.01))


def test_the_title_says_which_images_and_how_many_and_lines_their_size() -> None:
    drawn = evaluated.figure(_evaluations())
    assert drawn.get_suptitle() == (
        "net: 100 images of val, the same weights at every T; energy by convention 'measured'"
    )
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["16 x 16 pixels", "24 x 24 pixels"]
    several = [dataclasses.replace(one, name=name) for name in ("$a$", "_b") for one in _evaluations()]
    drawn = evaluated.figure(several)
    assert drawn.get_suptitle().startswith("2 networks: ")
    assert [text.get_text() for text in drawn.legends[0].get_texts()][::2] == [r"\$a\$, 16 px", " _b, 16 px"]


@pytest.mark.parametrize("suffix", thinned(evaluated.FORMATS, 3))
def test_the_suffix_decides_the_format(suffix: str, tmp_path: Path) -> None:
    begin = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix]
    path = evaluated.write(_evaluations(), tmp_path / f"figure{suffix}")
    assert path.read_bytes().startswith(begin)
    assert path.read_bytes() == evaluated.write(_evaluations(), tmp_path / f"again{suffix}").read_bytes()


def test_another_suffix_is_refused() -> None:
    with pytest.raises(
        OutputError, match=r"figure\.jpeg must be a figure, with one of the suffixes \.svg, \.png, \.pdf"
    ):
        evaluated.check(Path("figure.jpeg"))


def test_the_command_writes_figure_and_table(tmp_path: Path, run_here: Run) -> None:
    images = pictures.folders(tmp_path / "images")
    loop.train(pictures.bundle(tmp_path, own=pictures.recipe(epochs=1)), images, tmp_path / "trained")
    options = ("--data-dir", str(images), "--time-steps", "1,2", "--plot", "drawn/t.svg", "--csv", "drawn/t.csv")
    done = run_here("evaluate", str(tmp_path / "trained"), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote drawn/t.svg" in done.stdout
    assert "balanced" in done.stdout
    assert "12 of val" in done.stdout
    assert "trained: 12 images of val" in (tmp_path / "drawn" / "t.svg").read_text()
    assert (tmp_path / "drawn" / "t.csv").read_text().count("\n") == 3
    refused = run_here("evaluate", str(tmp_path / "trained"), *options[:4], "--plot", "t.txt", cwd=tmp_path)
    assert refused.returncode == 1
    assert "t.txt must be a figure" in refused.stderr
