"""Frames that a study keeps to show them: what is read back is what was stored, small, and damage is told."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from nas.errors import StudyError
from nas.studies import preview
from nas.studies import storage as storages
from nas.studies.study import Study

KEY = "frames_preview"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    with storages.quiet_optuna():
        return Study("events", tmp_path, storages.create("events", optuna.storages.InMemoryStorage()))


def _stored(study: Study) -> Any:
    return study.optuna.user_attrs[KEY]


def test_small_frames_are_kept_as_they_are(study: Study) -> None:
    counts = np.random.default_rng(0).integers(0, 4, (2, 2, 16, 16)).astype(np.uint8)
    assert not preview.is_kept(study)
    assert preview.kept_by(study) == ()
    preview.keep(study, [("cat", counts)])
    (shown,) = preview.kept_by(study)
    assert preview.is_kept(study)
    assert (shown.label, shown.added) == ("cat", 1)
    assert np.array_equal(shown.counts, counts)


def test_counts_of_neighbours_are_added_by_hand(study: Study) -> None:
    """40 pixels become 20 places of 2 x 2; 255 stands for more. Of 33 pixels the last place has a row of its own."""
    counts = np.zeros((1, 2, 40, 40), np.uint8)
    counts[0, 1, 2:4, 4:6] = [[1, 2], [3, 4]]
    counts[0, 0, 0:2, 0:2] = 200
    odd = np.ones((1, 2, 33, 33), np.uint8)
    preview.keep(study, [("a", counts), ("b", odd)])
    first, second = preview.kept_by(study)
    assert (first.added, first.counts.shape) == (2, (1, 2, 20, 20))
    assert (first.counts[0, 1, 1, 2], first.counts[0, 1].sum()) == (10, 10)
    assert (first.counts[0, 0, 0, 0], first.counts[0, 0].sum()) == (255, 255)
    assert second.counts.shape == (1, 2, 17, 17)
    assert second.counts[0, 0, 16].tolist() == [2] * 16 + [1]


@pytest.mark.parametrize(("time_steps", "side"), [(1, 32), (8, 16), (24, 8)])
def test_all_pictures_together_are_small(study: Study, time_steps: int, side: int) -> None:
    """Noise cannot be packed: 4 x T x 2 x side x side bytes, a third more in base64, stay below 20 kB."""
    noise = np.random.default_rng(0).integers(0, 2, (4, time_steps, 2, 64, 64)).astype(np.uint8)
    preview.keep(study, zip("abcd", noise, strict=True))
    assert {shown.counts.shape[-1] for shown in preview.kept_by(study)} == {side}
    assert len(str(_stored(study))) < 20_100


@pytest.mark.parametrize(
    "damage",
    [
        {"counts": "no base64!"},
        {"counts": "AAAA"},
        {"counts": 5},
        {"label": None},
        {"side": 33},
        {"side": 8},
        {"side": True},
        {"time_steps": 1},
        {"time_steps": 10**9},
        {"added": 0},
        {"added": "2"},
    ],
)
def test_damaged_frames_are_one_clear_error(study: Study, damage: dict[str, object]) -> None:
    preview.keep(study, [("cat", np.ones((2, 2, 16, 16), np.uint8))])
    study.optuna.set_user_attr(KEY, [_stored(study)[0] | damage])
    with pytest.raises(StudyError, match=r"the frames of recordings that study events keeps are damaged .* backup"):
        preview.kept_by(study)


@pytest.mark.parametrize("stored", [5, {}, [5], [{}], [[]] * 5])
def test_what_is_no_list_of_recordings_is_refused(study: Study, stored: object) -> None:
    study.optuna.set_user_attr(KEY, stored)
    with pytest.raises(StudyError, match="are damaged"):
        preview.kept_by(study)
