"""A larger network on the line of a small one: the rule by which `export` spends a budget.

The depth grows as the square of the width, until the network has twelve blocks; from then on the width alone. That is
how Spikformer, Spikingformer and Spike-driven Transformer come from 2-256 for CIFAR to 8-512 for ImageNet, and their
largest networks, 8-768 and 10-512, have no more blocks. Heads, MLP ratio, groups and all else stay as they were
searched. Widths are rounded to what heads, groups and stem divide; stages grow alike, and each that has blocks has at
least one.
Of the networks on this line the largest within the budget is taken. The line ends at 64 times the searched width or at
4,096 channels, five times the widest that is published.
"""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction

from nas.costs.static import static_model, total_macs
from nas.errors import TrainingError
from spikformer.config import DownConfig, MixerConfig, SpikformerConfig, StageConfig, StemConfig

MOST_BLOCKS = 12
_MOST_CHANNELS = 4096
_FINENESS = 48  # factors an octave
_OCTAVES = 6  # up and down


def to_budget(config: SpikformerConfig, params: int | None = None, macs: int | None = None) -> SpikformerConfig:
    """The largest network on the line of `config` within a budget.

    Args:
        params: most parameters.
        macs: most dense multiplications of an image over all time steps, padding included.

    Raises:
        TrainingError: even the smallest has more, or even the largest that is considered less.
    """
    top = _top(config)
    _check_reached(config, top, params, macs)

    def fits(scaled: SpikformerConfig) -> bool:
        if params is not None and _parameters_of(scaled) > params:
            return False
        return macs is None or total_macs(scaled) <= macs

    best = _largest(lambda i: fits(scaled(config, 2 ** (i / _FINENESS))), top)
    if best is None:
        asked = in_words(params, macs)
        least = scaled(config, 2**-_OCTAVES)
        raise TrainingError(
            f"no network of this kind has at most {asked}: the smallest has "
            f"{_parameters_of(least):,} parameters and {total_macs(least):,} MACs. Give a larger "
            "number"
        )
    return scaled(config, 2 ** (best / _FINENESS))


def in_words(params: int | None, macs: int | None) -> str:
    """The budget, for people."""
    limits = ((params, "parameters"), (macs, "MACs"))
    return " and ".join(f"{limit:,} {what}" for limit, what in limits if limit is not None)


def _top(config: SpikformerConfig) -> int:
    """Where the line ends."""
    wider = math.floor(_FINENESS * math.log2(_MOST_CHANNELS / max(stage.embed_dim for stage in config.stages)))
    return max(0, min(wider, _OCTAVES * _FINENESS))


def _check_reached(config: SpikformerConfig, top: int, params: int | None, macs: int | None) -> None:
    """At once, by the largest network alone.

    Raises:
        TrainingError: no limit is below what the largest network has.
    """
    largest = scaled(config, 2 ** (top / _FINENESS))
    most_params = _parameters_of(largest)
    if (params is not None and params < most_params) or (macs is not None and macs < total_macs(largest)):
        return
    raise TrainingError(
        f"no network of this kind comes near {in_words(params, macs)}: the largest has "
        f"{max(stage.embed_dim for stage in largest.stages):,} channels and {most_params:,} parameters. Give a "
        "smaller number"
    )


def _parameters_of(config: SpikformerConfig) -> int:
    return sum(p.numel() for p in static_model(config).parameters())


def _largest(fits: Callable[[int], bool], top: int) -> int | None:
    """The largest whole number that fits: networks grow with it. From below, as large ones take long to count."""
    low = -_OCTAVES * _FINENESS
    if not fits(low):
        return None
    while low < top and fits(min(low + _FINENESS, top)):
        low = min(low + _FINENESS, top)
    high = min(low + _FINENESS - 1, top)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def scaled(config: SpikformerConfig, factor: float) -> SpikformerConfig:
    """`config` with its widths times `factor`, its depth times the square of it, but at most to twelve blocks."""
    blocks = sum(stage.depth for stage in config.stages)
    deeper = min(factor**2, max(1.0, MOST_BLOCKS / blocks))
    unit = _unit(config)
    return dataclasses.replace(config, stages=tuple(_stage(stage, factor, deeper, unit) for stage in config.stages))


def _stage(stage: StageConfig, wider: float, deeper: float, unit: int) -> StageConfig:
    width = max(unit, round(stage.embed_dim * wider / unit) * unit)
    depth = max(1, round(stage.depth * deeper)) if stage.depth else 0
    local, mixer = (_mixer(part, width / stage.embed_dim) for part in (stage.local, stage.mixer))
    return dataclasses.replace(stage, embed_dim=width, depth=depth, local=local, mixer=mixer)


def _mixer(mixer: MixerConfig, wider: float) -> MixerConfig:
    """The width of q, k and v, where it is apart, grows as that of the stage, and heads divide it."""
    if not (mixer.qkv_dim and mixer.reads("qkv_dim")):
        return mixer
    heads = mixer.num_heads if mixer.reads("num_heads") else 1
    return dataclasses.replace(mixer, qkv_dim=heads * max(1, round(mixer.qkv_dim * wider / heads)))


def _unit(config: SpikformerConfig) -> int:
    """What all widths must be a multiple of: of 8 for sps, of shares in chains, of numbers of heads, of groups."""
    units = [8]
    parts: list[StemConfig | DownConfig] = [config.stem, *(stage.down for stage in config.stages)]
    for conv in (conv for part in parts if part.kind == "chain" for conv in part.chain):
        units.append(Fraction(conv.width).limit_denominator(_MOST_CHANNELS).denominator)
    for stage in config.stages:
        units += [mixer.num_heads for mixer in (stage.local, stage.mixer) if mixer.reads("num_heads")]
        if stage.mlp.kind == "gwffn":
            units.append(math.ceil(stage.mlp.group_width / math.gcd(stage.mlp.group_width, round(stage.mlp.ratio))))
        elif not float(stage.mlp.ratio).is_integer():
            units.append(stage.mlp.ratio.as_integer_ratio()[1])
    return math.lcm(*units)


__all__ = ["MOST_BLOCKS", "in_words", "scaled", "to_budget"]
