"""Full trainings of a proof: which networks, on which images, and what is kept of each."""

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from header import note
from kept import keep, kept
from proof_networks import Network, chosen_pairs
from proof_studies import SEED, Proof, counterparts, opened

import nas
from nas import files
from nas.exports import Size
from nas.full_training import evaluation
from spikformer.errors import ConfigError

_NEVER = 1_000_000  # epochs: the test images are read once, after the last one
_SMALL = ("config.json", "recipe.toml", "log.jsonl")  # and no card.md, which would be a page of the documentation
_WEIGHTS = "model.safetensors"


def image_folder(proof: Proof) -> str | None:
    """A folder of links to the first training images of each class, by their names, and to all test images.

    Raises:
        SystemExit: the images do not lie in class folders.
    """
    if proof.data_dir is None or proof.full_images == 0:
        return proof.data_dir
    source = Path(proof.data_dir).absolute()
    classes = sorted(path for path in (source / "train").glob("*") if path.is_dir())
    part = next((name for name in ("test", "val") if (source / name).is_dir()), None)
    if not classes or part is None:
        raise SystemExit(
            f"--full-images {proof.full_images} takes images from train/<class>/ and test/<class>/, but {source} has "
            "no such folders. Give such a folder, or --full-images 0 for all images"
        )
    folder = proof.results / f"images-{proof.full_images}"
    if not folder.is_dir():
        files.write(folder, lambda partial: _link(classes, source / part, partial, proof.full_images // len(classes)))
    return str(folder)


def _link(classes: list[Path], test: Path, folder: Path, each: int) -> None:
    for path in classes:
        (folder / "train" / path.name).mkdir(parents=True)
        for image in sorted(path.iterdir())[:each]:
            (folder / "train" / path.name / image.name).symlink_to(image)
    (folder / test.name).symlink_to(test)


@dataclass(frozen=True)
class FullTraining:
    """One network and seed; its folder among the results, and that of the files that are kept of it."""

    network: Network
    seed: int
    results: Path
    kept: Path

    @classmethod
    def of(cls, proof: Proof, network: Network, seed: int) -> "FullTraining":
        name = f"{network.chosen.config_id}-seed{seed}"
        return cls(network, seed, proof.results / "trained" / name, proof.kept / "trained" / name)

    @property
    def is_done(self) -> bool:
        """Whether its result is kept."""
        return (self.kept / _SMALL[0]).exists()

    def keep(self, *, weights: bool) -> None:
        """Keep what the finished training wrote; the result is written last, as it says that all is there."""
        if weights:
            keep((self.results / _WEIGHTS).read_bytes(), self.kept / _WEIGHTS)
        for name in reversed(_SMALL):
            keep((self.results / name).read_bytes(), self.kept / name)

    def restore(self) -> None:
        """Bring back the trained network, where the results folder has none."""
        for name in (_WEIGHTS, *_SMALL):
            data = None if (self.results / name).exists() else kept(self.kept / name)
            if data is not None:
                files.write(self.results / name, lambda partial, data=data: partial.write_bytes(data))

    def result(self) -> dict[str, object]:
        """What the training says of itself."""
        return dict(json.loads((self.kept / "config.json").read_text())["training"])

    def seconds(self) -> float:
        """How long its steps took, by the lines of its log; 0 where it was too short for a line."""
        lines = [json.loads(line) for line in (self.kept / "log.jsonl").read_text().splitlines()]
        lines = [line for line in lines if "images_a_s" in line]
        rates = [line["images_a_s"] for line in lines]
        return self.images() * sum(1 / rate for rate in rates) / len(rates) if rates else 0.0

    def images(self) -> int:
        """Images that it saw, those that came again included."""
        result = self.result()
        return int(str(result["train_images"])) * int(str(result["epochs"]))


def trainings(proof: Proof) -> list[FullTraining]:
    """All of them, seed by seed, so that an early end leaves all networks equally far."""
    networks = {n.chosen.config_id: n for pair in chosen_pairs(proof) for n in pair}
    return [FullTraining.of(proof, n, seed) for seed in proof.further_seeds for n in networks.values()]


def full(proof: Proof) -> None:
    """Train both networks of each pair by the recipe of the published one."""
    recipes = {n.chosen.config_id: partner for found, partner in chosen_pairs(proof) for n in (found, partner)}
    data_dir = image_folder(proof)
    for training in trainings(proof):
        if not training.is_done:
            recipe = _bundle(proof, recipes[training.network.chosen.config_id]) / "recipe.toml"
            note(f"full training of {training.network.words}, seed {training.seed}")
            nas.train(
                _bundle(proof, training.network),
                data_dir,
                training.results,
                str(recipe),
                (f"seed={training.seed}", f"evaluate_every_epochs={_NEVER}", "workers=1"),
                proof.device,
                epochs=proof.full_epochs,
            )
            training.keep(weights=training.seed == SEED + 1)


def _bundle(proof: Proof, network: Network) -> Path:
    out = proof.results / "exports"
    (folder,) = nas.export(opened(proof, network.study), str(network.trial), out, Size(as_is=True))
    return folder


def twins(proof: Proof) -> None:
    """Counterparts of the found front, then trained networks at other numbers of time steps and other image sizes."""
    counterparts(proof)
    for training in trainings(proof):
        table = evaluated_at(proof, training)
        if training.seed == SEED + 1 and training.is_done and not table.exists():
            training.restore()
            note(f"evaluation of {training.network.words}")
            results = nas.evaluate(
                [training.results],
                image_folder(proof),
                device=proof.device,
                settings=("workers=1",),
                time_steps=_time_steps(proof),
                image_sizes=_image_sizes(training.network),
            )
            evaluation.write_csv(results, table)


def evaluated_at(proof: Proof, training: FullTraining) -> Path:
    """Where the table of a trained network at other time steps and image sizes is kept."""
    return proof.kept / "evaluated" / f"{training.kept.name}.csv"


def _time_steps(proof: Proof) -> list[int]:
    axis = next(axis for axis in proof.space.axes if axis.name == "time_steps")
    return [int(choice) for choice in axis.choices]


def _image_sizes(network: Network) -> list[int]:
    """That of the network, and a quarter less and more, where there is such a network."""
    config, sizes = network.chosen.config, []
    for quarters in (3, 4, 5):
        size = config.stem.image_size * quarters // 4
        with contextlib.suppress(ConfigError):
            dataclasses.replace(config, stem=dataclasses.replace(config.stem, image_size=size))
            sizes.append(size)
    return sizes
