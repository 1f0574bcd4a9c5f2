"""Frames of events on their way from memory to a network in full training."""

import torch
from torch import Tensor

from nas.bundles import TrainingRecipe
from nas.datasets import FrameImages, LabelledImages
from nas.errors import TrainingError
from nas.full_training.loading import Batch, ToDevice
from nas.training import EventFrames, augment
from spikformer.config import SpikformerConfig
from spikformer.fields import listed, names
from spikformer.operands import Operand

READ = frozenset(
    {
        *("source", "changes", "time_steps", "drop_path", "epochs", "warmup_epochs", "cooldown_epochs", "batch_size"),
        *("accumulation", "optimizer", "trust_clip", "learning_rate", "warmup_learning_rate", "min_learning_rate"),
        *("betas", "eps", "weight_decay", "clip_norm", "label_smoothing", "mixup", "cutmix", "mix_prob"),
        *("mix_off_epoch", "ema_decay", "precision", "sync_norm", "checkpointing", "channels_last", "compile"),
        *("evaluate_every_epochs", "log_every_steps", "seed", "augment_frames"),
    }
)
"""Settings of a recipe that a training on frames reads; the others are about images in files."""


def check_settings(changed: tuple[str, ...]) -> None:
    """
    Args:
        changed: "key=value" each.

    Raises:
        TrainingError: a setting that has no effect on frames.
    """
    keys = [setting.partition("=")[0] for setting in changed]
    idle = [key for key in keys if key in names(TrainingRecipe) and key not in READ]
    if idle:
        raise TrainingError(
            f"--set {idle[0]} has no effect on frames of events, which are neither decoded, cropped nor normalised. "
            f"Settings that have one: {listed(sorted(READ - {'source', 'changes'}))}"
        )


class FramesToDevice:
    """uint8 frames to float counts on the device, moved about while training; time second, so that they can be mixed.

    Raises:
        ConfigError: a stem of neither two nor three channels.
    """

    def __init__(self, images: FrameImages, recipe: TrainingRecipe, config: SpikformerConfig, device: torch.device):
        self._kind, self._device = recipe.augment_frames, device
        self._input = _input_of(images, config)

    def __call__(self, batch: Batch, *, training: bool) -> tuple[Tensor, Tensor]:
        """Frames [B, T, C, H, W] and labels [B] on the device.

        What moves is drawn from a generator that torch's own one on the CPU seeds.
        """
        frames = batch.images.to(self._device, non_blocking=True)
        labels = batch.labels.to(self._device, non_blocking=True)
        if training and self._kind != "none":
            random = torch.Generator(self._device).manual_seed(int(torch.randint(2**62, ())))
            frames = augment(frames, torch.arange(len(frames), device=self._device), self._kind, random)
        return self._input(frames).transpose(0, 1), labels


def to_device_of(
    images: LabelledImages, recipe: TrainingRecipe, config: SpikformerConfig, device: torch.device
) -> ToDevice | FramesToDevice:
    """What brings batches of such images to the device.

    Raises:
        TrainingError: the recipe has a setting that does not fit them.
        ConfigError: the network takes no frames.
    """
    if not isinstance(images, FrameImages):
        if recipe.augment_frames != "none":
            raise TrainingError(
                f'augment_frames "{recipe.augment_frames}" moves frames of events, but the data are images. Remove it'
            )
        return ToDevice(recipe, config.stem, device)
    if recipe.teacher:
        raise TrainingError(f"teacher {recipe.teacher} knows images, but the data are frames of events. Remove teacher")
    return FramesToDevice(images, recipe, config, device)


def fed_of(images: LabelledImages, config: SpikformerConfig) -> Operand | None:
    """Class of the numbers that a network is fed, as `nas.training.measurement.measure_batches` takes it."""
    return _input_of(images, config).fed if isinstance(images, FrameImages) else None


def _input_of(images: FrameImages, config: SpikformerConfig) -> EventFrames:
    return EventFrames(config, images.frames.shape[-1])


def time_first(images: Tensor) -> Tensor:
    """Images [B, C, H, W] as they are, frames [B, T, C, H, W] as [T, B, C, H, W], which networks take."""
    return images.transpose(0, 1) if images.dim() == 5 else images


__all__ = ["READ", "FramesToDevice", "check_settings", "fed_of", "time_first", "to_device_of"]
