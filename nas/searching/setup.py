"""What a search begins with: arguments that make sense, and a study that was made with the same ones."""

import dataclasses
import importlib.metadata
import typing
from typing import Any

from nas.costs import IMAGE_SIZE
from nas.errors import StudyError
from nas.searching.budget import Budget
from nas.searching.proposals import SAMPLERS
from nas.spaces import Constraints, Recipe, SearchSpace
from nas.studies import Study
from nas.training import EnergyOf
from spikformer.fields import nearest


def check(
    trials: int | None,
    budget: str | None,
    patience: int | None,
    sampler: str,
    seed: int,
    energy_of: str,
    target_image_size: int,
) -> None:
    if trials is None and budget is None:
        raise StudyError("how long to search? Give --trials, a number of networks, or --budget, such as 2M or 8h")
    for name, count in (("trials", trials), ("patience", patience)):
        if count is not None and count < 1:
            raise StudyError(f"{name} {count} must be at least 1")
    if budget is not None:
        Budget.parse(budget)
    if sampler not in SAMPLERS:
        raise StudyError(f'sampler "{sampler}" is unknown. {nearest(sampler, SAMPLERS)}')
    if not 0 <= seed < 2**32:
        raise StudyError(f"seed {seed} must be between 0 and {2**32 - 1}")
    if energy_of not in typing.get_args(EnergyOf):
        raise StudyError(f'energy_of "{energy_of}" is unknown. Use proxy or target')
    if target_image_size < 32 or target_image_size % 32:
        raise StudyError(f"target_image_size {target_image_size} must be a multiple of 32, such as {IMAGE_SIZE}")


def check_engine(engine: str, address: str | None) -> None:
    if engine not in ("local", "ray"):
        raise StudyError(f'engine "{engine}" is unknown. Use local or ray')
    if address is not None and engine != "ray":
        raise StudyError(f"address {address} is that of a Ray cluster. Give --engine ray with it")


def constraints_of(space: SearchSpace, given: Constraints | None) -> Constraints:
    named = {name: limit for name, limit in dataclasses.asdict(given or Constraints()).items() if limit is not None}
    return dataclasses.replace(space.constraints, **named)


def recipe_of(space: SearchSpace, epochs: int | None, train_images: int | None) -> Recipe:
    for name, value, low in (("epochs", epochs, 1), ("train_images", train_images, 1)):
        if value is not None and value < low:
            raise StudyError(f"{name} {value} must be at least {low}")
    changed: dict[str, Any] = {"epochs": epochs, "train_images": train_images}
    return dataclasses.replace(space.recipe, **{key: value for key, value in changed.items() if value is not None})


def torch_versions(study: Study) -> str | None:
    """That its networks were trained with other versions of torch than this one, in words.

    These draw the first weights otherwise (torch 2.11 and 2.14 do), so that equal seeds give other networks.
    """
    ours = importlib.metadata.version("torch")
    versions = {str(c.provenance.get("versions", {}).get("torch", ours)) for c in study.candidates.values()}
    others = sorted(versions - {ours})
    if not others:
        return None
    return (
        f"Study {study.name} has networks trained with torch {', '.join(others)}; this is torch {ours}. The same seed "
        f"may give different initial weights in another version, so treat a difference between versions like a "
        f"difference between seeds."
    )


__all__ = [
    "check",
    "check_engine",
    "constraints_of",
    "recipe_of",
    "torch_versions",
]
