"""How a network is trained in full: one table of settings, from a TOML file and the command line.

The families' recipes lie in `spikformer/recipes`, each with its source and what it changes. A file holds settings, and
under [networks.NAME] what a published network of that name has otherwise.
"""

import dataclasses
import json
import re
import statistics
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, Self

from nas.errors import TrainingError
from nas.settings import Augmentation
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable, build, check_types, names, nearest, plain, require

EXECUTION = ("accumulation", "checkpointing", "channels_last", "compile", "workers", "skip_corrupt", "log_every_steps")
"""Settings of how a training runs, not of what is trained: they may change while it goes on."""

EVALUATION = ("mean", "std", "interpolation", "crop_pct", "channels_last", "workers", "skip_corrupt")
"""Settings that evaluating reads: how test images become what the network is shown. All others need a training."""

_MOST_WORKERS = 512
"""Of one process that trains. The largest machines have fewer cores for each; a million would be started in turn."""

_RAND_AUGMENT = re.compile(r"rand(-[a-z]+[\d.]+)+")


@dataclass(frozen=True)
class TrainingRecipe:
    """Settings of a full training.

    Attributes:
        source: where they were read.
        changes: what is different from the source, and why.
        time_steps, image_size: instead of the network's; 0 keeps them.
        drop_path: the same (stochastic depth of the last block); below 0 keeps it.
        epochs: passes over the training images, warm-up included.
        warmup_epochs: in which the learning rate rises from `warmup_learning_rate`.
        cooldown_epochs: after `epochs`, at `min_learning_rate`.
        batch_size: images a step, over all processes and accumulations.
        accumulation: parts in which a process runs its share of a step, one after the other.
        optimizer: AdamW (Loshchilov and Hutter, ICLR 2019) or LAMB (You et al., ICLR 2020).
        trust_clip: of LAMB, whether the ratio of a weight's norm to its step's is at most 1.
        learning_rate: peak of the cosine that ends at `min_learning_rate`.
        betas, eps: of the optimizer.
        weight_decay: on weights; biases, norms and all other vectors have none.
        clip_norm: largest norm of the gradient; 0, none.
        label_smoothing: share of a label spread over all classes.
        teacher: name of a timm model that also labels the images; "", none.
        teacher_weights: safetensors file of it; "" downloads timm's own.
        distillation: share of the loss that is cross-entropy to the teacher's label (hard distillation; Touvron et
            al., DeiT, ICML 2021). A network with a second classifier learns it there.
        crop_scale, crop_ratio: area and aspect ratio of random crops, as shares of the image's.
        flip: chance that an image is mirrored.
        color_jitter: how far brightness, contrast and saturation are moved, as a share; 0, not.
        rand_augment: timm's words, as "rand-m9-n1-mstd0.4-inc1"; "", none (Cubuk et al., NeurIPS 2020).
        rand_augment_ops: its operations by timm's names; [] takes timm's.
        mixup, cutmix: alpha of each; 0, none (Zhang et al., ICLR 2018; Yun et al., ICCV 2019).
        mix_prob: chance that a batch is mixed.
        mix_off_epoch: from which on nothing is mixed; 0, never.
        random_erasing: chance that a rectangle of an image is erased (Zhong et al., AAAI 2020).
        random_erasing_mode: by zeros, "const", or noise, "pixel".
        augment_frames: how frames of events are moved about; words as `nas.settings.Recipe.augment`. Of images, "none".
        ema_decay: of the moving average of weights that becomes the trained network; 0, none.
        mean, std: of pixels between 0 and 1, a channel.
        interpolation: when images are resized.
        draft: whether a JPEG is decoded at a half, a quarter or an eighth of its size where the random crop is still no
            smaller than the network's image: faster for large photographs, other pixels by two levels of 255 on
            average. Other files, small crops and test images are decoded whole.
        crop_pct: side of the test image's centre crop, as a share of what it was resized to.
        precision: of convolutions and products; weights, membranes and batch norm stay float32. "auto" takes bfloat16
            where the hardware multiplies it.
        sync_norm: whether batch norm takes its statistics over all processes.
        checkpointing: whether blocks are run again for the backward pass instead of kept (SpikingJelly's memopt,
            level 1): less memory, more time.
        channels_last: whether channels lie next to each other in memory.
        compile: whether torch compiles the network.
        workers: processes that read images, for each that trains.
        skip_corrupt: whether an image that cannot be read is replaced by the next instead of stopping.
        evaluate_every_epochs: how often the test images are measured, for the curve alone: nothing is chosen by it.
        log_every_steps: how often a line is written.
        seed: of weights, order of images, augmentation.
    """

    source: str = ""
    changes: str = ""
    time_steps: int = 0
    image_size: int = 0
    drop_path: float = -1.0
    epochs: int = 300
    warmup_epochs: int = 20
    cooldown_epochs: int = 0
    batch_size: int = 128
    accumulation: int = 1
    optimizer: Literal["adamw", "lamb"] = "adamw"
    trust_clip: bool = False
    learning_rate: float = 5e-4
    warmup_learning_rate: float = 1e-5
    min_learning_rate: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.05
    clip_norm: float = 0.0
    label_smoothing: float = 0.1
    teacher: str = ""
    teacher_weights: str = ""
    distillation: float = 0.5
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    flip: float = 0.5
    color_jitter: float = 0.0
    rand_augment: str = ""
    rand_augment_ops: tuple[str, ...] = ()
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0
    mix_off_epoch: int = 0
    random_erasing: float = 0.0
    random_erasing_mode: Literal["const", "pixel"] = "const"
    augment_frames: Augmentation = "none"
    ema_decay: float = 0.0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    draft: bool = False
    crop_pct: float = 0.875
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    sync_norm: bool = True
    checkpointing: bool = False
    channels_last: bool = True
    compile: bool = False
    workers: int = 8
    skip_corrupt: bool = False
    evaluate_every_epochs: int = 10
    log_every_steps: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("epochs", "batch_size", "accumulation", "evaluate_every_epochs", "log_every_steps"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)} must be at least 1", name)
        for name in _NOT_NEGATIVE:
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)} must not be negative", name)
        require(self.workers <= _MOST_WORKERS, f"workers {self.workers} must be at most {_MOST_WORKERS}", "workers")
        for name in ("label_smoothing", "distillation", "flip", "mix_prob", "random_erasing", "ema_decay"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name} {value} must lie between 0 and 1", name)
        for name in ("learning_rate", "eps"):
            require(getattr(self, name) > 0, f"{name} {getattr(self, name)} must be positive", name)
        self._check_relations()

    def _check_relations(self) -> None:
        require(
            self.warmup_epochs <= self.epochs,
            f"warmup_epochs {self.warmup_epochs} must be at most epochs {self.epochs}. Set both",
            "warmup_epochs",
            "epochs",
        )
        require(0 < self.crop_pct <= 1, f"crop_pct {self.crop_pct} must lie between 0 and 1", "crop_pct")
        require(self.drop_path <= 1, f"drop_path {self.drop_path} must be at most 1", "drop_path")
        require(
            len(self.mean) == len(self.std) and min(self.std, default=0) > 0,
            f'"mean" {list(self.mean)} and "std" {list(self.std)} must have equal length, and "std" must be positive',
            "mean",
            "std",
        )
        require(
            not self.rand_augment or _RAND_AUGMENT.fullmatch(self.rand_augment) is not None,
            f'rand_augment "{self.rand_augment}" is not a policy of timm. Give one such as "rand-m9-n1-mstd0.4-inc1"',
            "rand_augment",
        )

    @property
    def all_epochs(self) -> int:
        """With those at the end."""
        return self.epochs + self.cooldown_epochs

    def of(self, config: SpikformerConfig) -> SpikformerConfig:
        """The network as it is trained: with this recipe's time steps, image size and stochastic depth.

        Raises:
            ConfigError: there is no such network.
        """
        stem = dataclasses.replace(config.stem, image_size=self.image_size or config.stem.image_size)
        drop_path = config.drop_path if self.drop_path < 0 else self.drop_path
        return dataclasses.replace(
            config, time_steps=self.time_steps or config.time_steps, stem=stem, drop_path=drop_path
        )

    def to_toml(self) -> str:
        """A file that `read` reads back; settings at their defaults included."""
        return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in plain(self).items())

    @classmethod
    def from_dict(cls, values: PlainTable) -> Self:
        """
        Raises:
            ConfigError: an unknown setting (with the nearest name), a wrong type or value.
        """
        recipe = build(cls, values)
        assert isinstance(recipe, cls)
        return recipe


