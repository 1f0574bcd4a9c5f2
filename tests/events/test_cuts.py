"""Splits of one class by the names of its recordings."""

import pytest

from nas.errors import DataError
from nas.events import cuts

_CAT = sorted(f"cifar10_cat_{number}.npz" for number in range(1000))


def _numbers(names: list[str]) -> set[int]:
    return {int(name.removeprefix("cifar10_cat_").removesuffix(".npz")) for name in names}


def test_the_published_split_of_cifar10_dvs_goes_by_the_order_of_text() -> None:
    """Its test are the numbers 91 to 99 and 909 to 999: the 100 names that come last as text."""
    test = {*range(91, 100), *range(909, 1000)}
    assert _numbers(cuts.first_90_percent(_CAT, "test")) == test
    assert _numbers(cuts.first_90_percent(_CAT, "train")) == {*range(1000)} - test


@pytest.mark.parametrize(("names", "train"), [(1, 1), (2, 2), (9, 9), (10, 9), (11, 10), (101, 91)])
def test_90_percent_are_rounded_up(names: int, train: int) -> None:
    """As ceil(0.9 n)."""
    assert len(cuts.first_90_percent(_CAT[:names], "train")) == train
    assert len(cuts.first_90_percent(_CAT[:names], "test")) == names - train


def test_tebn_tests_on_the_first_hundred_numbers() -> None:
    assert _numbers(cuts.tebn(_CAT, "test")) == {*range(100)}
    assert _numbers(cuts.tebn(_CAT, "train")) == {*range(100, 1000)}
    with pytest.raises(DataError, match=r"cat\.npz has no number"):
        cuts.tebn(["cat.npz"], "train")


def test_every_tenth_recording_is_for_the_test() -> None:
    """Of 31: the 10th, 20th and 30th."""
    names = [f"image_{number:04}.npz" for number in range(1, 32)]
    assert cuts.every_tenth(names, "test") == ["image_0010.npz", "image_0020.npz", "image_0030.npz"]
    assert len(cuts.every_tenth(names, "train")) == 28
