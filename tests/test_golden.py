"""What the program does is what it did: the golden corpus, recorded again and compared file by file."""

import json
from pathlib import Path

import pytest

from nas.engines import engine
from nas.searching import forecast
from nas.training import measurement
from tests import golden
from tests.conftest import USUAL_BATCHES, USUAL_PACE, USUAL_SPACE_PACE

CORPUS = Path(__file__).parent / "data" / "golden"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of this checkout."""
    if json.loads((CORPUS / "machine.json").read_text()) != golden.machine():
        pytest.skip("recorded with another version of torch, or on another kind of processor, which round otherwise")
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patch:  # as users measure, not as quick tests do
        patch.setattr(measurement, "_BATCHES", USUAL_BATCHES)
        patch.setattr(engine, "measured_pace", USUAL_PACE)
        patch.setattr(forecast, "space_pace", USUAL_SPACE_PACE)
        golden.record(folder)
    return folder


@pytest.mark.exhaustive
def test_nothing_is_missing_and_nothing_new(recorded: Path) -> None:
    assert golden.files(recorded) == golden.files(CORPUS)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", golden.files(CORPUS))
def test_the_same_as_recorded(name: str, recorded: Path) -> None:
    """`python -m tests.golden tests/data/golden` records it again; the commit says why."""
    assert (recorded / name).read_text() == (CORPUS / name).read_text()


def test_a_search_that_was_killed_ends_like_one_that_was_not() -> None:
    """By the corpus itself: the candidates of the two studies are equal."""
    one, killed, sqlite = (json.loads((CORPUS / f"studies/{n}.json").read_text()) for n in ("one", "killed", "sqlite"))
    searched = [record for record in one if record["seed"] == 0]
    assert searched == killed == sqlite
