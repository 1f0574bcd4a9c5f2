"""All that is stored has the number of its layout: each one of ours opens, a later one is refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import torch

import nas
from nas import tables
from nas.bundles import bundle as bundles
from nas.full_training import checkpoint
from nas.tables import layout
from nas.training import Candidate
from spikformer import SpikformerError, schema
from tests import schema_files
from tests.conftest import Run

NEWER = r"a newer version of spikformer-nas wrote it \(schema \d+, this version reads up to \d+\)\. Upgrade"


def _record(path: Path, _folder: Path) -> Candidate:
    return Candidate.from_dict(json.loads(path.read_text()))


def _study(path: Path, folder: Path) -> nas.Study:
    name = json.loads(path.read_text().splitlines()[0])["study_name"]
    (folder / "results" / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder / "results" / name / "journal.log")
    return nas.load_study(name, results_dir=folder / "results")


def _bundle(path: Path, folder: Path) -> bundles.Bundle:
    (folder / "bundle").mkdir(exist_ok=True)
    shutil.copy(path, folder / "bundle" / "config.json")
    return bundles.read(folder / "bundle")


def _checkpoint(path: Path, _folder: Path) -> checkpoint.Checkpoint:
    return checkpoint.load(path)


def _table(path: Path, _folder: Path) -> tables.Table:
    return tables.load(path)


OPEN: dict[str, Callable[[Path, Path], Any]] = {
    "record": _record,
    "study": _study,
    "bundle": _bundle,
    "checkpoint": _checkpoint,
    "table": _table,
}
EVERY = [(kind, number) for kind in OPEN for number in schema_files.numbers(kind)]


@pytest.mark.parametrize("kind", OPEN)
def test_there_is_a_file_of_every_layout(kind: str) -> None:
    """`python -m tests.schema_files` adds the one of a new number.

    Checkpoints and tables were numbered from the first on.
    """
    first = 1 if kind in ("checkpoint", "table") else 0
    assert schema_files.numbers(kind) == list(range(first, schema_files.TODAY[kind][0] + 1))


@pytest.mark.parametrize(("kind", "number"), EVERY)
def test_every_layout_opens(kind: str, number: int, tmp_path: Path) -> None:
    """Into values of its own, not only without an error."""
    opened = OPEN[kind](schema_files.path_of(kind, number), tmp_path)
    if kind == "record":
        assert opened.status == "complete"
        assert opened.to_dict()[schema.KEY] == schema_files.TODAY[kind][0]
    elif kind == "study":
        assert opened.front()
        assert opened.space.axes
    elif kind == "bundle":
        assert opened.config.config_id
        assert opened.cut[0].search_val > 0
    elif kind == "table":
        assert all(opened.query(network, seed="mean").accuracy > 0 for network in opened.networks)
    else:
        assert opened.steps > 0


@pytest.mark.parametrize("kind", ["record", "bundle"])
def test_what_is_written_today_has_all_fields_of_its_layout(kind: str, tmp_path: Path) -> None:
    """A field may be added under the same number; one that goes, or means something else, takes another."""
    recorded = json.loads(schema_files.path_of(kind, schema_files.TODAY[kind][0]).read_text())
    opened = OPEN[kind](schema_files.path_of(kind, schema_files.TODAY[kind][0]), tmp_path)
    if kind == "record":
        written = opened.to_dict()
    else:
        bundles.write(tmp_path / "again", opened.document, opened.recipe, "a card", {})
        written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert recorded.keys() - {"sha256"} <= written.keys()
    assert written[schema.KEY] == recorded[schema.KEY]


def _numbered(kind: str, number: object, folder: Path) -> Path:
    """A copy of today's file with another number, and a part that no version knows."""
    source = schema_files.path_of(kind, schema_files.TODAY[kind][0])
    path = folder / source.name
    if kind == "checkpoint":
        torch.save(torch.load(source, weights_only=True) | {"format": number, "novelty": 1}, path)
    elif kind == "table":
        data = source.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][layout.HEADER])
        metadata = {layout.HEADER: json.dumps(header | {schema.KEY: number, "novelty": 1})}
        path.write_bytes(safetensors.numpy.save(safetensors.numpy.load(data), metadata))
    elif kind == "study":
        text = source.read_text()
        before = '"user_attr":{"schema":1}'
        assert text.count(before) == 1
        path.write_text(text.replace(before, f'"user_attr":{{"schema":{json.dumps(number)}}}'))
    else:
        path.write_text(json.dumps(json.loads(source.read_text()) | {schema.KEY: number, "novelty": 1}))
    return path


@pytest.mark.parametrize("kind", OPEN)
def test_a_later_layout_is_one_clear_error(kind: str, tmp_path: Path) -> None:
    path = _numbered(kind, schema_files.TODAY[kind][0] + 1, tmp_path)
    with pytest.raises(SpikformerError, match=NEWER) as caught:
        OPEN[kind](path, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("number", ["1", -1, 1.5, True, []])
def test_a_number_that_is_none_is_damage(kind: str, number: object, tmp_path: Path) -> None:
    path = _numbered(kind, number, tmp_path)
    with pytest.raises(SpikformerError, match="but must be the number of a layout"):
        OPEN[kind](path, tmp_path)


def test_commands_say_so_in_one_line(tmp_path: Path, micro: Path, run_here: Run) -> None:
    """A study of a later version is neither reported nor searched on; others are still listed."""
    with pytest.raises(SpikformerError):
        _study(_numbered("study", 2, tmp_path), tmp_path)
    journal = tmp_path / "results" / "micro" / "journal.log"
    before = journal.read_bytes()
    for command in (["report"], ["search", "--space", str(micro), "--trials", "3", "--device", "cpu"]):
        done = run_here(*command, "--study", "micro", cwd=tmp_path)
        assert done.returncode == 1
        error = done.stderr.splitlines()[-1]
        assert error.startswith("Error: study micro: a newer version of spikformer-nas wrote it")
    listed = run_here("studies", cwd=tmp_path)
    assert listed.returncode == 0
    added = journal.read_bytes().removeprefix(before)  # Optuna notes that the study was there already
    assert b"trial_id" not in added
    assert b"user_attr" not in added


def test_a_study_of_an_earlier_layout_takes_the_number_when_it_is_searched_on(
    tmp_path: Path, micro: Path, run_here: Run
) -> None:
    """From then on it has records of today, which a program that knows earlier layouts only must not misread."""
    text = schema_files.path_of("study", 1).read_text().splitlines(keepends=True)
    numbered = [i for i, line in enumerate(text) if '"user_attr":{"schema":1}' in line]
    unnumbered = [{k: v for k, v in json.loads(line).items() if k != "line"} for line in text]
    path = tmp_path / "old.log"
    path.write_text("".join(json.dumps(log) + "\n" for i, log in enumerate(unnumbered) if i not in numbered))
    assert schema.KEY not in _study(path, tmp_path).optuna.user_attrs
    search = ("search", "--space", str(micro), "--study", "micro", "--trials", "2", "--device", "cpu")
    done = run_here(*search, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert nas.load_study("micro", results_dir=tmp_path / "results").optuna.user_attrs[schema.KEY] == 1
