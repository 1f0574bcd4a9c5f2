"""Which kinds a part of a network may have, which fields each kind reads, and how large a field may be."""

from typing import Any, Literal

from spikformer import plugins
from spikformer.errors import ConfigError
from spikformer.fields import nearest, require

Residual = Literal["sew", "ms", "sew_iand"]
Reduction = Literal["none", "stride", "pool"]
"""How a convolution halves the image: not at all, by stride 2, or by a 3x3 max pool of stride 2 behind it."""

READS: dict[str, dict[str, tuple[str, ...]]] = {
    "neuron": {
        "lif": ("tau", "threshold", "surrogate"),
        "plif": ("tau", "threshold", "surrogate"),
        "if": ("threshold", "surrogate"),
        "ternary": ("tau", "threshold", "surrogate"),
        "psn": ("tau", "threshold", "surrogate"),
        "multispike": ("levels", "divisor", "rounding"),
    },
    "stem": {
        "sps": ("pool", "pool_order"),
        "speds": ("encode", "convs", "deformed_shortcut", "shared_neuron"),
        "conv": ("kernel_size", "stride", "bias", "max_pool"),
        "chain": ("chain", "shortcut_over", "deformed_shortcut", "pool_order"),
    },
    "down": {
        "none": (),
        "conv": ("stride", "bias"),
        "speds": ("convs", "deformed_shortcut"),
        "chain": ("chain", "shortcut_over", "deformed_shortcut", "pool_order"),
    },
    "mixer": {
        "ssa": (
            *("num_heads", "qkv_dim", "projection", "value_ratio", "qkv_bias", "proj_bias", "layer_scale"),
            *("neuron_on", "threshold", "scale", "scale_by", "window", "time_window"),
        ),
        "sdsa": (
            *("num_heads", "qkv_dim", "projection", "qkv_bias", "proj_bias", "layer_scale"),
            *("threshold", "erode"),
        ),
        "qkta": ("num_heads", "qkv_dim", "projection", "qkv_bias", "proj_bias", "threshold", "layer_scale"),
        "qkca": ("qkv_dim", "projection", "qkv_bias", "proj_bias", "threshold", "layer_scale"),
        "dssa": ("num_heads", "patch", "layer_scale"),
        "sepconv": ("kernel_size", "middle_neuron", "layer_scale"),
        "dwconv": ("kernel_size", "layer_scale"),
        "identity": (),
    },
    "mlp": {
        "mlp": ("ratio", "bias", "inner_residual", "layer_scale"),
        "convffn": ("ratio", "bias", "inner_residual", "layer_scale"),
        "gwffn": ("ratio", "bias", "group_width", "layer_scale"),
    },
}
"""Part -> kind -> the fields that a part of this kind reads, beside those that every kind of it reads."""


def check_kind(part: Any, name: str) -> None:
    """A kind of our own, or the "package.module:Class" of a block of yours."""
    kinds = READS[name]
    if ":" in part.kind:
        plugins.check_reference(part.kind)
        return
    if part.kind not in kinds:  # the message takes longer than all other checks: made only where it is needed
        raise ConfigError(
            f'kind "{part.kind}" is unknown. {nearest(part.kind, kinds)} Or "package.module:Class"', ("kind",)
        )


MOST = {
    "time_steps": 4096,
    "image_size": 16_384,
    "in_channels": 4096,
    "levels": 2**16,
    "divisor": 2**16,
    "value_ratio": 1024,
    "kernel_size": 1023,
    "width": 1024,
    "ratio": 1024,
    "depth": 1024,
    "qkv_dim": 65_536,
    "embed_dim": 65_536,
    "num_classes": 10_000_000,
    "stages": 64,
}
MOST_PARAMETERS = 10_000_000_000
"""Many times what any published network has: more is a slip, and would be allocated before anything could be said."""


def check_most(part: object, *fields: str) -> None:
    for name in fields:
        if getattr(part, name) > MOST[name]:
            raise ConfigError(
                f"{name} {getattr(part, name):,} is more than any network has. Use at most {MOST[name]:,}", (name,)
            )


def check_kernel(size: int) -> None:
    require(size >= 1 and size % 2 == 1, f"kernel_size {size} must be odd", "kernel_size")