_NOT_NEGATIVE = (
    *("time_steps", "image_size", "warmup_epochs", "cooldown_epochs", "weight_decay", "clip_norm", "color_jitter"),
    *("mixup", "cutmix", "mix_off_epoch", "warmup_learning_rate", "min_learning_rate", "workers", "seed"),
)


def shipped() -> list[str]:
    """Names of the families' recipes."""
    return sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.name.endswith(".toml"))


def read(name_or_file: str, network: str = "") -> TrainingRecipe:
    """A recipe by the name of a shipped one, or from a file.

    Args:
        network: a published name, whose own settings in the file count too.

    Raises:
        TrainingError: no such recipe, no TOML, an unknown setting.
    """
    if name_or_file in shipped():
        text = (_folder() / f"{name_or_file}.toml").read_text()
    elif Path(name_or_file).is_file():
        text = Path(name_or_file).read_text(errors="replace")
    else:
        raise TrainingError(
            f"recipe {name_or_file} is neither a file nor one of the shipped recipes. "
            f"{nearest(name_or_file, shipped())}"
        )
    try:
        document = tomllib.loads(text)
        networks = document.pop("networks", {})
        own = networks.get(network, {}) if isinstance(networks, dict) else networks
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TrainingError(f"recipe {name_or_file} is not valid TOML: {error}") from None
    if not isinstance(own, dict):
        raise TrainingError(
            f'recipe {name_or_file}: "networks" must be a table of settings for each network, but holds {own!r}'
        )
    try:
        return TrainingRecipe.from_dict(document | own)
    except ConfigError as error:
        raise TrainingError(f"recipe {name_or_file}: {error}") from None


