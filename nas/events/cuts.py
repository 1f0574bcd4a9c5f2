"""Which recordings of a class are for training and which for the test, where a data set comes in one piece."""

import re
from collections.abc import Callable, Sequence
from typing import Literal

from nas.errors import DataError

Part = Literal["train", "test"]
Cut = Callable[[Sequence[str], Part], list[str]]
"""The names of one part, of the names of one class in the order of text."""


def uncut(names: Sequence[str], _part: Part) -> list[str]:
    """All of them: the authors keep the parts in two folders."""
    return list(names)


def first_90_percent(names: Sequence[str], part: Part) -> list[str]:
    """The first 90 %, rounded up, for training.

    This is `spikingjelly.datasets.split_to_train_test_set(0.9, ...)`, by which Spikformer, Spikingformer, QKFormer and
    others cut CIFAR10-DVS. As text, cifar10_cat_10 comes before cifar10_cat_2: of the numbers 0 to 999 the test has 91
    to 99 and 909 to 999.
    """
    end = (9 * len(names) + 9) // 10
    return list(names[:end] if part == "train" else names[end:])


def tebn(names: Sequence[str], part: Part) -> list[str]:
    """Numbers 0 to 99 for the test, those from 100 on for training, as in the code of TEBN (Duan et al., NeurIPS 2022).

    Raises:
        DataError: a name does not end in a number.
    """
    numbers = {name: re.search(r"_(\d+)\.", name) for name in names}
    for name, number in numbers.items():
        if number is None:
            raise DataError(
                f'{name} has no number, which the split "tebn" goes by. Name it as its authors do, such as '
                "cifar10_cat_17.npz"
            )
    return [name for name, number in numbers.items() if number and (int(number[1]) < 100) == (part == "test")]


def every_tenth(names: Sequence[str], part: Part) -> list[str]:
    """The 10th, 20th, 30th... for the test: a split of this program, where none was published."""
    return [name for place, name in enumerate(names, start=1) if (place % 10 == 0) == (part == "test")]


__all__ = ["Cut", "Part", "every_tenth", "first_90_percent", "tebn", "uncut"]
