"""More seeds for the networks that a search found, which show which of its differences are real.

A search trains each network once and keeps the luckiest. The networks are trained again here, with seeds that the
search did not use, on the same images and by the same recipe. So the new figures have no selection bias.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from nas.costs import counterpart
from nas.datasets import Images, check_images
from nas.errors import DataError, StudyError
from nas.progress import Dashboard, Observer
from nas.replicates import runs
from nas.replicates.runs import Place, Run
from nas.settings import Recipe
from nas.stats import promoted
from nas.studies import Study, handles
from nas.studies import storage as storages
from nas.training import Candidate, in_words
from spikformer.errors import ConfigError

WHAT = "repeats"
"""Under which name they are kept beside the study."""


def confirm(
    study: Study,
    seeds: int = 3,
    top: int | Literal["front"] = "front",
    spike_penalties: Sequence[float] = (),
    *,
    ann_twin: bool = False,
    data_dir: str | Path | None = None,
    data: Images | None = None,
    device: str = "auto",
    workers: int = 1,
    per_gpu: int = 1,
    observer: Observer | None = None,
) -> None:
    """Train networks of a study again, with other seeds. Trainings that are there already are not repeated.

    Args:
        seeds: number of new seeds, beside the search's own.
        top: "front", or the number of networks to take by non-dominated rank. References are always included.
        spike_penalties: spike penalties to train with beside the recipe's own, for a curve of each network.
        ann_twin: whether to train the quantised counterparts, too (`nas.costs.counterpart`), where there are any.
        data_dir: folder of the images (`nas.datasets.loaders.load`).
        data: the images, if they were given in Python; by default those that the search kept in the cache.
        device, workers, per_gpu: see `nas.searching.opening.search`.

    Raises:
        StudyError: there is nothing to repeat, or an argument is out of its range.
        DataError: the images are not those of the study.
        KeyboardInterrupt: nothing is lost; the same call continues.
    """
    _check(seeds, top, spike_penalties)
    if ann_twin and study.space.data.has_events:
        raise StudyError(
            f"study {study.name} is on frames of events. Networks on these have no quantised counterpart: without time "
            "steps it would be shown other data. Leave the counterparts out"
        )
    check_images(data, data_dir)
    chosen = members(study, top)
    place = Place(study.folder, device, workers, per_gpu)
    place.check()
    from nas.datasets import loaders  # torch, only now
    from nas.replicates import training

    with observer or Dashboard() as watcher, storages.quiet_optuna():
        fingerprint = str(study.identity["data.images"])
        splits = loaders.load(study.space, data_dir, study.seed, watcher.reading, images=data, fingerprint=fingerprint)
        if splits.fingerprint != fingerprint:
            remedy = (
                "Give those of the search, as data=nas.Images(...)"
                if data is not None
                else "Give the folder of the search with --data-dir"
            )
            raise DataError(
                f"study {study.name} was searched on images {fingerprint}, but the given images are "
                f"{splits.fingerprint}. {remedy}"
            )
        for sentence in splits.account:
            watcher.notice(sentence)
        planned = plan(study, chosen, seeds, spike_penalties, watcher if ann_twin else None)
        with place.exclusive():
            log = runs.opened(study.name, WHAT, handles.storage_of(study.optuna), study.identity)
            training.train(planned, log, splits, place, study.target_image_size, watcher)


def _check(seeds: int, top: int | str, penalties: Sequence[float]) -> None:
    if seeds < 1:
        raise StudyError(f"seeds {seeds} must be at least 1; intervals need at least 2")
    if isinstance(top, int) and top < 1:
        raise StudyError(f'top {top} must be at least 1, or "front"')
    for penalty in penalties:
        if not 0 <= penalty < math.inf:
            raise StudyError(f"spike penalty {penalty} must be 0 or more")


def members(study: Study, top: int | Literal["front"]) -> dict[int, Candidate]:
    """Those to repeat, by trial: the front or the best by rank of domination, then the references.

    Raises:
        StudyError: no network is trained in full yet.
    """
    candidates = {n: c for n, c in study.keeping(study.candidates).items() if c.point(study.energy_of) is not None}
    if not candidates:
        raise StudyError(f"study {study.name} has no network trained in full to repeat. Continue the search")
    if top == "front":
        best = list(study.front())
    else:
        numbers = list(candidates)
        points = [point for c in candidates.values() if (point := c.point(study.energy_of)) is not None]
        best = sorted(numbers[i] for i in promoted(points, top))
    named = [n for n, c in study.candidates.items() if c.reference and c.point(study.energy_of) is not None]
    return {n: study.candidates[n] for n in dict.fromkeys([*best, *named])}


def plan(
    study: Study, chosen: dict[int, Candidate], seeds: int, penalties: Sequence[float], twins: Observer | None
) -> list[Run]:
    """Seed by seed, so that an early end leaves all networks equally far.

    Args:
        twins: hears which network has none; None asks for none.
    """
    recipe = study.space.recipe
    recipes = [recipe, *(dataclasses.replace(recipe, spike_penalty=p) for p in penalties if p != recipe.spike_penalty)]
    repeats = []
    for seed in range(study.seed + 1, study.seed + 1 + seeds):
        for number, candidate in chosen.items():
            repeats += [_repeat(number, candidate, changed, seed, recipe) for changed in recipes]
            if twins is not None:
                repeats += _twin(number, candidate, recipe, seed, twins if seed == study.seed + 1 else Observer())
    return repeats


def _repeat(number: int, candidate: Candidate, recipe: Recipe, seed: int, own: Recipe) -> Run:
    penalised = f", spike penalty {recipe.spike_penalty:g}" if recipe != own else ""
    label = f"trial {number}, {in_words(candidate)}, seed {seed}{penalised}"
    return Run(label, candidate.config, recipe, seed, of=candidate.config_id)


def _twin(number: int, candidate: Candidate, recipe: Recipe, seed: int, observer: Observer) -> list[Run]:
    try:
        config = counterpart.ann_counterpart(candidate.config)
    except ConfigError as error:
        observer.notice(f"trial {number} has no quantised counterpart: {error}")
        return []
    return [Run(f"twin of trial {number}, seed {seed}", config, recipe, seed, of=candidate.config_id, what="twin")]


__all__ = ["WHAT", "confirm", "members", "plan"]
