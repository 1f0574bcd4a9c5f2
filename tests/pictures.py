"""Small folders and shards of images, whose classes can be told apart by their colour."""

import dataclasses
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from nas.bundles import bundle as bundles
from nas.bundles.recipe import TrainingRecipe
from spikformer.config import HeadConfig, MixerConfig, SpikformerConfig, StageConfig, StemConfig


def image(label: int, number: int, size: tuple[int, int] = (20, 18)) -> Image.Image:
    """Noise: reddish, greenish, bluish or grey, by the label."""
    generator = np.random.default_rng([label, number])
    pixels = generator.integers(0, 100, (*size, 3))
    if label % 4 < 3:
        pixels[:, :, label % 4] += 120
    return Image.fromarray(pixels.astype(np.uint8))


def folders(root: Path, classes: int = 4, train: int = 8, test: int = 3, size: tuple[int, int] = (20, 18)) -> Path:
    """`train/<class>/` and `val/<class>/`."""
    for part, count in (("train", train), ("val", test)):
        for label in range(classes):
            folder = root / part / f"class{label:04}"
            folder.mkdir(parents=True)
            for number in range(count):
                image(label, number + (1000 if part == "val" else 0), size).save(folder / f"{number}.jpg")
    return root


def shards(source: Path, root: Path, a_shard: int = 7, names: bool = False) -> Path:
    """The images of `source` in tar files, mixed, with labels as numbers and classes.txt, or as names."""
    root.mkdir()
    classes = sorted(path.name for path in (source / "train").iterdir())
    if not names:
        (root / "classes.txt").write_text("\n".join(classes))
    for part in ("train", "val"):
        files = sorted((source / part).rglob("*.jpg"))
        mixed = [files[i] for i in np.random.default_rng(0).permutation(len(files))]
        for i in range(0, len(mixed), a_shard):
            with tarfile.open(root / f"{part}-{i // a_shard:04}.tar", "w") as archive:
                for path in mixed[i : i + a_shard]:
                    word = path.parent.name if names else str(classes.index(path.parent.name))
                    key = f"{path.parent.name}_{path.stem}"
                    _add(archive, f"{key}.jpg", path.read_bytes())
                    _add(archive, f"{key}.cls", word.encode())
    return root


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def network(classes: int = 4, image_size: int = 16, **changes: object) -> SpikformerConfig:
    """Two blocks of width 16."""
    stage = StageConfig(16, 2, mixer=MixerConfig(num_heads=2, threshold=0.25))
    pools = (image_size > 64, image_size > 64, True, True)
    stem = StemConfig(image_size=image_size, pool=pools)
    parts = {"time_steps": 2, "stem": stem, "stages": (stage,), "head": HeadConfig(classes)}
    return dataclasses.replace(SpikformerConfig(), **parts | changes)  # pyrefly: ignore[bad-argument-type]  # fields of their types


def recipe(**changes: object) -> TrainingRecipe:
    """Short, with everything that draws random numbers on."""
    settings: dict[str, object] = {
        "epochs": 3,
        "warmup_epochs": 1,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "rand_augment": "rand-m9-n1-mstd0.4-inc1",
        "mixup": 0.5,
        "cutmix": 0.5,
        "random_erasing": 0.5,
        "random_erasing_mode": "pixel",
        "drop_path": 0.2,
        "ema_decay": 0.9,
        "workers": 0,
        "log_every_steps": 2,
        "evaluate_every_epochs": 1,
        "precision": "fp32",
    }
    return TrainingRecipe.from_dict(settings | changes)


PLAIN = {"rand_augment": "", "mixup": 0, "cutmix": 0, "random_erasing": 0, "drop_path": 0, "ema_decay": 0}
"""Of `recipe`: nothing that draws for a batch as a whole, which two processes do otherwise than one."""


def bundle(root: Path, config: SpikformerConfig | None = None, own: TrainingRecipe | None = None) -> Path:
    """A bundle without weights."""
    document = {"network": (config or network()).to_dict()}
    return bundles.write(root / "bundle", document, own or recipe(), "a card", {})
