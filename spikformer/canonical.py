"""The one way to write a network: fields without effect at their defaults, equal networks as one.

Standard library only.
"""

import functools
import math
import typing
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from spikformer import plugins
from spikformer.fields import Options, names
from spikformer.kinds import READS, Reduction, Residual
from spikformer.parts import MixerConfig, MLPConfig, NeuronConfig, StageConfig
from spikformer.stem_config import SPS_WIDTHS, ConvConfig, DownConfig, StemConfig


def stages(
    written: Sequence[StageConfig],
    grids: Sequence[int],
    time_steps: int,
    residual: Residual,
    neuron: NeuronConfig,
) -> tuple[StageConfig, ...]:
    """Equal stages without a layer between them are one, and stages of no block and no layer are none."""
    plain: list[StageConfig] = []
    for stage, grid in zip(written, grids, strict=True):
        current = _stage(stage, grid, time_steps, residual, neuron.fires_units)
        if plain and current.down.kind == "none" and _joined(plain[-1], current) is not None:
            plain[-1] = typing.cast(StageConfig, _joined(plain[-1], current))
        else:
            plain.append(current)
    return tuple(plain)


def _joined(before: StageConfig, stage: StageConfig) -> StageConfig | None:
    """Two stages of one width without a layer between them as one; None, if their blocks differ."""
    if stage.depth == 0:
        return before
    if before.depth == 0:
        return replace(stage, down=before.down)
    if stage == replace(before, depth=stage.depth, down=DownConfig()):
        return replace(before, depth=before.depth + stage.depth)
    return None


def _stage(stage: StageConfig, grid: int, time_steps: int, residual: Residual, fires_units: bool) -> StageConfig:
    """The stage as it is written in a canonical network.

    Thousands of networks share most of their stages, so stages of our own blocks are remembered. What a block of the
    user's own declares may change within a process, and whether its module may be imported too.
    """
    own = any(":" in part.kind for part in (stage.down, stage.local, stage.mixer, stage.mlp))
    canonical = _stage_anew if own else _stage_of_ours
    return canonical(stage, grid, time_steps, residual, fires_units)


def _stage_anew(stage: StageConfig, grid: int, time_steps: int, residual: Residual, fires_units: bool) -> StageConfig:
    down = _down(stage.down, residual)
    if stage.depth == 0:
        return StageConfig(stage.embed_dim, 0, down)
    local, mixer = (_mixer(part, stage.embed_dim, grid, time_steps, fires_units) for part in (stage.local, stage.mixer))
    mlp = _part(stage.mlp, filter(stage.mlp.reads, names(MLPConfig)))
    return replace(stage, down=down, local=local, mixer=mixer, mlp=mlp)


_stage_of_ours = functools.lru_cache(maxsize=4096)(_stage_anew)


def _mixer(mixer: MixerConfig, embed_dim: int, grid: int, time_steps: int, fires_units: bool) -> MixerConfig:
    if mixer.qkv_dim == embed_dim:
        mixer = replace(mixer, qkv_dim=0)
    if mixer.reads("scale_by") and mixer.scale_by == "head_dim":
        head_dim = mixer.attention_dim(embed_dim) // mixer.num_heads
        mixer = replace(mixer, scale=mixer.scale / math.sqrt(head_dim), scale_by="constant")
    if mixer.window == grid:
        mixer = replace(mixer, window=0)
    if mixer.time_window in (0, time_steps):  # all steps: one way to say so, and one step is no window
        mixer = replace(mixer, time_window=0 if time_steps > 1 else 1)
    reads = set(filter(mixer.reads, names(MixerConfig)))
    if not fires_units:
        reads -= {"threshold"}
    return typing.cast(MixerConfig, _part(mixer, reads))


@functools.lru_cache(maxsize=4096)
def _stem_of_ours(stem: StemConfig, residual: Residual) -> StemConfig:
    stem = _named_stem(stem, residual)
    if residual != "ms":  # neurons stand behind convolutions
        stem = replace(stem, shared_neuron=False)
    reads = _of_every_stem(stem) | set(READS["stem"][stem.kind])
    if stem.kind == "chain" and not stem.shortcut_over:
        reads.remove("deformed_shortcut")
    if not any(_pools_that_may_follow(stem.convolutions, _ends_in_membrane(stem, residual))):
        reads.discard("pool_order")
    return typing.cast(StemConfig, _part(stem, reads))


def stem(written: StemConfig, residual: Residual) -> StemConfig:
    if ":" in written.kind:
        return typing.cast(StemConfig, _part(written, _of_every_stem(written) | {"stride", "options"}))
    return _stem_of_ours(written, residual)


def _of_every_stem(stem: StemConfig) -> set[str]:
    return {"image_size", "in_channels", "position"} | ({"shortcut"} if stem.position == "conv" else set())


def _pools_that_may_follow(chain: Sequence[ConvConfig], ends_in_membrane: bool) -> Iterable[bool]:
    """Whether each convolution has a pool that may stand behind its neuron: a membrane has none to stand behind."""
    return (conv.pool for conv in (chain[:-1] if ends_in_membrane else chain))


