"""Which networks of a study are exported. Nothing here needs torch."""

import math

from nas.bundles import recipe
from nas.errors import StudyError
from nas.stats import pareto
from nas.studies import Study, constraints
from nas.training import Candidate, EnergyOf

PICKS = ("front", "knee", "accuracy", "energy")


def check_pick(which: str) -> None:
    """
    Raises:
        StudyError: neither one of `PICKS` nor a number.
    """
    if which not in PICKS and not (which.isascii() and which.isdecimal()):
        raise StudyError(f'pick "{which}" is unknown. Use one of {", ".join(PICKS)} or the number of a trial')


def pick(study: Study, which: str = "front", *, per_family: bool = False) -> dict[int, Candidate]:
    """The candidates that a word or a trial number names, by trial number.

    The members of the front that belong to one family are a front, too, so that every word has a meaning for them.

    Args:
        which: "front"; "accuracy" or "energy", the front's best in that; "knee", where more energy begins to
            buy little; or the number of a complete trial.
        per_family: whether a word picks from each family of the front (`by_family`), not from the front as a whole.

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
    groups = by_family(front).values() if per_family else [front]
    numbers = {_best(group, which, study.energy_of) for group in groups}
    return {number: candidate for number, candidate in front.items() if number in numbers}


def by_family(candidates: dict[int, Candidate]) -> dict[str, dict[int, Candidate]]:
    """Candidates by the published family that they are nearest to (`nas.bundles.recipe.family`), in their order."""
    families: dict[str, dict[int, Candidate]] = {}
    for number, candidate in candidates.items():
        families.setdefault(recipe.family(candidate.config, small=False), {})[number] = candidate
    return families


def _best(front: dict[int, Candidate], which: str, energy_of: EnergyOf) -> int:
    """The trial of a front, by rising energy, that a word names."""
    energies = [c.ranked_mj(energy_of) or math.inf for c in front.values()]
    points = [(c.search_val_accuracy or 0.0, math.log10(mj)) for c, mj in zip(front.values(), energies, strict=True)]
    return list(front)[{"energy": 0, "accuracy": -1, "knee": pareto.knee(points)}[which]]


__all__ = ["PICKS", "by_family", "check_pick", "pick"]
