"""A table is filled in the order of its sample, goes on after any end, and may go on from its parts alone."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas import tables
from nas.errors import StudyError, TableError
from nas.progress import Observer
from nas.spaces import load_space
from nas.tables import forecast, journal, parts, running
from nas.tables.parts import Parts
from tests.helpers import Heard
from tests.tables.conftest import NETWORKS, SEEDS, SHARES, TINY, Tiny

Trained = list[tuple[str, float, int]]


class Stop(Observer):
    """Interrupts before a training."""

    def __init__(self, trainings: int) -> None:
        self.left = trainings

    def on_training_start(self, label: str, epochs: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def _run(tiny: Tiny, folder: Path, networks: int = NETWORKS, seeds: int = SEEDS, **settings: Any) -> str:
    place: dict[str, Any] = {"device": "cpu", "results_dir": folder / "results", "observer": Observer()}
    return tables.run(tiny.path, networks, seeds, SHARES, **place | settings)


def _bytes(folder: Path, name: str = "micro") -> bytes:
    return tables.export(name, folder, results_dir=folder / "results").read_bytes()


def test_trainings_go_network_by_network(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    _run(tiny, tmp_path)
    ids = list(dict.fromkeys(identity for identity, _, _ in pretended))
    assert pretended == [(i, share, seed) for i in ids for seed in range(SEEDS) for share in SHARES]
    assert _bytes(tmp_path) == tiny.file.read_bytes()


def test_more_networks_and_seeds_are_added(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    """As when the first networks of a large table get more seeds later."""
    _run(tiny, tmp_path, 1, 1)
    _run(tiny, tmp_path, 3, 1)
    _run(tiny, tmp_path, 2, 2)
    assert len(pretended) == len(set(pretended)) == 10
    assert {seed for identity, _, seed in pretended if identity == pretended[-1][0]} == {0, 1}
    _run(tiny, tmp_path)
    assert _bytes(tmp_path) == tiny.file.read_bytes()


@pytest.mark.parametrize("after", [0, 1, 5])
def test_interrupted_it_goes_on(tiny: Tiny, tmp_path: Path, pretended: Trained, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(tiny, tmp_path, observer=Stop(after), parts=tmp_path / "parts")
    assert len(pretended) == after
    in_parts = [len(tables.load(path).keys) for path in sorted((tmp_path / "parts").glob("*"))]
    assert in_parts == ([after] if after else [])
    _run(tiny, tmp_path)
    assert len(pretended) == 12
    assert _bytes(tmp_path) == tiny.file.read_bytes()


def test_it_goes_on_from_the_parts_alone(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    """results/ is deleted in the middle, twice; the end equals a table that was never interrupted."""
    for after in (3, 4):
        with pytest.raises(KeyboardInterrupt):
            _run(tiny, tmp_path, observer=Stop(after), parts=tmp_path / "parts")
        shutil.rmtree(tmp_path / "results")
    heard = Heard()
    _run(tiny, tmp_path, observer=heard, parts=tmp_path / "parts")
    assert "7 trainings were read from the parts in" in heard.text
    assert len(pretended) == len(set(pretended)) == 12
    assert _bytes(tmp_path) == tiny.file.read_bytes()
    merged = tables.merge(tmp_path / "merged" / "micro", sorted((tmp_path / "parts").glob("*")))
    assert merged.read_bytes() == tiny.file.read_bytes()


def test_parts_are_written_for_what_was_trained_without_them(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    _run(tiny, tmp_path, 2)
    _run(tiny, tmp_path, parts=tmp_path / "parts")
    merged = tables.merge(tmp_path / "micro", sorted((tmp_path / "parts").glob("*")))
    assert merged.read_bytes() == tiny.file.read_bytes()


def test_parts_stay_small(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that would be larger than allowed becomes two; a single training is never cut."""
    monkeypatch.setattr(parts, "LARGEST", 4_000)
    contents = tiny.table.contents()
    written = Parts(tmp_path, "micro", contents.settings, contents.signals.get)
    for key, candidate in contents.trainings.items():
        written.add(key, candidate)
    assert list(tmp_path.iterdir()) == []
    written.flush()
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths][:2] == ["part-0001.safetensors.gz", "part-0002.safetensors.gz"]
    assert all(path.stat().st_size <= 4_000 or len(tables.load(path).keys) == 1 for path in paths)
    assert written.read() == contents


