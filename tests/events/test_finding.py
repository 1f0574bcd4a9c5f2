"""What is asked for wrongly is answered with the names that there are."""

import re
from pathlib import Path
from typing import Any

import pytest

from nas import events
from nas.errors import DataError


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"dataset": "cifar10"}, "Use one of cifar10dvs, dvs128gesture, ncaltech101, nmnist, event_folder, dvs_digits"),
        ({"split": "random"}, 'cifar10dvs has no split "random". Use one of: first_90_percent, tebn'),
        ({"dataset": "nmnist", "split": "tebn"}, "Use one of: official"),
        ({"dataset": "ncaltech101", "split": "x"}, "Use one of: every_tenth"),
        ({"dataset": "event_folder", "split": "x"}, "Use one of: folders"),
        ({"part": "val"}, 'cifar10dvs has no part "val". Use one of: train, test'),
        ({"dataset": "dvs_digits", "data_dir": None, "part": "test"}, 'Take some of its part "train"'),
        ({"sensor": (34, 34)}, "the sensor of cifar10dvs is known"),
        ({"dataset": "event_folder", "sensor": (0, 34)}, "a sensor of 0 x 34 pixels"),
        (
            {"dataset": "event_folder", "data_dir": None},
            "event_folder needs a data folder, and none was given. Put rec",
        ),
        ({"data_dir": "nowhere"}, "nowhere does not exist. Download airplane.zip"),
    ],
)
def test_a_wrong_question_is_answered(tmp_path: Path, asked: dict[str, Any], words: str) -> None:
    question: dict[str, Any] = {"dataset": "cifar10dvs", "data_dir": tmp_path, "split": "", "part": "train"} | asked
    with pytest.raises(DataError, match=re.escape(words)):
        events.find(**question)