def for_network(config: SpikformerConfig, network: str = "", *, has_events: bool = False) -> TrainingRecipe:
    """The recipe of the family that a network is nearest to, for its size of images or for events.

    Args:
        network: its published name, if it has one.
        has_events: whether it is trained on frames of events.
    """
    kind = "events" if has_events else "imagenet" if config.stem.image_size > _CIFAR_PIXELS else "cifar"
    return read(f"{family(config, small=kind != 'imagenet')}_{kind}", network)


_CIFAR_PIXELS = 64


def family(config: SpikformerConfig, *, small: bool) -> str:
    """The published family that a network is nearest to, as its recipes are named.

    By what only that family has; of spikes or membranes added, Spikformer or Spikingformer, where nothing tells.

    Args:
        small: whether it is for CIFAR or events, for which V2 and V3 of Spike-driven Transformer have no recipes.
    """
    kinds = {mixer.kind for stage in config.stages for mixer in (stage.local, stage.mixer)}
    if "dssa" in kinds:
        return "spikingresformer"
    if config.neuron.kind == "multispike" and not small:
        large = any(stage.mixer.layer_scale for stage in config.stages)
        return "sdt3_large" if large else "sdt3"
    if "sepconv" in kinds and not small:
        return "sdt2"
    if config.stem.adds_paths:  # speds, or the chain of the same authors for event frames
        return "qkformer" if config.residual == "sew" else "maxformer"
    if "sdsa" in kinds:
        return "sdt1"
    return "spikformer" if config.residual != "ms" else "spikingformer"


def for_epochs(recipe: TrainingRecipe, epochs: int) -> TrainingRecipe:
    """A longer or shorter training with the same shape: warm-up, cool-down and mixing keep their shares of it.

    Args:
        epochs: at least 1; cool-down comes on top of them, as in every recipe.
    """

    def scaled(count: int) -> int:
        return round(count * epochs / recipe.epochs)

    return dataclasses.replace(
        recipe,
        epochs=epochs,
        warmup_epochs=scaled(recipe.warmup_epochs),
        cooldown_epochs=scaled(recipe.cooldown_epochs),
        mix_off_epoch=max(1, scaled(recipe.mix_off_epoch)) if recipe.mix_off_epoch else 0,  # at 0, mixing never ends
    )


def for_channels(recipe: TrainingRecipe, channels: int) -> TrainingRecipe:
    """For images of so many channels: the mean of its values where it has one for each of others."""
    if len(recipe.mean) in (1, channels):
        return recipe
    mean, std = (round(statistics.fmean(values), 4) for values in (recipe.mean, recipe.std))
    return dataclasses.replace(recipe, mean=(mean,), std=(std,))


def with_settings(
    recipe: TrainingRecipe, settings: tuple[str, ...], read: Collection[str] | None = None
) -> TrainingRecipe:
    """The recipe with settings from the command line: see `settings_of`.

    Raises:
        TrainingError: as `settings_of`, and for a value of another type.
    """
    try:
        return dataclasses.replace(recipe, **settings_of(settings, read))
    except ConfigError as error:
        raise TrainingError(f"--set {' '.join(settings)}: {error}") from None


def settings_of(settings: tuple[str, ...], read: Collection[str] | None = None) -> PlainTable:
    """Settings from the command line, "key=value" each; values as in TOML, words without quotes too.

    Args:
        read: names of the settings that have an effect; None, all.

    Raises:
        TrainingError: an unknown key (with the nearest name), or one without effect.
    """
    changed: PlainTable = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise TrainingError(f'--set {setting}: write key=value, such as "epochs=100"')
        if key not in names(TrainingRecipe):
            raise TrainingError(f'--set {setting}: unknown setting "{key}". {nearest(key, names(TrainingRecipe))}')
        if read is not None and key not in read:
            others = (
                "Use --time-steps or --image-sizes" if key in ("time_steps", "image_size") else "Set it when you train"
            )
            raise TrainingError(f"--set {setting}: evaluate reads only {', '.join(read)}. {others}")
        changed[key] = _value(text)
    return changed


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _folder() -> Traversable:
    return resources.files("spikformer") / "recipes"


__all__ = [
    "EVALUATION",
    "EXECUTION",
    "TrainingRecipe",
    "family",
    "for_channels",
    "for_epochs",
    "for_network",
    "read",
    "settings_of",
    "shipped",
    "with_settings",
]
