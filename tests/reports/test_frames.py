"""What a reader of a study on recordings of an event camera is told and shown."""

import html
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.bundles import bundle as bundles
from nas.costs import energy
from nas.exports import exporting
from nas.progress import Observer
from nas.reports import contents, frames, glossary, inspection, page
from nas.searching import opening
from nas.settings import DataSettings
from nas.studies import ShownFrames
from nas.studies.study import Study
from tests import recordings
from tests.conftest import MICRO

pytestmark = pytest.mark.usefixtures("trained_once")
PER_CLASS = 12


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Of two classes, whose events lie left and right of a sensor of 8 x 8 pixels, and of two times of T."""
    folder = tmp_path_factory.mktemp("study")
    for label, name in enumerate(("left", "right")):
        for i in range(PER_CLASS):
            events = [(t, x // 2 + 4 * label, y, p) for t, x, y, p in recordings.made(60, 8, 8, seed=2 * i + label)]
            recordings.write(folder / "data" / "train" / name / f"{i:02}.npz", events)
    text = MICRO.replace("stem.in_channels = 1", "stem.in_channels = 2").replace("num_classes = 10", "num_classes = 2")
    text = text.replace('dataset = "digits"', 'dataset = "event_folder"\nsensor = [8, 8]').replace("= 200", "= 0")
    text = text.replace("_val = 0.1", "_val = 0.25").replace("num_heads = [1, 2]", "time_steps = [2, 3]")
    (folder / "micro.toml").write_text(text)
    torch.set_num_threads(1)
    results = folder / "results"
    return opening.search(folder / "micro.toml", 2, results_dir=results, data_dir=folder / "data", observer=Observer())


@pytest.fixture(scope="module")
def written(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    page.write(contents.build(study), folder, latex=True)
    return folder


def _texts(folder: Path) -> dict[str, str]:
    """The report as a reader sees it: without styles, scripts and attributes, but with the data of the charts."""
    whole = (folder / "report.html").read_text()
    data = re.search(r'id="data">(.*?)</script>', whole, re.DOTALL)
    assert data is not None
    shown = re.sub(r"<(style|script).*?</\1>", "", whole, flags=re.DOTALL)
    return {
        "page": html.unescape(re.sub(r"<[^>]+>", " ", shown)),
        "data": data[1],
        "markdown": (folder / "report.md").read_text(),
    }


def test_no_sentence_of_a_report_on_recordings_is_about_images(written: Path) -> None:
    texts = _texts(written) | {"latex": (written / "front.tex").read_text()}
    for name, text in texts.items():
        assert re.findall(r"[^.|]*(?:\b[Ii]mages?\b|ImageNet)[^.|]*", text) == [], name
    for sentence in (
        "Recordings: event_folder (fingerprint",
        "12 to train on, 6 for search-val, 6 for report-val, cut from the training recordings",
        "No test recording was read.",
        "a count of n costs as much as n spikes",
        "of unseen recordings right at",
    ):
        assert sentence in texts["markdown"]


def test_cards_and_inspections_are_of_recordings(study: Study, tmp_path: Path) -> None:
    trial = next(iter(study.front()))
    (folder,) = exporting.export(study, str(trial), tmp_path)
    card = (folder / "card.md").read_text()
    assert re.search(r"\b[Ii]mages?\b|ImageNet", card) is None
    assert "| energy per recording," in card
    assert "counted on 6 recordings: per recording" in str(inspection.costs(study, trial).table().title)


def test_an_exported_folder_says_how_its_recordings_were_cut(study: Study, tmp_path: Path) -> None:
    """JSON has lists where settings have tuples: the sensor, as well as the classes."""
    (folder,) = exporting.export(study, str(next(iter(study.front()))), tmp_path)
    cut, seed = bundles.read(folder).cut
    assert (cut, seed) == (DataSettings("event_folder", 0.25, 0.25, sensor=(8, 8)), 0)


@pytest.mark.parametrize(
    ("convention", "words"),
    [
        ("measured", "a count of n costs as much as n spikes"),
        ("measured_single", "a count that is not 0 costs as much as one spike"),
        ("measured_mac", "a count that is not 0 costs a multiplication with its addition"),
        ("paper", "the mean count times the dense accumulates"),
        ("paper_strict", "the whole layer as dense multiplications"),
    ],
)
def test_each_convention_says_what_a_count_costs(study: Study, convention: str, words: str) -> None:
    """As the table and the paragraph below it in docs/costs.md say."""
    (sentence,) = [s for s in contents.build(study, energy.convention(convention)).methods if "first layer" in s]
    assert words in sentence


def test_a_study_keeps_frames_of_each_class_at_the_fewest_time_steps(study: Study) -> None:
    """The classes have their events in halves of the sensor, and nothing is lost: 60 events a recording."""
    left, right = contents.build(study).preview
    assert (left.label, right.label) == ("left", "right")
    assert left.counts.shape == right.counts.shape == (2, 2, 8, 8)
    assert (left.counts.sum(), right.counts.sum()) == (60, 60)
    assert left.counts[..., 4:].sum() == right.counts[..., :4].sum() == 0


def test_the_page_shows_a_picture_for_each_time_step(written: Path) -> None:
    strips = re.findall(r'<div class="strip"><span>(\w+)</span>(.*?)</div>', (written / "report.html").read_text())
    assert [name for name, _ in strips] == ["left", "right"]
    assert [picture.count("<rect") for _, picture in strips] == [2, 2]
    assert "What networks are fed: frames" in _texts(written)["page"]


def test_a_picture_by_hand() -> None:
    """The strongest colour is that of 4 events; one event has a quarter of it. The second step is 4 places on."""
    counts = np.zeros((2, 2, 2, 2), np.uint8)
    counts[0, 1, 0, 1], counts[1, 0, 1, 0] = 4, 1
    drawn = frames.svg(ShownFrames('<"cat">', 1, counts))
    assert 'aria-label="2 frames of a recording of class &lt;&quot;cat&quot;&gt;"' in drawn
    assert re.findall(r'<path class="(\w+)" opacity="([\d.]+)" d="([^"]+)"', drawn) == [
        ("on", "1", "M1 0h1v1h-1z"),
        ("off", "0.25", "M4 1h1v1h-1z"),
    ]
    assert "sum of 2 x 2 pixels" in frames.in_words(ShownFrames("cat", 2, counts))
    assert "<path" not in frames.svg(ShownFrames("nothing", 1, 0 * counts))


def test_the_glossary_of_recordings_has_no_images_and_each_word_once() -> None:
    entries = glossary.entries("recording")
    names = [entry.name.lower() for entry in entries]
    assert names == sorted(set(names))
    assert {"event", "frame", "polarity", "recording", "test recordings"} <= set(names)
    assert not [entry for entry in entries if re.search("[Ii]mage", f"{entry.name} {entry.meaning}")]
    assert {"event", "recording"}.isdisjoint(entry.name for entry in glossary.entries())