def _named_stem(stem: StemConfig, residual: Residual) -> StemConfig:
    """A chain that has a name of its own, under that name."""
    if stem.kind != "chain":
        return stem
    stem = _with_position_apart(stem)
    pools_last = stem.pool_order == "after_neuron" and any(
        _pools_that_may_follow(stem.chain, _ends_in_membrane(stem, residual))
    )
    match stem.chain:
        case (first, second, third, last) if not stem.shortcut_over and tuple(
            replace(conv, pool=False) for conv in stem.chain
        ) == tuple(map(ConvConfig, SPS_WIDTHS)):
            return replace(stem, kind="sps", pool=(first.pool, second.pool, third.pool, last.pool))
        case (first, *others) if first in _halving(0.5) and _is_speds(others, stem.shortcut_over) and not pools_last:
            convs = tuple(map(_reduction, others))
            return replace(stem, kind="speds", encode=_reduction(first), convs=convs, shared_neuron=True)
        case (only,) if residual == "ms" and only.stride in (1, 2, 4) and only.kernel_size % 2 and not pools_last:
            settings = replace(stem, kernel_size=only.kernel_size, stride=only.stride, max_pool=only.pool)
            return replace(settings, kind="conv", bias=False)
    return stem


def _with_position_apart(stem: StemConfig) -> StemConfig:
    """A last convolution like that of a position counts as one that replaces its input, as the fifth of SPS."""
    *before, last = stem.chain
    if stem.position == "none" and not stem.shortcut_over and before and before[-1].width == 1 and last == ConvConfig():
        return replace(stem, chain=tuple(before), position="conv", shortcut=False)
    return stem


def _ends_in_membrane(stem: StemConfig, residual: Residual) -> bool:
    """Whether a chain ends in membrane currents; a position convolution in its place is fed by neurons."""
    return residual == "ms" and (stem.shortcut or stem.position != "conv" or stem.adds_paths)


@functools.lru_cache(maxsize=4096)
def _down_of_ours(down: DownConfig, residual: Residual) -> DownConfig:
    down = _named_down(down, residual)
    reads = set(READS["down"][down.kind])
    if down.kind == "chain":
        if not down.shortcut_over:
            reads.remove("deformed_shortcut")
        if not any(_pools_that_may_follow(down.chain, residual == "ms")):
            reads.remove("pool_order")
    return typing.cast(DownConfig, _part(down, reads))


def _down(down: DownConfig, residual: Residual) -> DownConfig:
    if ":" in down.kind:
        return typing.cast(DownConfig, _part(down, ("stride", "options")))
    return _down_of_ours(down, residual)


def _named_down(down: DownConfig, residual: Residual) -> DownConfig:
    """A chain that has a name of its own, under that name."""
    if down.kind != "chain":
        return down
    chain = down.chain
    if not down.shortcut_over and chain in ((ConvConfig(),), (ConvConfig(stride=2),)):
        return replace(down, kind="conv", stride=chain[0].stride, bias=False)
    pools_last = down.pool_order == "after_neuron" and any(_pools_that_may_follow(chain, residual == "ms"))
    if _is_speds(chain, down.shortcut_over) and not pools_last:
        return replace(down, kind="speds", convs=tuple(map(_reduction, chain)))
    return down


def _is_speds(chain: Sequence[ConvConfig], shortcut_over: int) -> bool:
    """Whether these convolutions are all on the main path of speds, which halves the image at most once."""
    halvings = sum(conv.downsampling == 2 for conv in chain)
    return len(chain) == shortcut_over > 0 and all(conv in _halving(1.0) for conv in chain) and halvings <= 1


def _halving(width: float) -> tuple[ConvConfig, ...]:
    """The 3x3 convolutions of a width that halve the image at most once."""
    return ConvConfig(width), ConvConfig(width, stride=2), ConvConfig(width, pool=True)


def _reduction(conv: ConvConfig) -> Reduction:
    return "pool" if conv.pool else "stride" if conv.stride == 2 else "none"


def neuron(written: NeuronConfig, *, learns_positions: bool) -> NeuronConfig:
    canonical = _neuron_anew if ":" in written.kind else _neuron_of_ours
    return canonical(written, learns_positions)


def _neuron_anew(neuron: NeuronConfig, learns_positions: bool) -> NeuronConfig:
    if neuron.divisor == neuron.levels:
        neuron = replace(neuron, divisor=0)
    reads = set(READS["neuron"].get(neuron.kind, ("options",)))
    if learns_positions:
        reads.add("threshold")  # learned positions start as far as the neurons reach
    return typing.cast(NeuronConfig, _part(neuron, reads))


_neuron_of_ours = functools.lru_cache(maxsize=4096)(_neuron_anew)


def _part(part: Any, reads: Iterable[str]) -> Any:
    """The part with every field that its kind does not read at its default."""
    fields = {name: getattr(part, name) for name in reads}
    if "options" in fields and ":" in part.kind:
        fields["options"] = Options.from_dict(plugins.canonical(part.kind, part.options.to_dict()))
    return type(part)(kind=part.kind, **fields)


__all__ = ["neuron", "stages", "stem"]
