"""Which networks of a study are exported. Nothing here needs torch."""

import math

from nas.errors import StudyError
from nas.stats import pareto
from nas.studies import Study, constraints
from nas.training import Candidate

PICKS = ("front", "knee", "accuracy", "energy")


def check_pick(which: str) -> None:
    """
    Raises:
        StudyError: neither one of `PICKS` nor a number.
    """
    if which not in PICKS and not (which.isascii() and which.isdecimal()):
        raise StudyError(f'pick "{which}" is unknown. Use one of {", ".join(PICKS)} or the number of a trial')


def pick(study: Study, which: str = "front") -> dict[int, Candidate]:
    """The candidates that a word or a trial number names, by trial number.

    Args:
        which: "front"; "accuracy" or "energy", the front's best in that; "knee", where more energy begins to
            buy little; or the number of a complete trial.

    Raises:
        StudyError: no such pick.
    """
    check_pick(which)
    front = study.front()
    if which not in PICKS:
        candidate = study.candidate(int(which))
        if candidate.status != "complete":
            state = f"is {candidate.status} ({candidate.reason})"
            raise StudyError(f"trial {which} of study {study.name} {state}. Use one of {', '.join(PICKS)} or a number")
        return {int(which): candidate}
    if not front:
        limits = constraints.in_words(study.constraints)
        which_one = f"complete candidate that keeps {limits}" if limits else "complete candidate to export"
        raise StudyError(f"study {study.name} has no {which_one}. Continue the search")
    if which == "front":
        return front
    numbers = list(front)
    energies = [c.ranked_mj(study.energy_of) or math.inf for c in front.values()]
    points = [(c.search_val_accuracy or 0.0, math.log10(mj)) for c, mj in zip(front.values(), energies, strict=True)]
    number = numbers[{"energy": 0, "accuracy": -1, "knee": pareto.knee(points)}[which]]
    return {number: front[number]}


__all__ = ["PICKS", "check_pick", "pick"]
