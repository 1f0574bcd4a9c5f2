"""Full training on frames of events: what a network is shown, how frames are mixed, and the whole way."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.bundles import TrainingRecipe
from nas.bundles import bundle as bundles
from nas.bundles import recipe as recipes
from nas.datasets import FrameImages
from nas.errors import TrainingError
from nas.full_training import evaluation, frames, loop
from nas.full_training.criterion import Criterion
from nas.full_training.loading import Batch
from nas.settings import DataSettings
from nas.training.augmentation import augment
from spikformer import checkpoints
from spikformer.config import SpikformerConfig
from spikformer.operands import Operand
from tests import event_folders
from tests.helpers import small_config

RECIPE = TrainingRecipe(
    epochs=1, warmup_epochs=0, batch_size=4, mixup=0.5, mix_prob=0.5, augment_frames="event_wide", label_smoothing=0.0
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _config(time_steps: int = 2) -> SpikformerConfig:
    config = small_config(time_steps=time_steps)
    stem, head = dataclasses.replace(config.stem, in_channels=2), dataclasses.replace(config.head, num_classes=2)
    return dataclasses.replace(config, stem=stem, head=head)


def _images(count: int = 6) -> FrameImages:
    counts = torch.poisson(torch.full((count, 2, 2, 8, 8), 0.5), generator=torch.Generator().manual_seed(0))
    return FrameImages(counts.to(torch.uint8), np.arange(count) % 2, [f"recording {i}" for i in range(count)])


def _bundle(folder: Path, config: SpikformerConfig, recipe: TrainingRecipe = RECIPE) -> Path:
    data = DataSettings("event_folder", sensor=(12, 12)).identity() | {"seed": 0}
    document = {"network": config.to_dict(), "data": data}
    return bundles.write(folder, document, recipe, "card", {})


def test_frames_come_as_counts_and_are_moved_by_what_torchs_generator_says() -> None:
    images, batch = _images(), Batch(_images().frames, torch.arange(6) % 2, [])
    to_device = frames.to_device_of(images, RECIPE, _config(), torch.device("cpu"))
    tested, labels = to_device(batch, training=False)
    assert torch.equal(tested, images.frames.float())
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    torch.manual_seed(5)
    moved, _ = to_device(batch, training=True)
    torch.manual_seed(5)
    random = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    assert torch.equal(moved, augment(images.frames, torch.arange(6), "event_wide", random).float())
    assert not torch.equal(moved, tested)


def test_networks_take_time_first() -> None:
    shown = torch.arange(24).view(2, 3, 1, 2, 2)
    assert frames.time_first(shown).shape == (3, 2, 1, 2, 2)
    assert torch.equal(frames.time_first(shown)[2, 1], shown[1, 2])
    assert torch.equal(frames.time_first(shown[:, 0]), shown[:, 0])


def test_the_first_layer_is_fed_counts() -> None:
    assert frames.fed_of(_images(), _config()) == Operand("count")


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.5, 0.0), (0.0, 1.0)])
def test_all_frames_of_a_recording_are_mixed_alike(mixup: float, cutmix: float) -> None:
    """Mixed with the recording at the other end of the batch, by one share or in one rectangle."""
    recipe = dataclasses.replace(RECIPE, mixup=mixup, cutmix=cutmix, mix_prob=1.0)
    criterion = Criterion(recipe, 2, None, 6)
    shown = _images().frames.float()
    np.random.seed(3)
    mixed, targets = criterion.prepared(shown.clone(), torch.tensor([0, 0, 0, 1, 1, 1]), 0)
    share = float(targets[0, 0])
    assert 0 < share < 1
    assert torch.allclose(targets[:3], torch.tensor([share, 1 - share]))
    other = shown.flip(0)
    if mixup:
        assert torch.allclose(mixed, share * shown + (1 - share) * other)
        return
    differ = shown != other
    from_other = (mixed == other) & differ
    places = from_other.any(0).any(0).any(0)
    assert torch.equal(from_other, differ & places)
    assert 1 - int(places.sum()) / 64 == pytest.approx(share, abs=0.1)


def test_settings_that_read_image_files_are_refused() -> None:
    frames.check_settings(("epochs=3", "augment_frames=shift"))
    with pytest.raises(TrainingError, match=r"--set flip has no effect on frames of events"):
        frames.check_settings(("epochs=3", "flip=0.1"))


def test_moves_of_frames_and_teachers_are_refused_where_they_mean_nothing() -> None:
    from nas.datasets import InMemory

    pixels = InMemory(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int64), "images")
    with pytest.raises(TrainingError, match=r'"event_wide" moves frames of events, but the data are images'):
        frames.to_device_of(pixels, RECIPE, _config(), torch.device("cpu"))
    taught = dataclasses.replace(RECIPE, teacher="resnet18")
    with pytest.raises(TrainingError, match="teacher resnet18 knows images"):
        frames.to_device_of(_images(), taught, _config(), torch.device("cpu"))


def test_every_setting_is_either_read_or_about_images() -> None:
    """By hand: what decodes, crops, colours, normalises or erases images, reads files, or belongs to a teacher."""
    about_images = {
        *("image_size", "teacher", "teacher_weights", "distillation", "crop_scale", "crop_ratio", "flip"),
        *("color_jitter", "rand_augment", "rand_augment_ops", "random_erasing", "random_erasing_mode", "mean", "std"),
        *("interpolation", "draft", "crop_pct", "workers", "skip_corrupt"),
    }
    assert {field.name for field in dataclasses.fields(TrainingRecipe)} == about_images | frames.READ


def test_shipped_recipes_for_events_set_nothing_that_is_not_read() -> None:
    plain = TrainingRecipe()
    for name in [name for name in recipes.shipped() if name.endswith("_events")]:
        recipe = recipes.read(name)
        changed = {f.name for f in dataclasses.fields(recipe) if getattr(recipe, f.name) != getattr(plain, f.name)}
        assert changed <= frames.READ
        assert recipe.augment_frames.startswith("event_")


def test_trained_on_recordings_and_tested_once(tmp_path: Path) -> None:
    """Interrupted and continued, it ends with the same weights; T may be another one when it is evaluated."""
    data = event_folders.folders(tmp_path / "data", train=8, test=3)
    bundle = _bundle(tmp_path / "bundle", _config())
    whole = loop.train(bundle, data, tmp_path / "whole", device="cpu", settings=("epochs=2",))
    assert whole is not None
    assert whole.scores.images == 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_agreed", lambda _stop, training: training.done == 5)
        with pytest.raises(KeyboardInterrupt):
            loop.train(bundle, data, tmp_path / "out", device="cpu", settings=("epochs=2",))
    loop.train(bundle, data, tmp_path / "out", device="cpu", settings=("epochs=2",))
    weights = [
        (folder / checkpoints.WEIGHTS["network"]).read_bytes() for folder in (tmp_path / "whole", tmp_path / "out")
    ]
    assert weights[0] == weights[1]
    results = evaluation.evaluate([whole.folder], data, device="cpu", time_steps=(2, 3))
    assert [(result.config.time_steps, result.part, result.scores.images) for result in results] == [
        (2, "test", 6),
        (3, "test", 6),
    ]
    assert results[0].scores.top1 == whole.scores.top1
    assert all(result.real_macs is not None for result in results)
    with pytest.raises(TrainingError, match="--set crop_pct has no effect on frames"):
        evaluation.evaluate([whole.folder], data, device="cpu", settings=("crop_pct=0.9",))
