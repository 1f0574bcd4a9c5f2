"""What the stages of a proof cost: images and hours that are planned before the first, and those that came of it."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from header import header, note, table
from proof_full import image_folder, trainings
from proof_spaces import in_full
from proof_studies import SEED, Proof, opened

from nas import files
from nas.bundles import recipe as recipes
from nas.costs import weighted_macs
from nas.datasets import Splits, loaders, sources
from nas.engines import InProcess, Trainer, device_of
from nas.replicates import WHAT, runs
from nas.searching import reductions
from nas.searching.budget import Plan
from nas.searching.speed import drawn, space_pace
from nas.training import Pace, images_seen, settled
from spikformer.config import SpikformerConfig

FRONT = 8  # networks of a front, about: 7 of 24 and 10 of 84 in earlier studies of this space
COUNTERPARTS = 3  # of the found front, about; those of references come on top
PAIRS = 2
FILE, RECORD = "plan.json", "stages.json"
Document = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """Trainings of a stage: so many, each on so many images."""

    trainings: tuple[int, ...]
    images: tuple[int, ...]

    @property
    def all_images(self) -> int:
        """That all of them see."""
        return sum(count * seen for count, seen in zip(self.trainings, self.images, strict=True))


def works(proof: Proof, splits: Splits) -> dict[str, Work]:
    """What each stage trains, as far as it is known before the first."""
    recipe = settled(proof.space.recipe, splits.train)
    seen = tuple(images_seen(len(splits.train), recipe, share) for share in recipe.rungs)
    full, references = seen[-1], len(proof.space.references)
    search = Plan.of(proof.networks, references, seen, reductions(recipe.rungs))
    count, spaces = search.all_images // full, proof.curves()
    fronts = FRONT * len(proof.studies()) + references
    return {
        "search": Work(search.networks, search.images),
        "random": Work((count,), (full,)),
        "ladder": Work((count,), (full,)),
        "curves": Work((sum(space.size()[0] for space in spaces.values()),), (full,)),
        "confirm": Work((fronts * proof.seeds,), (full,)),
        "full": Work((2 * PAIRS * proof.seeds,), (_full_images(proof),)),
        "twins": Work(((COUNTERPARTS + references) * proof.seeds,), (full,)),
        "judge": Work((0,), (0,)),
    }


def _full_images(proof: Proof) -> int:
    """Images of a full training by the recipe of a reference, the longest of them."""
    cut = (proof.space.data, SEED)
    images = len(sources.find(image_folder(proof), proof.space.data.dataset, cut=cut).train)
    own = [recipes.for_network(config) for config in proof.space.references.values()]
    return images * max((recipes.for_epochs(one, proof.full_epochs).all_epochs for one in own), default=0)


def hours(proof: Proof, splits: Splits, planned: dict[str, Work], images_per_second: float) -> dict[str, float]:
    """Hours of each stage at a speed; at 0, that which a few steps of networks like those of the stage show.

    Raises:
        SystemExit: no network could be timed.
    """
    if images_per_second > 0:
        return {name: work.all_images / images_per_second / 3600 for name, work in planned.items()}
    note("measuring the speed of this machine with a few steps of networks of the space")
    space = dataclasses.replace(proof.space, recipe=settled(proof.space.recipe, splits.train))
    trainer = Trainer(splits, in_full(space).recipe, SEED, 224, proof.results / "unfinished")
    engine = InProcess(trainer.on(str(device_of(proof.device))), lambda *_: None)
    on_curves = sorted((c for own in proof.curves().values() for c in own.configs()), key=weighted_macs)
    large = on_curves[len(on_curves) // 2 :]  # a pair for full training lies in the middle, the other at the large end

    def pace(networks: Sequence[SpikformerConfig], share: float) -> Pace:
        """Of trainings, this share of which are of these networks, and the others of random ones."""
        measured = space_pace(drawn(space, SEED, lambda _config: True), networks, share, engine)
        if measured is None:
            raise SystemExit("no network of the space could be timed. Give --images-per-second")
        return measured

    share_of_curves = len(proof.curves()) / len(proof.studies())
    paces = {"curves": pace(on_curves, 1.0), "full": pace(large, 1.0), "confirm": pace(on_curves, share_of_curves)}
    other = pace([], 0.0)
    return {name: paces.get(name, other).seconds(work.trainings, work.images) / 3600 for name, work in planned.items()}


def plan(proof: Proof, images_per_second: float, claims: str) -> Document:
    """The plan of this run: that of the first stage that was run, or else a new one, which is not stored yet.

    Args:
        claims: a digest of the page's claims as they are now.

    Raises:
        SystemExit: the first stage was run with other settings.
    """
    if (proof.kept / FILE).exists():
        return stored(proof)
    splits = loaders.load(proof.space, proof.data_dir, SEED)
    planned = works(proof, splits)
    took = hours(proof, splits, planned, images_per_second)
    return {
        "claims": claims,
        "settings": proof.settings(),
        "header": header("python benchmarks/proof.py").splitlines(),
        "stages": {name: {"images": work.all_images, "hours": took[name]} for name, work in planned.items()},
    }


def begin(proof: Proof, planned: Document) -> None:
    """Store the plan before the first training; it stays as it is."""
    if not (proof.kept / FILE).exists():
        _write(proof.kept / FILE, planned)


def stored(proof: Proof) -> Document:
    """The plan that was stored.

    Raises:
        SystemExit: no stage was run, or the first was run with other settings.
    """
    path = proof.kept / FILE
    if not path.exists():
        raise SystemExit(f"{path} does not exist, so no stage was run. Run the stages first, or give another --kept")
    document: Document = json.loads(path.read_text())
    if document["settings"] != proof.settings():
        raise SystemExit(
            f"{path} was planned with {document['settings']}, but this run has {proof.settings()}. Give the same "
            "options, or another --kept"
        )
    return document


def finished(proof: Proof) -> Document:
    """What was recorded of each stage that came to its end."""
    path = proof.kept / RECORD
    document: Document = json.loads(path.read_text()) if path.exists() else {}
    return document


def in_words(stages: dict[str, dict[str, float]]) -> str:
    """The plan as a table."""
    rows = [("stage", "images", "hours")]
    rows += [(name, f"{one['images']:,.0f}", f"{one['hours']:.2f}") for name, one in stages.items()]
    total = [sum(one[key] for one in stages.values()) for key in ("images", "hours")]
    return table([*rows, ("all", f"{total[0]:,.0f}", f"{total[1]:.2f}")])


def spent(proof: Proof, stage: str) -> dict[str, float]:
    """Images and hours of a stage, added up over its trainings, those of earlier runs included."""
    if stage in ("search", "random", "ladder"):
        return _of_studies(proof, [stage])
    if stage == "curves":
        return _of_studies(proof, list(proof.curves()))
    if stage == "full":
        done = [training for training in trainings(proof) if training.is_done]
        images = sum(training.images() for training in done)
        return {"images": images, "hours": sum(training.seconds() for training in done) / 3600}
    what, names = {"confirm": ("repeat", proof.studies()), "twins": ("twin", ["search"])}.get(stage, ("", []))
    logs = [log for name in names if (log := runs.beside(opened(proof, name).optuna, WHAT)) is not None]
    records = [one.candidate for log in logs for one in log.done().values() if one.what == what]
    seconds = sum(record.provenance["wall_s"] for record in records)
    return {"images": sum(record.images_seen for record in records), "hours": seconds / 3600}


def _of_studies(proof: Proof, names: Sequence[str]) -> dict[str, float]:
    every = [opened(proof, name).spent for name in names]
    return {"images": sum(one.images for one in every), "hours": sum(one.hours for one in every)}


def record(proof: Proof, stage: str, planned: dict[str, float]) -> None:
    """Write down what a stage was planned to cost and what it did."""
    real = spent(proof, stage)
    _write(proof.kept / RECORD, finished(proof) | {stage: {"planned": planned, "real": real}})
    note(
        f"{stage}: planned {planned['images']:,.0f} images and {planned['hours']:.2f} h, took {real['images']:,.0f} "
        f"images and {real['hours']:.2f} h"
    )


def _write(path: Path, document: object) -> None:
    text = json.dumps(document, indent=1) + "\n"
    files.write(path, lambda partial: partial.write_text(text))
