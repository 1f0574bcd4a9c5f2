"""`table run`, `export`, `merge`, `query` and `info`, each with its errors."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from nas import tables
from nas.engines import engine as engines
from tests.conftest import Run
from tests.tables.conftest import Tiny

Trained = list[tuple[str, float, int]]


def test_run_and_export(tiny: Tiny, tmp_path: Path, pretended: Trained, run_here: Run) -> None:
    """From a space to a file; each command names the next one."""
    words = ("--networks", "3", "--seeds", "2", "--shares", "0.5,1", "--device", "cpu", "--parts", "parts")
    done = run_here("table", "run", str(tiny.path), *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Next: python cli.py table export micro\n"
    assert len(pretended) == 12
    assert (tmp_path / "parts" / "part-0001.safetensors.gz").is_file()
    exported = run_here("table", "export", "micro", "--out", "out")
    assert exported.returncode == 0, exported.stderr
    path = f"out/{tiny.file.name}"
    assert exported.stdout.splitlines()[0] == f"wrote {path} ({tiny.file.stat().st_size:,} bytes)"
    assert exported.stdout.splitlines()[1] == f"Next: python cli.py table info {path}"
    assert (tmp_path / path).read_bytes() == tiny.file.read_bytes()


def test_an_interruption_says_that_nothing_is_lost(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_here: Run
) -> None:
    def interrupt(*_arguments: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "evaluate", interrupt)
    done = run_here("table", "run", str(tiny.path), "--networks", "1", "--device", "cpu", "--shares", "1", cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1].startswith("Interrupted. Nothing is lost")


def test_merge(tiny: Tiny, tmp_path: Path, run_here: Run) -> None:
    shutil.copy(tiny.file, tmp_path / "one.safetensors")
    done = run_here("table", "merge", "all/micro", "one.safetensors", str(tiny.file), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "all" / tiny.file.name).read_bytes() == tiny.file.read_bytes()


def test_query_lists_networks_the_best_first(tiny: Tiny, tmp_path: Path, run_here: Run) -> None:
    done = run_here("table", "query", str(tiny.file), "--json", "--csv", "rows.csv", "--seed", "mean", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["accuracy"] for row in rows] == sorted((row["accuracy"] for row in rows), reverse=True)
    assert {row["config_id"] for row in rows} == set(tiny.table.networks)
    reading = tiny.table.query(rows[0]["config_id"], seed="mean")
    assert (rows[0]["accuracy"], rows[0]["energy_mj"], rows[0]["seeds"]) == (reading.accuracy, reading.energy_mj, "0 1")
    with (tmp_path / "rows.csv").open(newline="") as lines:
        assert [row["config_id"] for row in csv.DictReader(lines)] == [row["config_id"] for row in rows]
    shown = run_here("table", "query", str(tiny.file), "--share", "0.5")
    assert rows[0]["config_id"] in shown.stdout


def test_query_takes_one_network_by_id_or_config(tiny: Tiny, tmp_path: Path, run_here: Run) -> None:
    config = tiny.first
    (tmp_path / "mine.json").write_text(json.dumps(config.to_dict()))
    for network in (config.config_id, config.config_id[:7], "mine.json"):
        words = ("--convention", "paper", "--chip", "loihi", "--json")
        done = run_here("table", "query", str(tiny.file), network, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)
        reading = tiny.table.query(config, convention="paper", chip="loihi")
        assert row["energy_mj"] == reading.energy_mj
        assert reading.chip is not None
        assert row["chip_latency_ms"] == reading.chip.latency_ms


def test_query_takes_networks_by_choices(tiny: Tiny, run_here: Run) -> None:
    choices = tiny.table.choices(tiny.first)
    words = [word for axis, choice in choices.items() for word in ("--where", f"{axis}={choice}")]
    rows = json.loads(run_here("table", "query", str(tiny.file), *words, "--json").stdout)
    expected = {identity for identity in tiny.table.networks if tiny.table.choices(identity) == choices}
    assert {row["config_id"] for row in rows} == expected
    assert all(row[axis] == choice for row in rows for axis, choice in choices.items())


def test_info_prints_the_card(tiny: Tiny, tmp_path: Path, run_here: Run) -> None:
    done = run_here("table", "info", str(tiny.file))
    assert done.returncode == 0, done.stderr
    for words in ("networks: 3", "trainings: 12", "licence: CC BY 4.0", "agrees with its SHA-256", "embed_dim 8, 16"):
        assert words in done.stdout, words
    facts = json.loads(run_here("table", "info", str(tiny.file), "--json").stdout)
    assert facts["trainings_by_share"] == {"0.5": 6, "1": 6}
    plain = shutil.copy(tiny.file, tmp_path / "plain.safetensors")
    assert "carries no digits of a SHA-256, so nothing was compared" in run_here("table", "info", str(plain)).stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("run nope --networks 1", 1, "nope"),
        ("run {space}", 2, "Missing option '--networks'"),
        ("run {space} --networks 0", 1, "networks 0 must be at least 1"),
        ("run {space} --networks 1 --shares 0.5", 1, "must be rising numbers above 0, and the last must be 1"),
        ("run {space} --networks 1 --shares x", 2, '--shares "x" must be a list of numbers'),
        ("run {space} --networks 1 --device tpu", 1, "tpu"),
        ("run {space} --networks 1 --workers 0", 1, "workers 0"),
        ("run {space} --networks 1 --name a/b", 1, "cannot name a file"),
        ("run {space} --networks 1 --name a.b", 1, "cannot name a file"),
        ("run {space} --networks 1 --shares nan", 1, "must be rising numbers"),
        ("run {space} --networks 1 --parts {space}", 1, "is not a writable folder. Give another --parts"),
        ("run {space} --networks 1 --parts {space}/x", 1, "Give another --parts"),
        ("merge out {space}", 1, "is damaged, or is no table"),
        (f"info {'x' * 5000}", 1, "File name too long"),
        (f"merge out {'x' * 5000}", 1, "x" * 20),
        ("export nope", 1, 'no table "nope" is in results/tables. Begin one with `table run`'),
        ("merge out", 2, "Missing argument"),
        ("merge out nowhere.safetensors", 1, "cannot be read"),
        ("merge out nothing", 1, "no study in results"),
        ("query nowhere.safetensors", 1, "cannot be read"),
        ("query nope", 1, 'no table is named "nope"'),
        ("query {file} n1-ffffffffffff", 1, "network n1-ffffffffffff is not in table micro"),
        ("query {file} n1-", 1, "3 networks of table micro have ids that begin with n1-"),
        ("query {file} nope", 1, "nope"),
        ("query {file} spikformer_cifar10_4_256", 1, "is not in table micro"),
        ("query {file} --where embed_dim", 1, "must be AXIS=CHOICE. "),
        ("query {file} --where embed_dm=8", 1, 'Did you mean "embed_dim"'),
        ("query {file} --where embed_dim=9", 1, "axis embed_dim has no such choice"),
        ("query {file} --share 0.3", 1, "has no such network at share 0.3 with seed 0. It has shares 0.5, 1.0"),
        ("query {file} --seed 9", 1, "with seed 9"),
        ("query {file} --seed x", 2, '--seed "x" must be mean or a whole number'),
        ("query {file} --convention nope", 1, 'no convention is named "nope"'),
        ("query {file} --chip nope", 1, 'no chip is named "nope"'),
        ("query {file} --share 0.5 --convention paper", 1, "keeps no counts"),
        ("query {file} --csv {file}/x.csv", 1, "cannot be written"),
        ("info nowhere.safetensors", 1, "cannot be read"),
        ("nope", 2, "No such command 'nope'"),
    ],
)
def test_errors_are_one_line(tiny: Tiny, tmp_path: Path, run_here: Run, words: str, code: int, message: str) -> None:
    arguments = [word.format(space=tiny.path, file=tiny.file) for word in words.split()]
    done = run_here("table", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]


def test_rows_have_an_order_of_their_own(tiny: Tiny) -> None:
    rows = tables.selected(tiny.table, share=0.5)
    assert [row["accuracy"] for row in rows] == sorted((row["accuracy"] for row in rows), reverse=True)
