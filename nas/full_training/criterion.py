"""What a training minimises: cross-entropy to labels that are smoothed and mixed, and perhaps to a teacher's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from timm.data import Mixup
from timm.data.mixup import mixup_target
from torch import Tensor, nn

from nas.bundles import TrainingRecipe
from nas.errors import TrainingError
from spikformer.config import SpikformerConfig

Teacher = Callable[[Tensor], Tensor]


class Criterion:
    """Mixes a batch, and gives the loss of the logits that came of it.

    Args:
        teacher: images to logits, [B, classes]; None without one.
        part: images that are mixed among each other.

    Raises:
        TrainingError: an odd number of images cannot be mixed: each needs a partner.
    """

    def __init__(self, recipe: TrainingRecipe, classes: int, teacher: Teacher | None, part: int) -> None:
        self._recipe, self._classes, self._teacher = recipe, classes, teacher
        self._mixup: Mixup | None = None
        if recipe.mixup > 0 or recipe.cutmix > 0:
            if part % 2:
                raise TrainingError(
                    f"mixup and cutmix pair images, but each process has {part}, an odd number. Use an even batch_size"
                )
            self._mixup = Mixup(
                recipe.mixup,
                recipe.cutmix,
                prob=recipe.mix_prob,
                label_smoothing=recipe.label_smoothing,
                num_classes=classes,
            )

    def prepared(self, images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Images [B, C, H, W], or frames [B, T, C, H, W], mixed in place, and targets [B, classes]."""
        over = 0 < self._recipe.mix_off_epoch <= epoch
        if self._mixup is not None and not over:
            # timm knows images: all frames of a recording are mixed alike, as channels of one.
            together = images.flatten(1, -3)
            mixed, mixed_targets = self._mixup(together, labels)
            return mixed.view_as(images), mixed_targets
        targets: Tensor = mixup_target(labels, self._classes, 1.0, self._recipe.label_smoothing)
        return images, targets

    def __call__(self, logits: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, [].

        Args:
            logits: [B, classes], or [2, B, classes] where a second classifier learns from the teacher.
        """
        first, last = (logits[0], logits[1]) if logits.dim() == 3 else (logits, logits)
        loss = F.cross_entropy(first.float(), targets)
        if self._teacher is None:
            return loss
        share = self._recipe.distillation
        return (1 - share) * loss + share * F.cross_entropy(last.float(), self._teacher(images).argmax(1))


def teacher_of(recipe: TrainingRecipe, config: SpikformerConfig, device: torch.device) -> Teacher | None:
    """The timm model that a recipe names, fed with the images as the network sees them: its own normalisation instead.

    Raises:
        TrainingError: no such model, weights that are missing or of another, or other classes.
    """
    if not recipe.teacher:
        return None
    if ":" in recipe.teacher:  # as hf-hub:NAME or local-dir:PATH, from where timm before 1.0.26 reads pickles that run
        raise TrainingError(
            f"teacher {recipe.teacher} is an address or a path, which a recipe must not name. Give the name of a timm "
            "model, and its weights: --set teacher_weights=FILE.safetensors"
        )
    # Weights of one's own may be for any classes; timm's are for those that they were trained on.
    settings: dict[str, Any] = {"num_classes": config.head.num_classes} if recipe.teacher_weights else {}
    try:
        model = timm.create_model(recipe.teacher, pretrained=not recipe.teacher_weights, **settings)
    except Exception as error:  # whatever the hub, the network or the name raise
        raise TrainingError(
            f"teacher {recipe.teacher} cannot be loaded from timm: {type(error).__name__}: {str(error)[:200]}. "
            "Correct the name, or give its weights: --set teacher_weights=FILE.safetensors"
        ) from None
    if recipe.teacher_weights:
        _load(model, recipe.teacher_weights)
    if model.num_classes != config.head.num_classes:
        raise TrainingError(
            f"teacher {recipe.teacher} has {model.num_classes} classes, but the network has "
            f"{config.head.num_classes}. Give a teacher with as many classes"
        )
    model.to(device).eval().requires_grad_(False)
    return _Seen(model, recipe, device)


def _load(model: nn.Module, path: str) -> None:
    try:
        model.load_state_dict(safetensors.torch.load_file(Path(path)))
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise TrainingError(f"teacher_weights {path} do not fit the teacher: {first}. Give another file") from None


class _Seen:
    """A teacher that is shown what the network is shown."""

    def __init__(self, model: nn.Module, recipe: TrainingRecipe, device: torch.device) -> None:
        data = model.pretrained_cfg
        assert isinstance(data, dict)
        ours = [torch.tensor(values, device=device)[:, None, None] for values in (recipe.mean, recipe.std)]
        theirs = [torch.tensor(data[name], device=device)[:, None, None] for name in ("mean", "std")]
        self._model = model
        self._scale, self._shift = ours[1] / theirs[1], (ours[0] - theirs[0]) / theirs[1]
        size = data.get("input_size", (3, 0, 0))[-1]
        self._size = size if data.get("fixed_input_size") else 0

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        images = images * self._scale + self._shift
        if self._size and images.shape[-1] != self._size:
            images = F.interpolate(images, size=self._size, mode="bicubic", antialias=True)
        logits: Tensor = self._model(images)
        return logits


__all__ = ["Criterion", "Teacher", "teacher_of"]