def test_fifty_trainings_or_ten_minutes_make_a_part(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = tiny.table.contents()
    monkeypatch.setattr(parts, "_EACH", 5)
    written = Parts(tmp_path, "micro", contents.settings, contents.signals.get)
    for key, candidate in contents.trainings.items():
        written.add(key, candidate)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(parts, "_EVERY_S", -1.0)
    written.add(*next(iter(contents.trainings.items())))
    assert len(list(tmp_path.iterdir())) == 3


def test_foreign_and_damaged_parts_are_refused(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    _run(tiny, tmp_path, parts=tmp_path / "parts")
    shutil.rmtree(tmp_path / "results")
    with pytest.raises(TableError, match=r"part-0001.* other settings \(seed differ\)\. Restore the settings, or give"):
        _run(tiny, tmp_path, seed=1, parts=tmp_path / "parts")
    path = tmp_path / "parts" / "part-0001.safetensors.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(TableError, match="is cut off"):
        _run(tiny, tmp_path / "again", parts=tmp_path / "parts")


def test_other_settings_are_refused(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    _run(tiny, tmp_path, 1, 1)
    with pytest.raises(StudyError, match=r"other settings \(seed differ\)"):
        _run(tiny, tmp_path, seed=1)
    other = tmp_path / "micro.toml"
    other.write_text(TINY.replace("epochs = 1", "epochs = 2"))
    with pytest.raises(StudyError, match=r"other settings \(recipe\.epochs differ\)"):
        tables.run(other, 1, results_dir=tmp_path / "results", device="cpu", observer=Observer())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"networks": 0}, "networks 0 must be at least 1"),
        ({"networks": 13}, "has 12 networks, but --networks asks for 13"),
        ({"seeds": 0}, "seeds 0 must be between 1 and 1000"),
        ({"shares": (0.5,)}, r"shares 0\.5 must be rising numbers above 0, and the last must be 1"),
        ({"shares": (1, 0.5)}, r"shares 1, 0\.5 must be rising"),
        ({"shares": ()}, "shares none must be rising"),
        ({"shares": (0.99, 1)}, r"shares 0\.99, 1 are \[40, 40\] images: some are equal"),
        ({"seed": -1}, "seed -1 must be between 0 and"),
        ({"name": "../mine"}, "cannot name a file"),
    ],
)
def test_bad_settings_are_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("nas.tables.sampling._macs", lambda config: config.stages[0].embed_dim)
    asked: dict[str, Any] = {"space": tiny.path, "networks": 1, "shares": SHARES}
    place: dict[str, Any] = {"device": "cpu", "results_dir": tmp_path, "observer": Observer()}
    with pytest.raises(TableError, match=message):
        tables.run(**{**asked, **settings, **place})


def test_the_plan_and_the_time_are_told_first(
    tiny: Tiny, tmp_path: Path, pretended: Trained, usual_pace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    monkeypatch.setattr(forecast, "_TELL_S", -1.0)
    _run(tiny, tmp_path, 2, 1, observer=heard)
    lines = heard.text.splitlines()
    assert "Plan: 2 networks, 4 trainings, of which 4 remain, network by network; 120 images in all." in lines
    assert any(line.startswith("At the speed measured here, that takes about ") for line in lines)
    assert "100 images of training remain, about 1 s." in lines
    again = Heard()
    _run(tiny, tmp_path, 3, 1, observer=again)
    assert "Plan: 3 networks, 6 trainings, of which 2 remain, network by network; 60 images in all." in again.text
    assert "At the speed measured here" in again.text


@pytest.mark.exhaustive  # in CI processes train what one process trains, with the same dispatcher
def test_two_workers_train_the_same_table(tiny: Tiny, tmp_path: Path) -> None:
    """Two processes; a training in either has the numbers of one here."""
    _run(tiny, tmp_path, 1, 1, workers=2)
    ours = tables.load(tables.export("micro", results_dir=tmp_path / "results"))
    assert len(ours.keys) == 2
    for key in ours.keys:
        one, other = (table.candidate(key.config_id, key.share, key.seed) for table in (ours, tiny.table))
        # The workers measure in more batches than tests do.
        plain: dict[str, Any] = {"provenance": {}, "energy_error": None}
        assert _but_calls(dataclasses.replace(one, **plain)) == _but_calls(dataclasses.replace(other, **plain))


def _but_calls(candidate: Any) -> Any:
    return dataclasses.replace(
        candidate, operations=tuple(dataclasses.replace(op, calls=0) for op in candidate.operations)
    )


def test_a_journal_is_found_by_its_name(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    with pytest.raises(TableError, match=r'no table "micro" is in .*tables\. Begin one with `table run`'):
        tables.export("micro", results_dir=tmp_path / "results")
    _run(tiny, tmp_path, 1, 1, name="mine")
    with pytest.raises(TableError, match=r'no table "mime" is in .* Did you mean "mine"'):
        tables.export("mime", results_dir=tmp_path / "results")
    path = tables.export("mine", results_dir=tmp_path / "results")
    assert path.parent == journal.folder_of(tmp_path / "results", "mine")
    assert path.name.startswith("mine.")


def test_a_table_without_trainings_is_not_written(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(tiny, tmp_path, observer=Stop(0))
    with pytest.raises(TableError, match=r"table micro has no training yet\. Run `table run` first"):
        tables.export("micro", results_dir=tmp_path / "results")


def test_damaged_signals_in_a_journal_are_measured_again(tiny: Tiny, tmp_path: Path, pretended: Trained) -> None:
    _run(tiny, tmp_path, 1, 1)
    path = tmp_path / "results" / "tables" / "micro" / "journal.log"
    text = path.read_text()
    (line,) = [line for line in text.splitlines() if "signals:" in line]
    values = json.loads(line)
    name = next(iter(values["user_attr"]))
    values["user_attr"][name] = ["damaged"]
    path.write_text(text.replace(line, json.dumps(values)))
    _run(tiny, tmp_path)
    assert _bytes(tmp_path) == tiny.file.read_bytes()


def test_the_plan_of_a_table_is_a_list_of_runs(tiny: Tiny) -> None:
    space = load_space(tiny.path)
    planned = running.plan([tiny.first], space, 1, SHARES)
    assert [(run.share, run.seed, run.label) for run in planned] == [
        (0.5, 0, f"{tiny.first.config_id}, 50% of the training, seed 0"),
        (1.0, 0, f"{tiny.first.config_id}, 100% of the training, seed 0"),
    ]
