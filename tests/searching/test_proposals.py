"""Which training comes next: rungs, constraints, budgets, samplers; a formula stands in for training."""

import dataclasses
import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

import nas
from nas.datasets import loaders as data
from nas.engines import engine as engines
from nas.errors import StudyError
from nas.exports import picking
from nas.reports import contents, inspection, texts
from nas.searchers import searcher
from nas.searchers.networks import ConfigSpace
from nas.searchers.searcher import Searcher
from nas.searching import forecast, opening
from nas.searching.proposals import reductions, settings
from nas.searching.settings import SAMPLERS
from nas.settings import Constraints, Recipe, ReferencePoint
from nas.spaces import load_space
from nas.stats import pareto
from nas.studies import trials
from nas.studies.study import Study
from nas.training import evaluation
from nas.training.candidate import Candidate, front_of
from nas.training.throughput import Pace
from spikformer import Spikformer, SpikformerConfig
from tests.conftest import MICRO
from tests.helpers import Heard, thinned

USUAL = ("searcher",)
RUNGS = (0.1, 0.5, 1.0)
IMAGES = (20, 100, 200)  # of 200 in batches of 10
LADDER = MICRO.replace(
    "\n[references]", "time_steps = [1, 2, 4]\nmlp_ratio = [1, 2, 4]\ndepth = [1, 2, 3]\n\n[references]"
).replace("rungs = [1]", f"rungs = {list(RUNGS)}")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """The record of one network that was really trained."""
    path = tmp_path_factory.mktemp("real") / "ladder.toml"
    path.write_text(LADDER)
    network = load_space(path).references["Spikformer miniature"]
    return evaluation.evaluate(network, _splits(path), _recipe(path))[0]


@pytest.fixture
def ladder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: Candidate) -> Path:
    """A space of 324 spellings and three rungs, in which evaluating takes no time.

    Accuracy rises with width, time steps and the share of images, and with something that only the id knows.
    """
    path = tmp_path / "ladder.toml"
    path.write_text(LADDER)

    def pretended(
        config: SpikformerConfig, *arguments: Any, share: float, **_rest: Any
    ) -> tuple[Candidate, Spikformer]:
        stage, luck, model = config.stages[0], random.Random(config.config_id).random(), Spikformer(config)
        made = dataclasses.replace(
            real,
            config=config,
            config_id=config.config_id,
            reference=arguments[3],
            status="complete" if share == 1 else "stopped",
            reason="" if share == 1 else "trained on a part",
            parameters=sum(p.numel() for p in model.parameters()),
            images_seen=round(200 * share),
            search_val_accuracy=0.3 * share + 0.1 * math.log2(config.time_steps) + 0.01 * stage.embed_dim + 0.1 * luck,
            energy_mj=1e-5 * stage.embed_dim * config.time_steps * stage.depth,
            provenance=real.provenance | {"wall_s": 90 * share},
        )
        return made, model

    monkeypatch.setattr(engines, "evaluate", pretended)
    monkeypatch.setattr(engines, "measured_pace", lambda *_: None)
    return path


def _splits(path: Path) -> data.Splits:
    return data.load(load_space(path), None, 0)


def _recipe(path: Path) -> Recipe:
    return load_space(path).recipe


def _search(path: Path, networks: int | None, **settings: Any) -> Study:
    settings = dict[str, Any](results_dir=path.parent / "results", observer=Heard()) | settings
    return opening.search(path, networks, **settings)


def _sequence(study: Study) -> list[tuple[str, int, str | None]]:
    """Network, rung and reference of every training, in order."""
    return [
        (t.user_attrs["config_id"], trials.rung_of(t), t.user_attrs.get("reference")) for t in study.snapshot().trained
    ]


def test_few_go_on_and_only_those_trained_on_all_images_are_on_the_front(ladder: Path) -> None:
    """By hand: of 30 networks 30 / 5 = 6 come to the second rung, and 6 / 2 = 3 to the last."""
    study = _search(ladder, 30)
    assert Counter(rung for _, rung, _ in _sequence(study)) == {0: 30, 1: 6, 2: 3}
    assert max(Counter(_sequence(study)).values()) == 1
    assert Counter(c.status for c in study.candidates.values()) == {"stopped": 27, "complete": 3}
    assert Counter(c.images_seen for c in study.candidates.values()) == {20: 24, 100: 3, 200: 3}
    assert all(c.images_seen == 200 for c in study.front().values())
    assert study.front()
    text = texts.markdown(contents.build(study))
    assert "30 candidates evaluated: 27 stopped, 3 complete" in text


