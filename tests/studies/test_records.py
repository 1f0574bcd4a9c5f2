"""A bad record costs itself alone: the study is read without it, and one line says so; the others are not touched."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.searching import opening
from nas.settings import ReferencePoint
from tests.conftest import MICRO, Run
from tests.helpers import Heard

pytestmark = pytest.mark.usefixtures("trained_once")

TRIALS = 4
LEFT_OUT = "The record of trial 1 of study micro cannot be read and is left out"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two equal studies of four networks."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "micro.toml").write_text(MICRO)
    opening.search(
        folder / "micro.toml",
        TRIALS,
        hypervolume_from=ReferencePoint(0.05, 1.0),
        observer=Heard(),
        results_dir=folder / "results",
    )
    shutil.copytree(folder / "results" / "micro", folder / "results" / "other")
    with _edited(folder / "results" / "other" / "journal.log") as lines:
        for line in lines:
            line.update({"study_name": "other"} if "study_name" in line else {})
    return folder


@pytest.fixture
def results(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched / "results", tmp_path / "results"))


@contextlib.contextmanager
def _edited(journal: Path) -> Iterator[list[dict[str, Any]]]:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    yield lines
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _edit(results: Path, edit: Callable[[dict[str, Any]], Any], attribute: str = "candidate") -> None:
    """Change an attribute of trial 1, or of the study."""
    with _edited(results / "micro" / "journal.log") as lines:
        begins = [line for line in lines if line["op_code"] == 4][1]
        later = [line for line in lines if line.get("trial_id", 1) == 1]
        for attributes in (begins.get("user_attrs", {}), *(line.get("user_attr", {}) for line in later)):
            if attribute in attributes:
                edit(attributes)


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def edit(values: dict[str, Any]) -> None:
        *parents, last = path
        for parent in parents:
            values = values[parent]
        if to is _MISSING:
            del values[last]
        else:
            values[last] = to

    return edit


_MISSING = object()


def _each(place: Any, *values: Any) -> list[tuple[Any, Any]]:
    return [(place, value) for value in values]


_NO_ACTIVITY: tuple[tuple[int, list[int]], ...] = ((0, [1]), (4, [-1]), (4, []))
WRONG: tuple[tuple[tuple[str, ...], Any], ...] = (
    *_each(("candidate",), "abc", None, [], 7, {}),
    *_each(("candidate", "recipe"), "abc", None, [], 7, {"epochs": "x"}, {"nope": 1}, _MISSING),
    *_each(("candidate", "recipe", "rungs"), "abc", 7, [None]),
    *_each(("candidate", "images_seen"), "abc", None, -1, 1.5, []),
    *_each(("candidate", "config"), "abc", None, {"stages": 3}, {"time_steps": -1}),
    *_each(("candidate", "config_id"), [], "../../x", "n1-000000000000"),
    *_each(("candidate", "energy_mj"), "abc", -1, float("nan"), float("inf"), []),
    *_each(("candidate", "search_val_accuracy"), "abc", 1.5, -0.1, True),
    *_each(("candidate", "operations"), "abc", 7, [7], [{}], None),
    *_each(("candidate", "overheads"), "abc", {"neuron_updates": "x"}, None),
    *_each(("candidate", "history"), "abc", [7], [{"loss": "x", "accuracy": 1}]),
    *_each(("candidate", "provenance"), "abc", {}, {"wall_s": "x"}, {"wall_s": 1, "versions": 3}),
    *_each(("candidate", "status"), "finished", None, []),
    *_each(("candidate", "firing_rates"), "abc", {"stem": "x"}, None),
    *_each(("candidate", "activity"), "abc", 7, {"stem": [1]}, {"stem": {"neurons": 4, "spikes": 3}}),
    *_each(("candidate", "activity"), *({"stem": {"neurons": n, "spikes": s}} for n, s in _NO_ACTIVITY)),
    *_each(("candidate", "seed"), "abc", -1, 0.5),
)


def test_a_record_without_activity_is_read(results: Path) -> None:
    """Earlier versions wrote none; the candidate is equal to that of the same training today."""
    before = nas.load_study("micro", results_dir=results).candidates
    assert all(candidate.activity for candidate in before.values())
    _edit(results, _set("candidate", "activity", to=_MISSING))
    after = nas.load_study("micro", results_dir=results).candidates
    assert after == before
    assert any(not candidate.activity for candidate in after.values())


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_a_bad_record_costs_itself_alone(
    results: Path, path: tuple[str, ...], value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _edit(results, _set(*path, to=value))
    study = nas.load_study("micro", results_dir=results)
    assert len(study.candidates) == TRIALS - 1
    assert len(study.trainings) == TRIALS - 1
    assert sum(study.spent.networks) == TRIALS - 1
    assert study.hypervolume() is not None
    (told,) = caplog.messages
    assert told.startswith(LEFT_OUT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *_each("config_id", [], {}, 7, None),
        *_each("rung", "abc", -1, None, 10**9),
        *_each("reference", [], 7),
        *_each("duplicate_of", "abc", 99, -5),
        *_each("retry_of", [], 99),
        *_each("attempt", "x", 0),
        *_each("rung/0", "abc", {"accuracy": "x"}, []),
        *_each("holder", "abc", []),
        ("beat", "now"),
    ],
)
def test_a_trial_with_bad_attributes_costs_itself_alone(
    results: Path, name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _edit(results, _set(name, to=value), name if name == "rung/0" else "config_id")
    study = nas.load_study("micro", results_dir=results)
    assert len(study.candidates) == TRIALS - 1
    (told,) = caplog.messages
    assert told.startswith(LEFT_OUT)


def test_commands_read_the_rest_and_a_search_goes_on(results: Path, run_here: Run, searched: Path) -> None:
    """A network whose trial cannot be read at all is trained again."""
    _edit(results, _set("config_id", to=[]), "config_id")
    for command in (
        ["report", "--study", "micro"],
        ["studies"],
        ["studies", "--status", "--study", "micro"],
        ["inspect", "micro", "--trial", "0"],
        ["export", "--study", "micro", "--as-is", "--pick", "accuracy"],
        ["search", "--space", str(searched / "micro.toml"), "--trials", str(TRIALS)],
    ):
        done = run_here(*command, "--results-dir", str(results))
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        if command == ["studies"]:
            assert "unreadable records: 1" in done.stdout
    assert len(nas.load_study("micro", results_dir=results).candidates) == TRIALS


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        *_each("constraints", "abc", {"max_macs": "abc"}, {"nope": 1}, {"max_params": -3}, []),
        *_each("hypervolume_from", "abc", [], {"accuracy": 0.8}, {"accuracy": 80, "energy_mj": 1}, {"nope": 1}),
        *_each("identity", "abc", [], {"seed": "x"}, {"energy_of": "mars"}),
    ],
)
def test_damaged_settings_cost_their_study_alone(results: Path, run_here: Run, attribute: str, value: Any) -> None:
    _edit(results, _set(attribute, to=value), attribute)
    listed = run_here("studies", "--json", "--results-dir", str(results))
    assert listed.returncode == 0, listed.stderr
    by_name = {row["name"]: row for row in json.loads(listed.stdout)}
    assert by_name["other"]["evaluated"] == TRIALS
    done = run_here("report", "--study", "micro", "--results-dir", str(results))
    assert done.returncode == 1
    assert "Error: the settings of study micro are damaged" in done.stderr
