"""Budgets and plans, by hand."""

import math

import pytest

from nas.errors import StudyError
from nas.searching.budget import Budget, Plan, affordable, whole
from nas.training.throughput import Pace


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("2e6", Budget(images=2e6)),
        ("500k", Budget(images=5e5)),
        ("2.5M", Budget(images=2.5e6)),
        ("1G", Budget(images=1e9)),
        ("90min", Budget(hours=1.5)),
        ("8 h", Budget(hours=8)),
    ],
)
def test_amounts(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "8d", "-1h", "0h", "1e999", "ten", "2m", "inf"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(
        StudyError,
        match=r"is not an amount\. Give a number of images, such as 2e6 or 500k, or a time, such as 90min or 8h",
    ):
        Budget.parse(text)


def test_images_are_never_exceeded_and_time_only_by_what_was_begun() -> None:
    assert Budget(images=100).allows(90, 1e9, 10)
    assert not Budget(images=100).allows(90, 0, 11)
    assert Budget(hours=2).allows(1e9, 1.99, 10**9)
    assert not Budget(hours=2).allows(0, 2, 1)


def test_a_plan_in_words() -> None:
    """200, ceil(200 / 3.5) = 58 and ceil(58 / 3.5) = 17 networks; 200 x 5 + 58 x 25 + 17 x 100 = 4,150 thousand images.

    Random search trains each on 100 thousand: 41 networks, for a 42nd 50 thousand are missing.

    0.1 ms an image and 4 s of measuring: 415 s + 275 x 4 s = 1,515 s = 25 min. On disk 275 records of 40 kB and 17
    times 4 bytes a parameter: 11 MB + 68 MB.
    """
    plan = Plan.of(200, 6, [5_000, 25_000, 100_000], [3.5, 3.5])
    assert plan == Plan((200, 58, 17), (5_000, 25_000, 100_000))
    assert plan.lines(Pace(1e-4, 4.0), 1_000_000, 1) == [
        "Plan: about 200 networks to 5,000 images each, 58 of them to 25,000 images, 17 of them to 100,000 images; "
        "4,150,000 images in all. With as many images, random search would train 41 networks in full.",
        "At the speed measured here, that takes about 25 min in all and up to 79 MB on disk.",
    ]
    assert "about 12 s" in Plan.of(3, 0, [100], []).lines(Pace(0.0, 4.0), 0, 1)[1]
    assert "about 2.8 h" in Plan.of(1, 0, [100], []).lines(Pace(100.0, 0.0), 0, 1)[1]


def test_a_plan_of_more_than_a_day_says_what_to_do() -> None:
    """100 networks of 3,600 s are 100 h: 4 days one after the other, 25 h of four at a time, a day of five."""
    plan, pace = Plan.of(100, 0, [100], []), Pace(36.0, 0.0)
    one, four, five = (plan.lines(pace, 0, at_once) for at_once in (1, 4, 5))
    assert ("about 4 days" in one[1], "about 25.0 h" in four[1], "about 20.0 h" in five[1]) == (True, True, True)
    remedy = "Give fewer --trials, a smaller space, fewer --train-images or --epochs, or use a GPU."
    assert one[2] == four[2] == f"Warning: that is more than a day. {remedy}"
    assert len(five) == 2


def test_pace_of_a_space_is_a_line_in_macs() -> None:
    """2 ms and 1 ms for a million MACs an image; at 3 million 5 ms. Measuring does not depend on the size."""
    paces = [Pace(0.003, 4.0), Pace(0.004, 4.0), Pace(0.007, 4.0)]
    pace = Pace.of_sizes([1e6, 2e6, 5e6], paces, 3e6)
    assert pace.image_s == pytest.approx(0.005)
    assert pace.measuring_s == pytest.approx(4.0)
    assert Pace.of_sizes([1e6], [Pace(0.003, 4.0)], 2e6).image_s > 0


def test_pace_separates_images_from_measuring() -> None:
    """2 s of measuring and 10 ms an image; of equal trainings only the sum is known."""
    assert Pace.of([100, 200, 400], [3.0, 4.0, 6.0]).seconds([1], [300]) == pytest.approx(5.0)
    assert Pace.of([100, 100], [3.0, 5.0]).seconds([2], [100]) == pytest.approx(8.0)
    assert Pace.of([100, 200], [4.0, 3.0]).image_s >= 0


def test_how_many_networks_a_budget_buys() -> None:
    """Each costs 5 + 25 / 4 + 100 / 16 = 17.5 images, and 1.3125 trainings of 1 s: 1.3125 s."""
    rungs = 0, [5, 25, 100], [4.0, 4.0]
    assert affordable(Budget(images=1_751), *rungs, Pace(0.0, 1.0)) == 100
    assert affordable(Budget(hours=131.26 / 3600), *rungs, Pace(0.0, 1.0)) == 100
    assert affordable(Budget(images=1_751, hours=13.13 / 3600), *rungs, Pace(0.0, 1.0)) == 10
    assert affordable(Budget(images=1), *rungs, Pace(0.0, 1.0)) == 1
    assert math.isinf(Budget().images)


def test_references_are_trained_in_full_and_paid_first() -> None:
    """Three cost 3 x 130 = 390 images; 175 more buy ten networks at 17.5."""
    assert affordable(Budget(images=390 + 176), 3, [5, 25, 100], [4.0, 4.0], Pace(0.0, 1.0)) == 13
    assert affordable(Budget(images=100), 3, [5, 25, 100], [4.0, 4.0], Pace(0.0, 1.0)) == 3
    assert Plan.of(16, 6, [5, 25, 100], [4.0, 4.0]).networks == (16, 6, 6)


@pytest.mark.parametrize(
    ("fulls", "networks", "in_full"),
    [(3, 20, 2), (5, 20, 4), (7, 20, 6), (10, 40, 8), (1.3, 6, 1), (40, 160, 32)],
)
def test_a_budget_of_images_is_spent_to_its_end(fulls: float, networks: int, in_full: int) -> None:
    """By hand, at 5 and 100 images: 3 full trainings' images are two full ones and 20 at 5, and not 12 and a rest."""
    budget, images = Budget(images=100 * fulls), [5, 100]
    (per,) = whole(budget, 0, images, [5.0])
    assert affordable(budget, 0, images, [per], Pace(0.0, 1.0)) == networks
    assert math.ceil(networks / per) == in_full
    assert 5 * networks + 100 * in_full <= budget.images < 5 * (networks + 1) + 100 * in_full


def test_what_cannot_be_spent_to_its_end_stays_as_it_is() -> None:
    """Of time, of three rungs, without limit, and of less than one network trained at both rungs."""
    assert whole(Budget(hours=1), 0, [5, 100], [5.0]) == (5.0,)
    assert whole(Budget(images=300), 0, [5, 25, 100], [5.0, 2.0]) == (5.0, 2.0)
    assert whole(Budget(), 0, [5, 100], [5.0]) == (5.0,)
    assert whole(Budget(images=104), 0, [5, 100], [5.0]) == (5.0,)
    assert whole(Budget(images=310 + 104), 2, [55, 100], [5.0]) == (5.0,)