@pytest.mark.parametrize(
    ("rungs", "expected"),
    [
        ((1.0,), ()),
        ((0.05, 1.0), (5.0,)),
        ((0.25, 1.0), (3.5,)),
        ((0.05, 0.25, 1.0), (5.0, 2.0)),
        ((0.01, 0.05, 0.25, 1.0), (5.0, 5.0, 2.0)),
    ],
)
def test_how_many_networks_make_up_for_one_at_the_next_rung(
    rungs: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    """As docs/search.md says it."""
    assert reductions(rungs) == expected
    assert settings(rungs, None).reduction_factor == expected


@pytest.mark.parametrize("networks", [30, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_one_network_in_five_is_trained_in_full_by_default(ladder: Path, networks: int) -> None:
    """By hand: 30 / 5 = 6 and 200 / 5 = 40, which is what docs/search.md says of `--trials 200`."""
    two = dataclasses.replace(load_space(ladder), references={})
    two = dataclasses.replace(two, recipe=dataclasses.replace(two.recipe, rungs=Recipe().rungs))
    study = opening.search(two, networks, results_dir=ladder.parent / "results", observer=Heard())
    assert Counter(rung for _, rung, _ in _sequence(study)) == {0: networks, 1: networks // 5}
    guide = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
    assert "evaluates 200 different networks. With the default rungs, 40 of these are trained in full" in guide.replace(
        "\n", " "
    )


def test_the_printed_plan_says_what_random_search_would_do_with_the_images(
    ladder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 x 20 + 6 x 100 + 3 x 200 = 1,800 images: those of nine networks at 200."""
    monkeypatch.setattr(forecast, "space_pace", lambda *_: Pace(0.0, 1.0))
    said = Heard()
    _search(ladder, 30, references=False, observer=said)
    assert (
        "Plan: about 30 networks to 20 images each, 6 of them to 100 images, 3 of them to 200 images; 1,800 images in "
        "all. With as many images, random search would train 9 networks in full."
    ) in said.text


def test_a_trial_that_went_on_is_found_where_it_went(ladder: Path) -> None:
    """The reference's trials are 0, 1 and 2, its third the full one."""
    study = _search(ladder, 12)
    assert study.candidate(2).images_seen == 200
    with pytest.raises(StudyError, match="trial 0 of study ladder was trained further in trial 2: use that one"):
        study.candidate(0)
    with pytest.raises(StudyError, match="trial 99 of study ladder does not exist"):
        study.candidate(99)
    number, stopped = next((n, c) for n, c in study.candidates.items() if c.status == "stopped")
    assert f"trial {number}, {stopped.reason}" in str(inspection.costs(study, number).to_dict())
    with pytest.raises(StudyError, match=rf"trial {number} of study ladder is stopped \(trained on a part\)"):
        picking.pick(study, str(number))


def test_even_a_few_networks_send_one_to_the_top(ladder: Path) -> None:
    study = _search(ladder, 2, references=False)
    assert Counter(rung for _, rung, _ in _sequence(study)) == {0: 2, 1: 1, 2: 1}


def test_an_optuna_study_says_what_happened_at_every_rung(ladder: Path) -> None:
    """COMPLETE, and with values, at the last rung only; the others say why they stopped and what they showed."""
    study = _search(ladder, 12)
    for trial in study.optuna.trials:
        rung = trials.rung_of(trial)
        shown = [trial.user_attrs[f"rung/{i}"]["accuracy"] for i in range(rung + 1)]
        assert shown == sorted(shown)
        assert trial.user_attrs["candidate"]["images_seen"] == IMAGES[rung]
        if rung == 2:
            assert trial.state == TrialState.COMPLETE
            assert trial.values == pytest.approx([shown[-1], trial.user_attrs["rung/2"]["log10_energy_mj"]])
        else:
            assert trial.state == TrialState.PRUNED
            assert trial.user_attrs["reason"] == "trained on a part"
    fully = [t for t in study.optuna.trials if trials.rung_of(t) == 2]
    assert {trials.values_of(t) for t in study.optuna.best_trials} <= {trials.values_of(t) for t in fully}


def test_references_come_first_and_are_trained_in_full(ladder: Path) -> None:
    name = "Spikformer miniature"
    sequence = _sequence(_search(ladder, 12))
    assert [(rung, reference) for _, rung, reference in sequence[:3]] == [(0, name), (1, name), (2, name)]
    assert all(reference is None for _, _, reference in sequence[3:])


def test_references_that_axes_do_not_tell_whole_are_trained_once_too(ladder: Path) -> None:
    """One of the three differs from what its choices alone would make."""
    loaded = load_space("spikformer_tiny")
    study = opening.search("spikformer_tiny", 6, results_dir=ladder.parent / "results", observer=Heard())
    assert max(Counter(_sequence(study)).values()) == 1
    named = {reference: identity for identity, _, reference in _sequence(study) if reference is not None}
    assert named == {name: config.config_id for name, config in loaded.references.items()}
    alone = {name: loaded.config(loaded.params(config)).config_id for name, config in loaded.references.items()}
    assert sum(alone[name] != named[name] for name in named) == 1


@pytest.mark.exhaustive
def test_no_network_is_trained_twice_on_equally_many_images(ladder: Path) -> None:
    study = _search(ladder, 60)
    assert max(Counter(_sequence(study)).values()) == 1
    assert Counter(rung for _, rung, _ in _sequence(study)) == {0: 60, 1: 12, 2: 6}
    assert len(study.candidates) == 60


@pytest.mark.exhaustive
def test_nor_of_two_hundred_networks(ladder: Path) -> None:
    """By hand: 200 / 5 = 40, 40 / 2 = 20."""
    study = _search(ladder, 200)
    assert max(Counter(_sequence(study)).values()) == 1
    assert Counter(rung for _, rung, _ in _sequence(study)) == {0: 200, 1: 40, 2: 20}


@pytest.mark.parametrize(
    "sampler", [s if s in USUAL else pytest.param(s, marks=pytest.mark.exhaustive) for s in SAMPLERS]
)
def test_the_same_seed_gives_the_same_sequence_also_across_interruptions(
    ladder: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in every fourth training, and gone on from storage alone."""
    whole = _search(ladder, 16, sampler=sampler, study="whole")
    assert _sequence(_search(ladder, 16, sampler=sampler, study="other", seed=1)) != _sequence(whole)
    evaluate, calls = vars(engines)["evaluate"], itertools.count(1)

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        if next(calls) % 4 == 0:
            raise KeyboardInterrupt
        return evaluate(*arguments, **settings)

    monkeypatch.setattr(engines, "evaluate", interrupted)
    for _ in range(30):
        try:
            study = _search(ladder, 16, sampler=sampler, study="interrupted")
        except KeyboardInterrupt:
            continue
        break
    else:
        pytest.fail("the search was interrupted 30 times")
    assert _sequence(study) == _sequence(whole)
    assert sum(t.state == TrialState.FAIL for t in study.optuna.trials) > 3


@pytest.mark.parametrize("sampler", thinned(SAMPLERS, 2))
def test_every_sampler_proposes_and_its_networks_climb(ladder: Path, sampler: str) -> None:
    study = _search(ladder, 16, sampler=sampler)
    assert Counter(rung for _, rung, _ in _sequence(study)) == {0: 16, 1: 4, 2: 2}
    proposed = Counter(t.user_attrs["proposed_by"] for t in study.snapshot().trained if trials.rung_of(t) == 0)
    assert proposed[sampler] >= 10


def test_an_unknown_sampler_is_named(ladder: Path) -> None:
    with pytest.raises(StudyError, match=r'sampler "TPE" is unknown\. Valid names: .*TPESampler'):
        _search(ladder, 4, sampler="TPE")


@pytest.mark.exhaustive
def test_a_network_that_fails_goes_no_further(ladder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = vars(engines)["evaluate"]

    def unlucky(config: SpikformerConfig, *arguments: Any, **settings: Any) -> Any:
        made, model = evaluate(config, *arguments, **settings)
        wide = config.stages[0].embed_dim == 16
        return (dataclasses.replace(made, status="silent", reason="says nothing") if wide else made), model

    monkeypatch.setattr(engines, "evaluate", unlucky)
    study = _search(ladder, 30)
    failed = [t for t in study.snapshot().trained if t.user_attrs["candidate"]["status"] == "silent"]
    assert failed
    assert all(trials.rung_of(t) == 0 and t.constraints == {"usable": 1.0} for t in failed)
    records = {r.network.identity: r for r in study.snapshot().records}
    assert all(records[t.user_attrs["config_id"]].failed for t in failed)


@pytest.mark.parametrize("sampler", [pytest.param("searcher", marks=pytest.mark.exhaustive), "RandomSampler"])
def test_networks_that_are_too_large_are_not_trained(ladder: Path, sampler: str) -> None:
    """The limit lies between the parameters of widths and depths, counted on the model."""
    everything = _search(ladder, 16, study="free", sampler="RandomSampler")
    sizes = {
        c.config_id: sum(p.numel() for p in Spikformer(c.config).parameters()) for c in everything.candidates.values()
    }
    limit = sorted(sizes.values())[8]
    study = _search(ladder, 8, sampler=sampler, study="limited", constraints=Constraints(max_params=limit))
    assert len(study.candidates) == 8
    for found in study.candidates.values():
        assert sum(p.numel() for p in Spikformer(found.config).parameters()) <= limit
    rejected = [t for t in study.optuna.trials if "reason" in t.user_attrs and "max_params" in t.constraints]
    rejected = [t for t in rejected if "candidate" not in t.user_attrs]
    assert bool(rejected) == (sampler != "searcher")  # which proposes only what is small enough
    assert all(t.constraints["max_params"] > 0 and "not trained" in t.user_attrs["reason"] for t in rejected)


@pytest.mark.parametrize(
    "sampler",
    ["searcher", pytest.param("GPSampler", marks=pytest.mark.exhaustive)],  # proposals end alike for every sampler
)
def test_a_space_with_nothing_small_enough_is_exhausted(ladder: Path, sampler: str) -> None:
    ladder.write_text(MICRO)
    said = Heard()
    with pytest.raises(StudyError, match=r"none was found within max_params 10\."):
        _search(ladder, 5, constraints=Constraints(max_params=10), observer=said, sampler=sampler)
    assert "Spikformer miniature is left out, because it exceeds max_params 10." in said.text


@pytest.mark.parametrize("sampler", ["searcher", pytest.param("TPESampler", marks=pytest.mark.exhaustive)])
def test_in_a_space_without_more_networks_all_are_trained_in_full(ladder: Path, sampler: str) -> None:
    """12 networks by hand (tests/conftest.py)."""
    ladder.write_text(MICRO.replace("rungs = [1]", f"rungs = {list(RUNGS)}"))
    study = _search(ladder, 50, sampler=sampler)
    assert Counter(c.status for c in study.candidates.values()) == {"complete": 12}
    assert max(Counter(_sequence(study)).values()) == 1


def test_networks_that_miss_a_limit_stay_off_the_front(ladder: Path) -> None:
    free = _search(ladder, 20, study="free").front()
    accuracies = sorted(c.search_val_accuracy or 0 for c in free.values())
    limit = (accuracies[0] + accuracies[-1]) / 2
    study = _search(ladder, 20, constraints=Constraints(min_accuracy=limit))
    assert study.front()
    assert all((c.search_val_accuracy or 0) >= limit for c in study.front().values())
    dearest = max(c.energy_mj or 0 for c in study.front().values())
    study = _search(ladder, 20, constraints=Constraints(max_energy_mj=0.9 * dearest, min_accuracy=limit))
    assert all((c.energy_mj or 0) < dearest for c in study.front().values())
    report = contents.build(study)
    assert "min_accuracy" in " ".join(report.findings)
    over = report.trials[report.trials["constraints"].str.contains("max_energy_mj")]
    assert len(over)
    assert not over["on_front"].any()


def test_limits_in_the_space_file_hold_unless_the_command_says_otherwise(ladder: Path) -> None:
    ladder.write_text(ladder.read_text() + "\n[constraints]\nmin_accuracy = 0.99\nmax_energy_mj = 5\n")
    study = _search(ladder, 6, constraints=Constraints(min_accuracy=0.2))
    assert study.constraints == Constraints(min_accuracy=0.2, max_energy_mj=5.0)


@pytest.mark.exhaustive
def test_a_search_aims_beyond_the_users_reference_point(ladder: Path) -> None:
    """Of 40 networks of one rung, the first ten at random, more lie beyond it than in a search without one.

    Networks that do not are trained and may be on the front all the same.
    """
    ladder.write_text(LADDER.replace(f"rungs = {list(RUNGS)}", "rungs = [1]"))
    asked = ReferencePoint(0.6, 0.0004)
    searches = [_search(ladder, 40, hypervolume_from=point, study=str(point is asked)) for point in (asked, None)]
    beyond = [
        sum((c.search_val_accuracy or 0) > asked.accuracy and (c.energy_mj or 1) < asked.energy_mj for c in found)
        for found in (study.candidates.values() for study in searches)
    ]
    assert beyond[0] > 1.5 * beyond[1] > 0


@pytest.mark.exhaustive
def test_below_the_last_rung_a_search_aims_at_the_energy_alone(ladder: Path) -> None:
    """No network reaches the accuracy there, as none has seen more than half of the images."""
    asked = ReferencePoint(0.6, 0.0002)
    searches = [_search(ladder, 30, hypervolume_from=point, study=str(point is asked)) for point in (asked, None)]
    below = [sum((c.energy_mj or 1) < asked.energy_mj for c in study.candidates.values()) for study in searches]
    assert below[0] > 1.3 * below[1] > 0


def test_the_last_search_says_where_hypervolume_is_measured_from(ladder: Path) -> None:
    """The option takes the place of the space's section, as with limits; without both there is none."""
    assert _search(ladder, 3).hypervolume_from is None
    asked = ReferencePoint(0.1, 5.0)
    study = _search(ladder, 3, hypervolume_from=asked)
    assert study.hypervolume_from == asked
    points = [point for c in study.candidates.values() if (point := c.point()) is not None]
    assert study.reference_point(points) == (10.0, math.log10(5.0))
    assert study.hypervolume() == pareto.hypervolume(points, (10.0, math.log10(5.0)))
    ladder.write_text(ladder.read_text() + "\n[hypervolume]\naccuracy = 0.3\nenergy_mj = 2\n")
    assert _search(ladder, 3).hypervolume_from == ReferencePoint(0.3, 2.0)
    assert _search(ladder, 3, hypervolume_from=asked).hypervolume_from == asked
    ladder.write_text(LADDER)
    study = _search(ladder, 3)
    assert study.hypervolume_from is None
    assert study.reference_point(points) == pareto.reference_point(points)


@pytest.mark.parametrize(
    ("budget", "cost"), [("1k", lambda c: c.images_seen), ("0.1h", lambda c: c.provenance["wall_s"])]
)
def test_a_budget_is_kept(ladder: Path, budget: str, cost: Callable[[Candidate], float]) -> None:
    """1,000 images or 360 s. Of images no training begins that would exceed it; of time the last may run over."""
    said = Heard()
    study = _search(ladder, None, budget=budget, observer=said)
    spent = [cost(Candidate.from_dict(t.user_attrs["candidate"])) for t in study.snapshot().trained]
    if budget == "1k":
        assert 800 < sum(spent) <= 1000
    else:
        assert sum(spent[:-1]) < 360 <= sum(spent)
    assert "no further training fits into it" in said.text
    assert study.front()
    before = _sequence(study)
    assert _sequence(_search(ladder, None, budget=budget)) == before
    assert len(_sequence(_search(ladder, None, budget=budget.replace("1", "2")))) > len(before)


def test_patience_ends_a_search_whose_front_stands_still(ladder: Path) -> None:
    """No sooner than 10 networks after the first random ones, and what is due goes on before the end."""
    said = Heard()
    study = _search(ladder, 100, patience=10, observer=said)
    assert "The front has not changed for 10 networks." in said.text
    begun: list[str] = []
    moves = [25]  # a quarter of 100
    front = [(c.search_val_accuracy, math.log10(c.energy_mj or 1)) for c in study.front().values()]
    for trial in study.snapshot().trained:
        begun.append(trial.user_attrs["config_id"])
        if trial.state == TrialState.COMPLETE and trials.values_of(trial) in front:
            moves.append(len(set(begun)))
    assert len(set(begun)) - max(moves) >= 10
    assert len(study.candidates) < 100
    counts = Counter(rung for _, rung, _ in _sequence(study))
    assert counts[1] == math.ceil(counts[0] / 5)
    assert counts[2] == math.ceil(counts[1] / 2)


@pytest.mark.exhaustive
def test_limits_that_tighten_and_loosen_leave_nothing_stuck_or_lost(ladder: Path) -> None:
    """What waits and is too large by the new limit stays where it is; weights of the front without limits stay too."""
    study = _search(ladder, 20, references=False)
    sizes = sorted(c.parameters for c in study.candidates.values())
    tight = Constraints(max_params=sizes[5], min_accuracy=0.9)
    before = {(t.user_attrs["config_id"], trials.rung_of(t)) for t in study.snapshot().trained}
    study = _search(ladder, 25, references=False, constraints=tight)
    later = {(t.user_attrs["config_id"], trials.rung_of(t)) for t in study.snapshot().trained} - before
    found = {c.config_id: c for c in study.candidates.values()}
    assert later
    assert all(found[identity].parameters <= sizes[5] for identity, _ in later)
    assert not study.front()
    without_limits = {c.config_id for c in front_of(study.candidates).values()}
    assert {path.stem for path in (study.folder / "weights").iterdir()} == without_limits


def test_the_last_allowed_network_of_a_space_is_found(ladder: Path) -> None:
    """2,000 random draws would not do in a large space; one that can be listed is gone through."""
    ladder.write_text(MICRO)
    source = dataclasses.replace(load_space(ladder), references={})
    smallest = min(source.configs(), key=lambda c: sum(p.numel() for p in Spikformer(c).parameters()))
    rare = ConfigSpace(source, lambda config: config.config_id == smallest.config_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searcher, "_DRAWS", 1)
        assert Searcher(rare, 0).next_step([]).network.identity == smallest.config_id


def test_rungs_that_are_equally_many_images_are_refused(ladder: Path) -> None:
    with pytest.raises(StudyError, match=r"rungs \[0.1, 0.5, 1.0\] are \[10, 10, 20\] images: some are equal"):
        _search(ladder, 2, train_images=20)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"networks": None}, "the length of the search is missing"),
        ({"networks": 1, "budget": "8 days"}, 'budget "8 days" is not an amount'),
        ({"networks": 1, "budget": "0"}, 'budget "0" is not an amount'),
        ({"networks": 1, "patience": 0}, "patience 0 must be at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(ladder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        _search(ladder, **settings)
    assert not (ladder.parent / "results").exists()


def test_a_study_from_before_there_were_rungs_opens_and_is_not_searched_on(ladder: Path) -> None:
    """Its records lack what rungs brought, and the file is as that version wrote it."""
    text = ladder.read_text()
    ladder.write_text(text.replace(f"rungs = {list(RUNGS)}", "rungs = [1]"))
    study = _search(ladder, 3)
    journal, found = study.folder / "journal.log", study.candidates
    lines = [_as_it_was(json.loads(line)) for line in journal.read_text().splitlines()]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines if line is not None))
    old = nas.load_study("ladder", results_dir=study.folder.parent)
    assert [c.config_id for c in old.candidates.values()] == [c.config_id for c in found.values()]
    assert {c.recipe.rungs for c in old.candidates.values()} == {(1.0,)}
    assert "3 candidates evaluated: 3 complete" in " ".join(contents.build(old).findings)
    with pytest.raises(StudyError, match="network ids in study ladder were made by another version"):
        _search(ladder, 5)


def _as_it_was(line: dict[str, Any]) -> dict[str, Any] | None:
    del line["line"]
    attributes = line.get("user_attr", {})
    if set(attributes) & {"rung", "proposed_by", "constraints"} or any(name.startswith("rung/") for name in attributes):
        return None
    if "identity" in attributes:
        del attributes["identity"]["recipe.rungs"], attributes["identity"]["ids"]
    if "candidate" in attributes:
        del attributes["candidate"]["recipe"]["rungs"]
    return line


def test_somebody_elses_trials_in_the_study_are_evaluated_at_the_first_rung(ladder: Path) -> None:
    study = _search(ladder, 1)
    params = dict(study.optuna.trials[0].params) | {"embed_dim": 16}
    study.optuna.enqueue_trial(params)
    study = _search(ladder, 4)
    assert _sequence(study)[3][1] == 0
    assert study.optuna.trials[3].params == params
    assert study.optuna.trials[3].user_attrs["proposed_by"] == "enqueued"
