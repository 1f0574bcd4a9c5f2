"""Searches that begin: between their images and their first training they measure their speed, which takes a while."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass

import optuna

from nas.studies.leases import Owner

_KEY = "starting/"
_LONGEST_S = 3600.0  # a start that is older on another machine was cut short


@dataclass(frozen=True)
class Start:
    """A search that has trained nothing yet.

    Attributes:
        since: when it began, in seconds since the epoch.
    """

    owner: Owner
    since: float


@contextlib.contextmanager
def announced(study: optuna.Study, owner: Owner) -> Iterator[None]:
    """A search begins within; a study is never without a word while somebody is about to work on it."""
    study.set_user_attr(_KEY + owner.search, {"owner": dataclasses.asdict(owner), "since": time.time()})
    try:
        yield
    finally:
        study.set_user_attr(_KEY + owner.search, None)


def starts(study: optuna.Study) -> list[Start]:
    """The searches that begin now, as far as this machine can tell, the first one first."""
    stored = [value for key, value in study.user_attrs.items() if key.startswith(_KEY) and value is not None]
    every = [Start(Owner(**value["owner"]), value["since"]) for value in stored]
    return sorted((start for start in every if _is_going_on(start)), key=lambda start: start.since)


def _is_going_on(start: Start) -> bool:
    return not start.owner.has_ended() if start.owner.is_here() else time.time() - start.since < _LONGEST_S


__all__ = ["Start", "announced", "starts"]
