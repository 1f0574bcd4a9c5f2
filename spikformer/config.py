"""What a spiking transformer is made of: small frozen parts that check themselves.

`SpikformerConfig` travels the whole road, from a search space to an exported network. Equal configs
are equal, hash equal and build equal networks; `canonical()` also makes networks equal that are
written differently (the number of heads means nothing to an attention that works channel by channel).

Standard library only, so that reading a space or printing help needs no torch.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from spikformer.errors import ConfigError

Residual = Literal["sew", "ms"]
Attention = Literal["ssa", "sdsa", "qkta", "qkca"]


@dataclass(frozen=True)
class NeuronConfig:
    """The neuron of every layer.

    Attributes:
        kind: "lif" leaks with a fixed time constant, "plif" learns one time constant a layer
            (Fang et al., ICCV 2021).
        tau: membrane time constant in time steps, above 1; where plif starts from.
        threshold: membrane potential at which the neuron fires (attention has its own).
        surrogate: gradient of the firing step: "sigmoid" (slope 4, Spikformer) or "atan" (slope 2).
    """

    kind: Literal["lif", "plif"] = "lif"
    tau: float = 2.0
    threshold: float = 1.0
    surrogate: Literal["sigmoid", "atan"] = "sigmoid"

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.tau > 1, f"tau {self.tau} must be above 1: at 1 nothing of the past is kept", "tau")
        _require(self.threshold > 0, f"threshold {self.threshold} must be positive", "threshold")


@dataclass(frozen=True)
class StemConfig:
    """Spiking patch splitting (SPS; Zhou et al., Spikformer, ICLR 2023, section 3.3).

    Four 3x3 convolutions of widths D/8, D/4, D/2 and D, then a fifth that encodes position.

    Attributes:
        image_size: height and width of the image, in pixels.
        in_channels: 3 for colour, 1 for grey.
        pool: for each of the four convolutions, whether a 3x3 max pool of stride 2 follows.
        pool_order: "after_neuron" pools spikes (Spikformer), "before_neuron" pools the membrane
            current (CML; Zhou et al., 2023).
        shortcut: whether the position convolution is added to its input (Spikformer, Spike-driven
            Transformer) or replaces it (Spikingformer).
    """

    image_size: int = 32
    in_channels: int = 3
    pool: tuple[bool, bool, bool, bool] = (False, False, True, True)
    pool_order: Literal["after_neuron", "before_neuron"] = "after_neuron"
    shortcut: bool = True

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.image_size >= 1, f"image_size {self.image_size} must be at least 1", "image_size")
        _require(self.in_channels >= 1, f"in_channels {self.in_channels} must be at least 1", "in_channels")
        _require(
            self.image_size % self.downsampling == 0,
            f"image_size {self.image_size} is not a multiple of {self.downsampling}, "
            f"what {sum(self.pool)} pools divide it by. Pool less, or use another image size",
            "image_size",
            "pool",
        )

    @property
    def downsampling(self) -> int:
        """Image pixels per side of one token."""
        return int(2 ** sum(self.pool))


@dataclass(frozen=True)
class AttentionConfig:
    """Token mixer: spiking attention without softmax.

    Attributes:
        kind: "ssa", (q k^T) v (Spikformer); "sdsa", q masked by the column sums of k * v (Spike-driven
            Transformer, Yao et al., NeurIPS 2023); "qkta" and "qkca", k masked by the sums of q over
            channels or over tokens (QKFormer, Zhou et al., NeurIPS 2024).
        num_heads: groups of channels that attend on their own.
        neuron_on: for "ssa", whether the attention neuron fires on the "output" (published) or on the
            attention "map" q k^T. The other kinds always fire on their mask.
        threshold: of that neuron.
        scale: factor on the output or map of "ssa".
        qkv_bias, proj_bias: biases of the convolutions before their batch norm.
    """

    kind: Attention = "ssa"
    num_heads: int = 8
    neuron_on: Literal["output", "map"] = "output"
    threshold: float = 0.5
    scale: float = 0.125
    qkv_bias: bool = False
    proj_bias: bool = True

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.num_heads >= 1, f"num_heads {self.num_heads} must be at least 1", "num_heads")
        _require(self.threshold > 0, f"threshold {self.threshold} must be positive", "threshold")
        _require(self.scale > 0, f"scale {self.scale} must be positive", "scale")

    def canonical(self) -> "AttentionConfig":
        """Fields that this kind never reads go back to their defaults."""
        default = AttentionConfig()
        if self.kind == "ssa":
            return self
        heads = self.num_heads if self.kind == "qkta" else 1
        return replace(self, num_heads=heads, neuron_on=default.neuron_on, scale=default.scale)


@dataclass(frozen=True)
class MLPConfig:
    """Channel mixer: two 1x1 convolutions, `ratio` times as wide in between."""

    ratio: float = 4.0
    bias: bool = True

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.ratio > 0, f"ratio {self.ratio} must be positive", "ratio")


@dataclass(frozen=True)
class StageConfig:
    """`depth` blocks of attention and MLP, all of the same kind and width."""

    embed_dim: int = 384
    depth: int = 4
    mixer: AttentionConfig = field(default_factory=lambda: AttentionConfig(num_heads=12))
    mlp: MLPConfig = field(default_factory=MLPConfig)

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.depth >= 1, f"depth {self.depth} must be at least 1", "depth")
        _require(self.embed_dim >= 1, f"embed_dim {self.embed_dim} must be at least 1", "embed_dim")
        heads = self.mixer.num_heads
        if self.embed_dim % heads:
            raise ConfigError(
                f"num_heads {heads} does not divide embed_dim {self.embed_dim}. "
                f"Use one of {_listed(_divisors(self.embed_dim))}",
                ("embed_dim", "mixer.num_heads"),
            )
        hidden = self.embed_dim * self.mlp.ratio
        _require(
            math.isfinite(hidden) and hidden == int(hidden),
            f"mlp.ratio {self.mlp.ratio} of embed_dim {self.embed_dim} is no whole number of channels ({hidden})",
            "embed_dim",
            "mlp.ratio",
        )


@dataclass(frozen=True)
class HeadConfig:
    """Classifier on the mean over tokens and time.

    Attributes:
        num_classes: length of the logits.
        neuron: whether a neuron turns the tokens' mean into spikes before the linear layer.
    """

    num_classes: int = 10
    neuron: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.num_classes >= 1, f"num_classes {self.num_classes} must be at least 1", "num_classes")


@dataclass(frozen=True)
class SpikformerConfig:
    """One spiking transformer: stem, stages of blocks, head.

    Attributes:
        time_steps: T, how often a static image is shown.
        residual: "sew" adds spikes, every neuron stands after its convolution and batch norm
            (Spikformer); "ms" adds membrane currents, every neuron stands before its convolution
            (Spikingformer, Spike-driven Transformer).

    Raises:
        ConfigError: on construction, when no such network exists; says which fields disagree.
    """

    time_steps: int = 4
    residual: Residual = "sew"
    neuron: NeuronConfig = field(default_factory=NeuronConfig)
    stem: StemConfig = field(default_factory=StemConfig)
    stages: tuple[StageConfig, ...] = field(default_factory=lambda: (StageConfig(),))
    head: HeadConfig = field(default_factory=HeadConfig)

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self.time_steps >= 1, f"time_steps {self.time_steps} must be at least 1", "time_steps")
        _require(len(self.stages) >= 1, "stages is empty: give at least one stage", "stages")
        widths = [stage.embed_dim for stage in self.stages]
        _require(
            len(set(widths)) == 1,
            f"stages have embed_dim {_listed(widths)}: blocks are added to one another, so all need one width",
            *(f"stages.{i}.embed_dim" for i in range(len(widths))),
        )
        _require(
            widths[0] % 8 == 0,
            f"embed_dim {widths[0]} is not a multiple of 8: the stem starts with embed_dim / 8 channels",
            "stages.0.embed_dim",
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Config from plain values, as `to_dict` writes them; what is left out takes its default.

        Raises:
            ConfigError: an unknown key (with the nearest valid name), a wrong type, no such network.
        """
        return typing.cast(Self, _build(cls, values))

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive JSON: `SpikformerConfig.from_dict(config.to_dict()) == config`."""
        return typing.cast(dict[str, Any], _plain(self))

    def canonical(self) -> "SpikformerConfig":
        """The one way to write this network: fields without effect at their defaults, equal stages joined."""
        stages: list[StageConfig] = []
        for stage in (replace(stage, mixer=stage.mixer.canonical()) for stage in self.stages):
            if stages and replace(stages[-1], depth=stage.depth) == stage:
                stages[-1] = replace(stage, depth=stages[-1].depth + stage.depth)
            else:
                stages.append(stage)
        # With membrane currents on the shortcut, the last pool must stand before the neuron anyway.
        free_pools = self.stem.pool[:3] if self.residual == "ms" and self.stem.shortcut else self.stem.pool
        stem = self.stem if any(free_pools) else replace(self.stem, pool_order="after_neuron")
        return replace(self, stages=tuple(stages), stem=stem)

    @property
    def config_id(self) -> str:
        """12 hex digits that two configs share if and only if they build equal networks."""
        text = json.dumps(self.canonical().to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_LARGEST = 2**31


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the valid name that `name` was meant to be, or all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return f'Did you mean "{close[0]}"?' if close else f"Valid names: {', '.join(names)}."


def _require(condition: bool, message: str, *fields: str) -> None:
    if not condition:
        raise ConfigError(message, fields)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _check_types(part: Any) -> None:
    """Bring every field of a part to its declared type, or say what it should have been."""
    for name, hint in _hints(type(part)).items():  # type: ignore[arg-type]  # a class is hashable
        value = getattr(part, name)
        if type(value) is not hint or hint in (int, float):
            object.__setattr__(part, name, _typed(name, value, hint))


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _typed(name: str, value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        _require(value in arguments, f'{name} "{value}" is unknown. Use one of {_listed(arguments)}', name)
        return value
    if origin is tuple:
        _require(isinstance(value, list | tuple), f"{name} must be a list, not {value!r}", name)
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(value)
        _require(len(value) == len(arguments), f"{name} needs {len(arguments)} values, not {len(value)}", name)
        return tuple(_typed(name, item, kind) for item, kind in zip(value, arguments, strict=True))
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ConfigError(f"{name} is larger than {_LARGEST}, more than any network has", (name,))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = isinstance(value, hint) and not (hint is int and isinstance(value, bool))
    _require(fits, f"{name} must be {_kind(hint)}, not {value!r}", name)
    _require(not isinstance(value, float) or math.isfinite(value), f"{name} must be finite, not {value!r}", name)
    return value


def _kind(hint: type) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(hint, f"a {hint.__name__}")


def _build(cls: type, values: Any) -> Any:
    _require(isinstance(values, dict), f"expected the fields of {cls.__name__}, not {values!r}")
    hints = _hints(cls)
    for key in values:
        if key not in hints:
            raise ConfigError(f'unknown field "{key}". {nearest(str(key), hints)}', (str(key),))
    return cls(**{key: _build_field(key, value, hints[key]) for key, value in values.items()})


def _build_field(key: str, value: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return _within(key, typing.cast(type, hint), value)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and dataclasses.is_dataclass(arguments[0]):
        _require(isinstance(value, list | tuple), f"{key} must be a list, not {value!r}", key)
        return tuple(_within(f"{key}.{i}", typing.cast(type, arguments[0]), item) for i, item in enumerate(value))
    return value


def _within(path: str, cls: type, values: Any) -> Any:
    try:
        return _build(cls, values)
    except ConfigError as error:
        raise error.within(path) from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


__all__ = [
    "AttentionConfig",
    "HeadConfig",
    "MLPConfig",
    "NeuronConfig",
    "SpikformerConfig",
    "StageConfig",
    "StemConfig",
    "nearest",
]
