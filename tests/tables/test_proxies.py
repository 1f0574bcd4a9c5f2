"""`validate-proxy` on a table: its trainings in place of new ones."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

import nas
from nas import tables
from nas.errors import StudyError
from nas.progress import Observer
from nas.replicates import quality, selection
from nas.spaces import SearchSpace
from nas.tables import Table, writing
from nas.tables.contents import Contents, Key
from nas.training import Candidate
from spikformer import SpikformerConfig
from tests.conftest import Run
from tests.tables.conftest import Tiny


@pytest.fixture(scope="module", autouse=True)
def _sized_at_once() -> Iterator[None]:
    """Networks are as dear as they are wide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_macs", lambda config: 1000 * config.stages[0].embed_dim)
        yield


@pytest.fixture(scope="module")
def made(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of all 12 networks of the space, with accuracies by hand: the short training agrees with the long one.

    Three of them have a second seed, too, and one network has no short training.
    """
    contents, trainings = tiny.table.contents(), dict[Key, Candidate]()
    configs = sorted({config.config_id: config for config in tiny.space.configs()}.items())
    for number, (identity, config) in enumerate(configs):
        for share in (0.5, 1.0):
            for seed in (0, 1) if number < 3 and share == 1.0 else (0,):
                like = contents.trainings[Key(tiny.first.config_id, share, seed)]
                trainings[Key(identity, share, seed)] = dataclasses.replace(
                    like,
                    config=config,
                    config_id=identity,
                    search_val_accuracy=(number + seed / 4) / 12,
                )
    del trainings[Key(configs[-1][0], 0.5, 0)]
    folder = tmp_path_factory.mktemp("made")
    return writing.save(folder, "made", Contents(contents.settings, trainings, {}))


@pytest.fixture
def table(made: Path) -> Table:
    return tables.load(made)


def test_trainings_come_from_the_table(tiny: Tiny, table: Table, tmp_path: Path) -> None:
    """Of the eleven networks with both shares; nothing is trained, and no images are read."""
    validation = nas.validate_proxy(tiny.path, 9, 2, table=table, results_dir=tmp_path, observer=Observer())
    assert validation.shares == (0.5,)
    assert len(validation.networks) == 9
    for network, short, full in zip(validation.networks, validation.trained[0.5], validation.trained[1.0], strict=True):
        assert short == table.candidate(network.config, 0.5)
        assert full == table.candidate(network.config)
    assert validation.rates == {}
    for number, again in validation.again.items():
        assert again == table.candidate(validation.networks[number].config, 1.0, 1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_it_is_judged_as_new_trainings_are(tiny: Tiny, table: Table, tmp_path: Path) -> None:
    """By hand: equal order and equal energies, so tau and recall are 1.

    Conventions under which the table has no energies of short trainings have no figure.
    """
    validation = nas.validate_proxy(tiny.path, 9, 2, table=table, results_dir=tmp_path)
    judged = quality(validation, 0.5)
    assert judged.tau.value == 1
    assert judged.recall["measured"].value == 1
    assert math.isnan(judged.recall["paper"].value)


def test_the_command_writes_its_report(made: Path, tmp_path: Path, run_here: Run) -> None:
    done = run_here("validate-proxy", "--table", str(made), "--configs", "9", "--replicates", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "proxies" / "micro-table"
    assert {path.name for path in folder.iterdir()} == {
        *("report.md", "networks.csv", "quality.csv", "proxy.png", "proxy.toml")
    }
    assert "another learning rate" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Next: python cli.py search --space micro --proxy results/proxies")


def test_what_the_table_cannot_say_is_refused(tiny: Tiny, table: Table, tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"has 11 networks that were trained at shares 0\.5, 1 with seed 0, but 12 were"
    ):
        nas.validate_proxy(tiny.path, 12, table=table, results_dir=tmp_path)
    with pytest.raises(StudyError, match=r"has 0 networks that were trained at shares 0\.1, 1 with seed 0"):
        nas.validate_proxy(tiny.path, 9, shares=[0.1], table=table, results_dir=tmp_path)
    with pytest.raises(StudyError, match="a table holds trainings that took place"):
        nas.validate_proxy(tiny.path, 9, table=table, full_epochs=3, results_dir=tmp_path)
    other: SearchSpace = dataclasses.replace(tiny.space, axes=tiny.space.axes[:-1])
    with pytest.raises(StudyError, match="table made is of space micro, not of micro"):
        nas.validate_proxy(other, 9, table=table, results_dir=tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("", 2, "Missing option '--space'. Give a search space, or a table with --table"),
        ("--table nowhere.safetensors", 1, "cannot be read"),
        ("--table {file} --workers 2", 2, "nothing is read from --workers. Leave out --workers"),
        ("--table {file} --full-epochs 3", 1, "a table holds trainings that took place"),
        ("--table {file} --configs 3", 1, "configs 3 must be at least 6"),
    ],
)
def test_errors_are_one_line(made: Path, run_here: Run, words: str, code: int, message: str) -> None:
    done = run_here("validate-proxy", *(word.format(file=made) for word in words.split()))
    assert done.returncode == code
    assert message in done.stderr.splitlines()[-1]


def test_networks_outside_the_space_are_left_out(tiny: Tiny, table: Table) -> None:
    """A table may hold networks of another space, which have no place on the axes of this one."""
    outside = SpikformerConfig()
    chosen = selection.stratified(tiny.space, 6, 0, among=[outside, *table.networks.values()])
    assert len(chosen) == 6
    assert outside.config_id not in {network.config.config_id for network in chosen}
