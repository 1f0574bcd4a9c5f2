"""Prior observations as a study keeps them: what is read back is what was stored, and damage is told."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.errors import StudyError
from nas.searchers import Network, Observation, Prior, Record
from nas.spaces import by_axis, load_space
from nas.studies import storage as storages
from nas.studies import warm_start
from nas.studies.study import Study
from nas.studies.warm_start import Source, WarmStart

SPACE = load_space("spikformer_tiny")
SOURCE = Source("digits", "table", "0123456789abcdef", 250, False)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    with storages.quiet_optuna():
        study = Study("new", tmp_path, storages.create("new", optuna.storages.InMemoryStorage()))
    study.optuna.set_user_attr("identity", {"recipe.rungs": [0.05, 1.0]})
    return study


def prior(networks: int) -> Prior:
    rng, records = random.Random(0), list[Record]()
    for i in range(networks):
        config = SPACE.random(rng)
        network = Network(config.config_id, by_axis(SPACE.params(config)))
        readings = {1: Observation(rng.random(), rng.gauss(-3, 1), 2 * i), 0: Observation(0.5, -3.0, 2 * i + 1)}
        records.append(Record(network, readings, 1))
    return Prior(records, (), ())


def test_what_is_read_back_is_what_was_stored(study: Study) -> None:
    """To the last bit, in parts of a hundred networks; half of these are 16 kB, a database may limit one to 64 kB."""
    stored = WarmStart((SOURCE,), prior(250))
    warm_start.keep(study, stored, SPACE.axes)
    assert warm_start.sources_of(study) == stored.sources
    assert warm_start.prior_of(study, SPACE.axes) == stored.prior
    parts = [value for key, value in study.optuna.user_attrs.items() if key.startswith("warm_start/")]
    assert [len(part) for part in parts] == [100, 100, 50]
    assert len(str(parts[0])) < 20_000


def test_a_study_without_prior_observations_has_none(study: Study) -> None:
    assert warm_start.sources_of(study) == ()
    assert warm_start.prior_of(study, SPACE.axes) == Prior()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("warm_start", {"sources": [], "shares": [], "studies": [], "parts": 7}),
        ("warm_start", {"sources": [], "shares": [1.0], "studies": [], "parts": 1}),
        ("warm_start", {"sources": [], "shares": [1.0], "studies": [0], "parts": 1}),
        ("warm_start", []),
        ("warm_start/0", [["x", [0], [[0, 0.5, -3.0]]]]),
        ("warm_start/0", [["x", [99] * len(SPACE.axes), [[0, 0.5, -3.0]]]]),
        ("warm_start/0", [["x", [0] * len(SPACE.axes), []]]),
        ("warm_start/0", [["x", [0] * len(SPACE.axes), [[0, 1.5, -3.0]]]]),
        ("warm_start/0", [["x", [0] * len(SPACE.axes), [[0, 0.5, float("nan")]]]]),
        ("warm_start/0", [["x", [0] * len(SPACE.axes), [[5, 0.5, -3.0]]]]),
        ("warm_start/0", "x"),
    ],
)
def test_damage_is_told_in_a_sentence(study: Study, key: str, value: Any) -> None:
    warm_start.keep(study, WarmStart((SOURCE,), prior(3)), SPACE.axes)
    study.optuna.set_user_attr(key, value)
    with pytest.raises(StudyError, match="the prior observations of study new are damaged"):
        warm_start.prior_of(study, SPACE.axes)


def test_damaged_sources_are_told_in_a_sentence(study: Study) -> None:
    for source in ({"name": "x"}, dataclasses.asdict(SOURCE) | {"networks": "many"}):
        study.optuna.set_user_attr("warm_start", {"sources": [source]})
        with pytest.raises(StudyError, match="the prior observations of study new are damaged"):
            warm_start.sources_of(study)
