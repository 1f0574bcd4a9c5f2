"""The three sentences that a report begins with, for each state that a study can be in."""

import dataclasses
import shlex
from typing import Any

import pandas as pd
import pytest

from nas.reports import repeats
from nas.reports.contents import Report
from nas.reports.repeats import Repeats
from nas.reports.summary import summary
from nas.settings import Constraints
from nas.stats import means

LEAST = {"trial": 4, "energy_mj": 4.68e-5, "report_val_accuracy": 0.657, "report_val_low": 0.607}
BEST = {"trial": 7, "energy_mj": 5.36e-4, "report_val_accuracy": 0.936, "report_val_low": 0.906}
HIGHS = (0.705, 0.957)


def _report(count: int = 2, seeds: tuple[int, ...] = (), **changes: Any) -> Report:
    """A study of 24 networks, of which `count` are on the front, the first ones confirmed with so many seeds."""
    front = pd.DataFrame([row | {"report_val_high": h} for row, h in zip((LEAST, BEST), HIGHS, strict=True)])
    trials = pd.DataFrame({"trial": range(24), "status": "complete", "energy_mj": 1e-4})
    confirmed = front[: len(seeds)].assign(
        seeds=seeds, report_val_accuracy=0.6, report_val_low=0.588, report_val_high=0.611
    )
    empty = pd.DataFrame()
    report = Report(
        *("mine", "measured", "energy_mj", trials, front[:count], [], []),
        knee=7,
        repeats=Repeats(empty, confirmed, empty, empty, []),
    )
    return dataclasses.replace(report, **changes)


def test_an_unconfirmed_front_is_to_be_confirmed() -> None:
    """The wider interval is trial 4's, 60.7 to 70.5 % around 65.7 %: 5.0 points below."""
    sentences = summary(_report(), ["--results-dir", "x y"], "python -m nas")
    assert sentences.found == (
        "The search tried 24 networks and trained 24 of them in full. Of these, 2 are worth choosing from, as no other "
        "is both more accurate and cheaper: they range from 65.7 % of unseen images right at 46.8 nJ per image (trial "
        "4) to 93.6 % of unseen images right at 536 nJ per image (trial 7)."
    )
    assert "not confirmed" in sentences.sure
    assert "up to 5.0 points either way (95 %)" in sentences.sure
    assert shlex.split(sentences.command) == [
        *("python", "-m", "nas", "confirm", "--study", "mine", "--results-dir", "x y"),
    ]


def test_a_confirmed_front_is_to_be_exported() -> None:
    """Means of 60 % with 58.8 to 61.1 %: 1.2 points below; the accuracy named is the mean, not the search's."""
    sentences = summary(_report(seeds=(2, 3)), [], "nas")
    assert sentences.found.count("60.0 % of unseen images") == 2
    assert sentences.sure == (
        "All of these 2 networks were trained again with 2 to 3 further random seeds, and the mean accuracies are "
        "uncertain by up to 1.2 points either way (95 %); these are short proxy trainings, and energies are estimates "
        "from counted operations, without memory accesses."
    )
    assert sentences.command == "nas export --study mine --pick 7"


def test_a_difference_that_is_not_established_is_not_claimed() -> None:
    """Between the knee, trial 4, and the most accurate, trial 7."""
    report = _report(seeds=(2, 3), knee=4)
    assert report.repeats is not None
    confirmed = report.repeats.confirmed.assign(undecided=["7", "4"], ties="")
    report = dataclasses.replace(report, repeats=dataclasses.replace(report.repeats, confirmed=confirmed))
    assert "; whether trial 7 is better than trial 4 is not established;" in summary(report, [], "nas").sure


def test_a_front_under_limits_claims_nothing_of_networks_that_break_them() -> None:
    sentences = summary(_report(constraints=Constraints(max_energy_mj=1.0)), [], "nas")
    assert "Of those that keep your limits, 2 are worth choosing from" in sentences.found


def test_an_interval_of_accuracies_ends_at_all_images() -> None:
    """Two seeds of 98 and 100 %: deviation sqrt(2), Student's 12.7 for one degree of freedom, so 99 +- 12.7 points."""
    (mean,) = means([[98.0, 100.0]])
    assert (mean.low, mean.high) == pytest.approx((99 - 12.706, 99 + 12.706), abs=1e-3)
    assert repeats._shares(mean) == pytest.approx((0.99, 0.86294, 1.0), abs=1e-5)


def test_a_front_that_is_partly_confirmed_says_so() -> None:
    sentences = summary(_report(seeds=(2,)), [], "nas")
    assert sentences.sure.startswith("1 of these 2 networks")
    assert "; the others come from a single training each;" in sentences.sure
    assert sentences.command == "nas confirm --study mine"


def test_while_trainings_run_one_waits() -> None:
    sentences = summary(_report(running=1), [], "nas")
    assert sentences.next.startswith("One training run is under way")
    assert sentences.command == "nas report --study mine"


def test_a_front_of_one_network() -> None:
    sentences = summary(_report(1, seeds=(2,), knee=4), [], "nas")
    assert "Of these, the search ranks one as both the most accurate and the cheapest" in sentences.found
    assert "the only one on the front" in sentences.next


@pytest.mark.parametrize("trials", [0, 24])
def test_without_a_front_the_search_goes_on(trials: int) -> None:
    sentences = summary(_report(0, trials=pd.DataFrame({"trial": range(trials)})), [], "nas")
    assert ("24 networks" in sentences.found) == bool(trials)
    assert "goes on where it stopped" in sentences.next
    assert sentences.command == ""


def test_energy_for_imagenet_is_named_as_predicted() -> None:
    front = pd.DataFrame([LEAST | {"report_val_high": 0.7, "energy_target_mj": 5.0}])
    sentences = summary(_report(energy="energy_target_mj", front=front), [], "nas")
    assert "at 5 mJ per image, predicted for its ImageNet version" in sentences.found
