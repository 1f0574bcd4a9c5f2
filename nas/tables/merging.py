"""Puts tables, parts and studies together; equal contents give equal files, in whatever order they come."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas.errors import TableError
from nas.tables.contents import Contents, Key, Settings, Signals
from nas.training import Candidate

_ACCIDENTS = ("died", "out_of_memory")  # what depends on the machine: a result of another one takes their place
_LIKE = 1e-3  # relative difference of signals that were computed on different processors


@dataclass(frozen=True)
class Source:
    """Something to merge.

    Attributes:
        name: what to call it in errors.
        is_study: whether its networks may be of another space, as long as images and recipe are the same.
    """

    name: str
    contents: Contents
    is_study: bool = False


def merged(sources: Sequence[Source]) -> Contents:
    """All trainings of the sources.

    Raises:
        TableError: there are none, settings differ, or two trainings of one key disagree.
    """
    if not sources:
        raise TableError("there is nothing to merge. Give tables, parts or studies")
    settings = _settings(sources)
    recipe_rungs = tuple(settings.identity["recipe.rungs"])
    trainings: dict[Key, tuple[str, Candidate]] = {}
    signals: dict[str, tuple[str, Signals]] = {}
    for source in sources:
        for key, candidate in source.contents.trainings.items():
            own = dataclasses.replace(candidate, recipe=dataclasses.replace(candidate.recipe, rungs=recipe_rungs))
            trainings[key] = _one_of(key, trainings.get(key), (source.name, own))
        for identity, values in source.contents.signals.items():
            signals[identity] = _one_signal(identity, signals.get(identity), (source.name, values))
    records = {key: candidate for key, (_, candidate) in trainings.items()}
    return Contents(settings, records, {identity: values for identity, (_, values) in signals.items()})


def _settings(sources: Sequence[Source]) -> Settings:
    """Those of the tables; of studies alone, theirs.

    Raises:
        TableError: two sources have different ones.
    """
    leading = [source for source in sources if not source.is_study] or list(sources)
    first = leading[0]
    for source in sources:
        changed = source.contents.settings.differences(first.contents.settings)
        if source not in leading:
            changed = tuple(key for key in changed if not key.startswith("space."))
        if changed:
            raise TableError(
                f"{source.name} and {first.name} were not trained alike ({', '.join(changed)} differ), so their "
                "accuracies do not compare. Leave one of them out"
            )
    return min((source.contents.settings for source in leading), key=lambda s: _text(dataclasses.asdict(s)))


_Named = tuple[str, Candidate]


def _one_of(key: Key, before: _Named | None, after: _Named) -> _Named:
    """One of two records of a training, whichever came first.

    Raises:
        TableError: they disagree in what does not depend on the machine.
    """
    if before is None:
        return after
    accidents = [named for named in (before, after) if named[1].status in _ACCIDENTS]
    if len(accidents) == 1:
        return after if accidents[0] is before else before
    if not accidents:
        differing = _differing(before[1], after[1])
        if differing:
            shown = "; ".join(
                f"{n} {_short(getattr(before[1], n))} and {_short(getattr(after[1], n))}" for n in differing
            )
            raise TableError(
                f"{before[0]} and {after[0]} disagree about {key}: {shown}. Equal trainings on one kind of processor "
                "are equal. Leave one of them out"
            )
    return min(before, after, key=lambda named: _text([named[1].reason, named[1].provenance]))


def _differing(one: Candidate, other: Candidate) -> list[str]:
    """Fields in which two records of equal trainings differ, though no machine decides them."""
    names = [f.name for f in dataclasses.fields(Candidate) if f.name not in ("provenance", "activity")]
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


_NamedSignals = tuple[str, Signals]


def _one_signal(identity: str, before: _NamedSignals | None, after: _NamedSignals) -> _NamedSignals:
    """
    Raises:
        TableError: signals of a network differ by more than processors do.
    """
    if before is None:
        return after
    for name, value in before[1].items():
        other = after[1][name]
        alike = value == other or math.isclose(value, other, rel_tol=_LIKE) or (value != value and other != other)
        if not alike:
            raise TableError(
                f"{before[0]} and {after[0]} disagree about the signal {name} of network {identity}: {value:g} and "
                f"{other:g}. Leave one of them out"
            )
    return min(before, after, key=lambda named: _text(named[1]))


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


__all__ = ["Source", "merged"]
