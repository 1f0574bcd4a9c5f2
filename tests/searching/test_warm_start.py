"""Searches that begin with what other studies and tables showed; a formula stands in for training."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.errors import StudyError
from nas.reports import contents, texts
from nas.searching import opening
from nas.searching.settings import SearchSettings
from nas.studies import warm_start
from nas.studies.study import Study
from nas.training.candidate import Candidate
from tests.helpers import Heard
from tests.searching import test_proposals

ladder, real = test_proposals.ladder, test_proposals.real


class Listed:
    """Trainings that look like a table."""

    def __init__(self, study: Study, **changes: Any) -> None:
        self.name, self.digest, self.identity = "listed", "0123456789abcdef", study.identity | changes
        self._every = [(share_of(record), record) for _, record in study.records_of(study.snapshot().trained)]

    def trainings(self) -> list[tuple[float, Candidate]]:
        return self._every


def share_of(record: Candidate) -> float:
    return record.images_seen / 200


def search(space: Path, trials: int, name: str, *sources: object, **settings: Any) -> tuple[Study, str]:
    heard = Heard()
    place = dict[str, Any](results_dir=space.parent / "results", study=name, observer=heard, warm_start=sources)
    return opening.search(space, trials, **(place | settings)), heard.text


def sequence(study: Study) -> Sequence[tuple[str, int]]:
    return [(t.user_attrs["config_id"], t.user_attrs["rung"]) for t in study.snapshot().trained]


@pytest.fixture
def old(ladder: Path) -> Study:
    return search(ladder, 10, "old")[0]


def test_a_search_knows_from_the_beginning_what_an_older_one_read(ladder: Path, old: Study) -> None:
    """No network is spared or becomes a result; a continued search needs the old study no more."""
    study, text = search(ladder, 6, "new", old)
    assert "All 10 networks of study old are points of this space. They were trained alike" in text
    assert "The searcher knows 10 networks of study old" in text
    assert len(study.candidates) == 6
    assert study.spent.networks[0] == 6
    by_identity = {r.network.identity: r for r in warm_start.prior_of(study, study.space.axes).records}
    assert {identity: set(r.observations) for identity, r in by_identity.items()} == {
        identity: {rung for other, rung in sequence(old) if other == identity} for identity, _ in sequence(old)
    }
    assert sequence(study) != sequence(search(ladder, 6, "cold")[0])
    text = texts.markdown(contents.build(study))
    assert "Warm start: the searcher knew 10 networks of study old" in text
    assert "Warm start" not in texts.markdown(contents.build(old))


def test_an_interrupted_search_goes_on_without_what_it_began_with(ladder: Path, old: Study) -> None:
    whole, _ = search(ladder, 6, "whole", old)
    search(ladder, 6, "parts", old, budget="100")
    parts, text = search(ladder, 6, "parts")
    assert "The searcher knows 10 networks of study old" in text
    assert sequence(parts) == sequence(whole)


def test_only_points_of_the_space_count(ladder: Path, old: Study) -> None:
    """Networks of depth 3 are none of a space without it; of their number is told."""
    narrow = ladder.with_name("narrow.toml")
    narrow.write_text(ladder.read_text().replace("depth = [1, 2, 3]", "depth = [1, 2]"))
    deep = sum(c.config.stages[0].depth == 3 for c in old.candidates.values())
    assert 0 < deep < 10
    study, text = search(narrow, 4, "narrow", old)
    assert f"{10 - deep} of 10 networks of study old are points of this space; the rest are left out." in text
    assert all(r.network.params["depth"] != 3 for r in warm_start.prior_of(study, study.space.axes).records)


def test_a_table_of_other_images_counts_by_rank(ladder: Path, old: Study) -> None:
    """Each network by its reading at its largest share, at rungs after the three of the search."""
    study, text = search(ladder, 4, "new", Listed(old, **{"data.images": "others"}))
    assert "They were trained otherwise (data.images), so the search learns how far their ranking holds" in text
    (source,) = warm_start.sources_of(study)
    assert (source.kind, source.networks, source.alike) == ("table", 10, False)
    prior = warm_start.prior_of(study, study.space.axes)
    assert (prior.shares, prior.studies) == ((0.1, 0.5, 1.0), (1, 1, 1))
    furthest = {c.config_id: 3 + (0.1, 0.5, 1.0).index(share_of(c)) for c in old.candidates.values()}
    assert {r.network.identity: list(r.observations) for r in prior.records} == {i: [k] for i, k in furthest.items()}


def test_seeds_are_averaged(ladder: Path, old: Study) -> None:
    listed = Listed(old)
    listed._every += [
        (share, dataclasses.replace(c, search_val_accuracy=(c.search_val_accuracy or 0) / 2, seed=1))
        for share, c in listed._every
    ]
    study, _ = search(ladder, 1, "new", listed)
    first = {c.config_id: c.search_val_accuracy for share, c in listed._every[: len(listed._every) // 2] if share == 1}
    for record in warm_start.prior_of(study, study.space.axes).records:
        if 2 in record.observations:
            own = first[record.network.identity]
            assert own is not None
            assert record.observations[2].accuracy == pytest.approx(0.75 * own)


@pytest.mark.exhaustive
def test_a_study_takes_no_other_observations_than_it_began_with(ladder: Path, old: Study) -> None:
    search(ladder, 3, "cold")
    with pytest.raises(StudyError, match="study cold began without --warm-start, and cannot take other observations"):
        search(ladder, 4, "cold", old)
    search(ladder, 3, "warm", old)
    with pytest.raises(StudyError, match="study warm began with --warm-start of study old, and cannot"):
        search(ladder, 4, "warm", nas.load_study("cold", results_dir=ladder.parent / "results"))
    assert len(search(ladder, 4, "warm", old)[0].candidates) == 4


def test_what_has_no_use_is_refused_before_a_study_is_made(ladder: Path, old: Study) -> None:
    elsewhere = ladder.with_name("elsewhere.toml")
    text = ladder.read_text().replace("time_steps = [1, 2, 4]", "time_steps = [3, 5]")
    elsewhere.write_text("".join(line for line in text.splitlines(True) if "Spikformer miniature" not in line))
    with pytest.raises(StudyError, match="none of the 10 networks of study old is a point of space elsewhere"):
        search(elsewhere, 4, "new", old)
    low = Listed(old)
    low._every = [(share, c) for share, c in low._every if share < 1]
    with pytest.raises(StudyError, match="table listed has no network that was trained in full"):
        search(ladder, 4, "new", low)
    with pytest.raises(StudyError, match="--warm-start names study old twice"):
        search(ladder, 4, "new", old, old)
    assert not (ladder.parent / "results" / "new").exists()


def test_settings_refuse_what_would_have_no_effect(old: Study) -> None:
    with pytest.raises(StudyError, match="TPESampler cannot use the networks of --warm-start"):
        SearchSettings(warm_start=[old], sampler="TPESampler")
    for text in ("old", ["old"], [Path("old.safetensors")]):
        with pytest.raises(StudyError, match="is neither a study nor a table"):
            SearchSettings(warm_start=text)  # pyrefly: ignore[bad-argument-type]  # which is the point
