"""Models of memory by name, and on a study and a table that a commit before these models wrote."""

import gzip
from pathlib import Path

import pytest

import nas
from nas import tables
from nas.costs import chip, memory
from nas.errors import CostError
from tests.facts import DATA

PRICED = DATA / "priced"
TABLE = next(PRICED.glob("*.safetensors"))


def test_a_model_is_found_by_its_name_and_says_what_it_is() -> None:
    assert memory.names() == ["lemaire2022", "lemaire_64bit", "step", "horowitz64"]
    assert memory.load().name == "horowitz64"
    for name in memory.names():
        assert memory.load(name).name == name
        assert "pJ" in memory.load(name).summary or "Horowitz" in memory.load(name).summary


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(CostError, match=r'no memory model is named "lemaire"\. Did you mean "lemaire'):
        memory.load("lemaire")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of six networks of digits, as commit 731da93 wrote it."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "priced").mkdir()
    (folder / "priced" / "journal.log").write_bytes(gzip.decompress((PRICED / "study.journal.log.gz").read_bytes()))
    return folder


@pytest.mark.parametrize("name", memory.names())
def test_a_study_and_a_table_from_before_are_priced(results: Path, name: str) -> None:
    """Their records know the layers of neurons: the study by their activity, the table by their rates."""
    study, table = nas.load_study("priced", results_dir=results), tables.load(str(TABLE))
    frame = study.to_dataframe(memory=name)
    assert (frame["memory_mj"] > frame["energy_mj"]).all()
    rows = table.to_dataframe(memory=name)
    assert (rows["memory_mj"] > rows["energy_mj"]).all()
    for candidate in [*study.candidates.values(), *(table.candidate(network) for network in table.networks)]:
        assert candidate.counts.knows_layers
        assert memory.load(name).price(candidate.counts).total.potentials > 0


@pytest.mark.parametrize("name", chip.names())
def test_they_are_priced_on_every_chip(results: Path, name: str) -> None:
    study, table = nas.load_study("priced", results_dir=results), tables.load(str(TABLE))
    rows = table.to_dataframe(chip=name)
    full = rows[rows["share"] == 1]
    assert (full["chip_energy_mj"] > 0).all()
    assert (full["chip_latency_ms"] > 0).all()
    assert full["chip_fits"].isin([True, False]).all()
    model = chip.load(name)
    for candidate in study.candidates.values():
        costs = model(candidate.counts)
        assert costs.energy_mj is not None
        assert costs.energy_mj > 0
