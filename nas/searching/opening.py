"""The entrance of a search. What cannot be searched is refused here, before torch is imported, which takes seconds."""

import dataclasses
import math
from pathlib import Path
from typing import Any, Unpack

from nas.datasets import with_images
from nas.errors import StudyError
from nas.progress import Dashboard, Observer
from nas.searching.budget import Budget
from nas.searching.settings import SearchKeywords, SearchSettings
from nas.searching.stopping import Goal
from nas.settings import Constraints, Recipe, sample_of
from nas.spaces import SearchSpace, load_space, with_proxy
from nas.studies import Study, constraints
from nas.studies import storage as storages


def search(
    space: str | Path | SearchSpace,
    trials: int | None = None,
    *,
    observer: Observer | None = None,
    **settings: Unpack[SearchKeywords],
) -> Study:
    """Evaluate configs of a space until the study holds `trials` different ones. A study that exists is continued.

    All networks are trained on the recipe's first rung, a small share of its images; promising ones are trained again
    on more, and the best on all. Only these can be on the front.

    Args:
        space: a name from `nas.spaces.space_names()`, a path to a TOML file, or a loaded space.
        trials: number of different networks to evaluate in all, earlier runs included. After that, waiting networks are
            promoted until every rung has its part.
        observer: is told of the progress; by default a dashboard in the terminal.
        settings: the fields of `nas.searching.settings.SearchSettings`, as keywords.

    Raises:
        SpikformerError: the input is wrong; its subclass and text say what.
        KeyboardInterrupt: nothing is lost; the same call continues.
    """
    chosen = SearchSettings(**settings)
    goal, loaded = goal_of(trials, chosen), space_of(space, chosen)
    constraints.check_chip(loaded.constraints, chosen.ranking)
    name = chosen.study or loaded.name
    storages.check_writable(storages.study_folder(Path(chosen.results_dir), name, chosen.storage))
    watcher = observer or Dashboard()
    watcher.notice(_beginning(loaded, goal, name))
    from nas.searching.loop import run  # torch, only now

    return run(loaded, goal, chosen, watcher)


def _beginning(space: SearchSpace, goal: Goal, name: str) -> str:
    """What begins, in a sentence: reading the data and measuring the speed take a while."""
    combinations = math.prod(len(axis.choices) for axis in space.axes)
    sample = sample_of(space.data.dataset)
    asked = f"{goal.trials} networks" if goal.trials is not None else "as many networks as the budget allows"
    return (
        f"Study {name} searches {space.name}, which has up to {combinations:,} networks, on {space.data.dataset}. It "
        f"evaluates {asked}. First it reads the {sample}s, then it measures the speed of this machine."
    )


def goal_of(trials: int | None, settings: SearchSettings) -> Goal:
    """What the settings ask for.

    Raises:
        StudyError: neither networks nor a budget, or no networks.
    """
    if trials is None and settings.budget is None:
        raise StudyError(
            "the length of the search is missing. Give --trials, a number of networks, or --budget, such as 2M or 8h"
        )
    if trials is not None and trials < 1:
        raise StudyError(f"trials {trials} must be at least 1")
    budget = Budget.parse(settings.budget) if settings.budget is not None else Budget()
    return Goal(trials, budget, settings.patience)


def space_of(space: str | Path | SearchSpace, settings: SearchSettings) -> SearchSpace:
    """The space as it is searched: with the images, proxy, recipe, constraints and reference point of the settings."""
    loaded = with_images(space if isinstance(space, SearchSpace) else load_space(space), settings.data)
    loaded = loaded if settings.proxy is None else with_proxy(loaded, settings.proxy)
    return dataclasses.replace(
        loaded,
        recipe=recipe_of(loaded, settings.epochs, settings.train_images),
        constraints=constraints_of(loaded, settings.constraints),
        hypervolume_from=settings.hypervolume_from or loaded.hypervolume_from,
    )


def recipe_of(space: SearchSpace, epochs: int | None, train_images: int | None) -> Recipe:
    """The space's recipe, with the settings that are given in their place.

    Raises:
        StudyError: one of these is below 1.
    """
    for name, value, low in (("epochs", epochs, 1), ("train_images", train_images, 1)):
        if value is not None and value < low:
            raise StudyError(f"{name} {value} must be at least {low}")
    changed: dict[str, Any] = {"epochs": epochs, "train_images": train_images}
    return dataclasses.replace(space.recipe, **{key: value for key, value in changed.items() if value is not None})


def constraints_of(space: SearchSpace, overrides: Constraints | None) -> Constraints:
    """The space's constraints, with those that are given in their place."""
    given: dict[str, Any] = dataclasses.asdict(overrides or Constraints())
    return dataclasses.replace(space.constraints, **{name: limit for name, limit in given.items() if limit is not None})


__all__ = ["constraints_of", "goal_of", "recipe_of", "search", "space_of"]
