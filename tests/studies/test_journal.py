"""A journal that lost lines, was cut short or overwritten: mended where that loses nothing, else refused whole."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from nas.errors import StudyError
from nas.studies import journal, storage

LINES = 11  # of `_study`: what begins it, its metric names, and three for each of three trials
NO_RECORD = (
    r"journal\.log is not a readable record of a study \(.*Restore the file from a backup, or name another --study"
)


def _study(folder: Path) -> Path:
    """The journal of a study of three trials."""
    folder.mkdir(parents=True, exist_ok=True)
    with storage.quiet_optuna():
        study = storage.create("small", storage.journal(folder))
        for _ in range(3):
            trial = study.ask()
            trial.set_user_attr("said", "all")
            study.tell(trial, [0.5, 0.1])
    return folder / "journal.log"


def _trials(journal: Path) -> list[optuna.trial.FrozenTrial]:
    with storage.quiet_optuna():
        return optuna.load_study(study_name="small", storage=storage.journal(journal.parent)).trials


def test_lines_are_numbered_whoever_writes_them(tmp_path: Path) -> None:
    journal = _study(tmp_path)
    other = optuna.load_study(study_name="small", storage=storage.journal(tmp_path))
    _study(tmp_path)
    other.set_user_attr("said", "by another process")
    numbers = [json.loads(line)["line"] for line in journal.read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("missing", range(LINES - 1))
def test_a_line_that_is_missing_is_noticed_wherever_it_stood(tmp_path: Path, missing: int) -> None:
    """Before, later lines went to the wrong trials. That the last one is missing is how the file was before it."""
    journal = _study(tmp_path)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:missing] + lines[missing + 1 :]))
    with pytest.raises(StudyError, match=f"line {missing + 1} was written as line {missing + 2}"):
        _trials(journal)


def test_the_quicker_reader_of_json_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also NaN, which it does not take itself, and letters that JSON escapes."""
    path = _study(tmp_path)
    study = optuna.load_study(study_name="small", storage=storage.journal(tmp_path))
    study.set_user_attr("loss", [math.nan, math.inf, 1e-320, 2**53 + 1])
    study.set_user_attr("name", "\u00e9 \ud83d\ude00 <>")
    read = [(optuna.load_study(study_name="small", storage=storage.journal(tmp_path)).user_attrs, _trials(path))]
    monkeypatch.setattr(journal, "_decoded", json.loads)
    read += [(optuna.load_study(study_name="small", storage=storage.journal(tmp_path)).user_attrs, _trials(path))]
    assert repr(read[0]) == repr(read[1])


def _without_numbers(journal: Path) -> list[str]:
    """Its lines as earlier versions wrote them."""
    logs = [json.loads(line) for line in journal.read_text().splitlines()]
    return [json.dumps({key: value for key, value in log.items() if key != "line"}) for log in logs]


def test_journals_of_earlier_versions_are_read_and_continued(tmp_path: Path) -> None:
    journal = _study(tmp_path)
    journal.write_text("\n".join(_without_numbers(journal)) + "\n")
    assert len(_trials(journal)) == 3
    _study(tmp_path)
    assert len(_trials(journal)) == 6


def test_without_numbers_the_beginning_of_a_study_or_trial_is_still_missed(tmp_path: Path) -> None:
    journal = _study(tmp_path)
    lines = _without_numbers(journal)
    begins = [i for i, line in enumerate(lines) if json.loads(line)["op_code"] in (0, 4)]
    assert len(begins) == 4
    for i in begins:
        journal.write_text("\n".join(lines[:i] + lines[i + 1 :]) + "\n")
        with pytest.raises(StudyError, match=r"no line begins a study|which no earlier line begins"):
            _trials(journal)


@pytest.mark.parametrize("tail", [b"\0" * 5000, b'{"op_code":8,"wor' + b"\0" * 300, b'{"op_code":8,"wor'])
def test_what_a_power_loss_leaves_at_the_end_is_read_over_and_then_replaced(tmp_path: Path, tail: bytes) -> None:
    journal = _study(tmp_path)
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    assert len(_trials(journal)) == 3
    assert journal.read_bytes() == whole + tail  # reading changes nothing
    _study(tmp_path)
    assert len(_trials(journal)) == 6
    assert journal.read_bytes().startswith(whole + b'{"op_code"')


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("whole", [True, False])
def test_random_bytes_are_no_record(tmp_path: Path, seed: int, whole: bool) -> None:
    journal = _study(tmp_path)
    content, generator = bytearray(journal.read_bytes()), random.Random(seed)
    start = 0 if whole else len(content) // 3
    content[start:] = generator.randbytes(len(content) - start)
    journal.write_bytes(content)
    with pytest.raises(StudyError, match=NO_RECORD):
        _trials(journal)
    assert journal.read_bytes() == content


DAMAGES: dict[str, Callable[[dict[str, object]], object]] = {
    "a list": lambda log: [log],
    "no op_code": lambda log: {key: value for key, value in log.items() if key != "op_code"},
    "op_code of a later version": lambda log: log | {"op_code": 99},
    "op_code in words": lambda log: log | {"op_code": "create"},
    "a trial in words": lambda log: log | {"trial_id": "first"},
    "a trial that is not there": lambda log: log | {"trial_id": 10**9},
    "attributes in words": lambda log: log | {"user_attr": "said"},
    "a state that is none": lambda log: log | {"op_code": 6, "trial_id": 0, "state": 77},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_line_of_json_that_is_no_record_is_named(tmp_path: Path, damage: str) -> None:
    journal = _study(tmp_path)
    lines = journal.read_text().splitlines()
    places = [i for i, line in enumerate(lines) if json.loads(line)["op_code"] == 8]
    lines[places[0]] = json.dumps(DAMAGES[damage](json.loads(lines[places[0]])))
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(StudyError, match=NO_RECORD):
        _trials(journal)
