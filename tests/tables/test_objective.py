"""Optuna asks a table as it asks a training."""

import math
from collections.abc import Sequence

import optuna
import pytest

from nas.errors import CostError, TableError
from nas.spaces import axis_of
from nas.tables import Objective
from tests.tables.conftest import Tiny


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _study(objective: Objective, trials: int) -> Sequence[optuna.trial.FrozenTrial]:
    study = optuna.create_study(directions=objective.directions, sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, trials)
    return study.trials


def test_answers_are_those_of_the_table(tiny: Tiny) -> None:
    """A network that the table lacks is pruned and costs nothing; one that is asked for twice costs its images once."""
    objective = tiny.table.objective()
    trials = _study(objective, 40)
    states = {trial.state for trial in trials}
    assert states == {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
    for trial in trials:
        identity = trial.user_attrs["config_id"]
        if identity in tiny.table:
            reading = tiny.table.query(identity)
            assert trial.values == [reading.accuracy, math.log10(reading.energy_mj or 0)]
        else:
            assert trial.state == optuna.trial.TrialState.PRUNED
            assert trial.user_attrs["images"] == 0
    asked = {t.user_attrs["config_id"] for t in trials if t.user_attrs["config_id"] in tiny.table}
    assert objective.networks == len(asked)
    assert objective.images == sum(trial.user_attrs["images"] for trial in trials) == 40 * len(asked)


def test_parameters_have_the_names_of_a_search(tiny: Tiny) -> None:
    trial = _study(tiny.table.objective(), 1)[0]
    assert {axis_of(name) for name in trial.params} == {axis.name for axis in tiny.space.axes}


def test_other_shares_seeds_and_conventions(tiny: Tiny) -> None:
    cheap = tiny.table.objective(share=0.5, seed=1)
    paper = tiny.table.objective(convention="paper")
    choices = optuna.trial.FixedTrial(tiny.table.space.params(tiny.first))
    assert cheap(choices)[0] == tiny.table.query(tiny.first, 0.5, 1).accuracy  # pyrefly: ignore[bad-argument-type]  # Optuna's own stand-in
    assert cheap.images == 20
    priced = tiny.table.query(tiny.first, convention="paper").energy_mj
    assert paper(choices)[1] == math.log10(priced or 0)  # pyrefly: ignore[bad-argument-type]  # the same


def test_live_trains_now(tiny: Tiny) -> None:
    objective = tiny.table.objective("live")
    choices = optuna.trial.FixedTrial(tiny.table.space.params(tiny.first))
    reading = tiny.table.query(tiny.first)
    assert objective(choices) == (reading.accuracy, math.log10(reading.energy_mj or 0))  # pyrefly: ignore[bad-argument-type]  # the same
    assert objective.images == 40


def test_what_cannot_be_asked_is_said(tiny: Tiny) -> None:
    with pytest.raises(TableError, match=r'objective "nope" is unknown\. Use table or live'):
        tiny.table.objective("nope")  # pyrefly: ignore[bad-argument-type]  # what is refused
    with pytest.raises(TableError, match=r"no training at share 0\.3\. Use one of 0\.5, 1"):
        tiny.table.objective(share=0.3)
    with pytest.raises(TableError, match="only the convention measured has energies there"):
        tiny.table.objective(share=0.5, convention="paper")
    with pytest.raises(CostError, match="no convention"):
        tiny.table.objective(convention="nope")
