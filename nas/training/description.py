"""A network in words, for readers who do not know the shorthand: one sentence fragment from its config."""

from collections.abc import Iterable, Sequence

from spikformer.config import MixerConfig, MLPConfig, NeuronConfig, SpikformerConfig, StageConfig, StemConfig

MIXERS = {
    "ssa": "spiking self-attention",
    "sdsa": "spike-driven self-attention",
    "qkta": "Q-K token attention",
    "qkca": "Q-K channel attention",
    "dssa": "dual spike self-attention",
    "sepconv": "separable convolution",
    "dwconv": "depthwise convolution",
}
MLPS = {"mlp": "MLP", "convffn": "convolutional MLP", "gwffn": "group-wise MLP"}
_SHORTCUTS = {
    "sew": "spike-element-wise shortcut",
    "ms": "membrane shortcut",
    "sew_iand": "spike-element-wise shortcut that masks (IAND)",
}
_NEURONS = {
    "lif": "",  # the usual one
    "plif": "neurons that learn their leak",
    "if": "neurons without leak",
    "ternary": "neurons with spikes of -1, 0 and 1",
    "psn": "parallel spiking neurons",
}


def described(config: SpikformerConfig) -> str:
    """The network in words, from its first stage to its number of time steps T.

    "4 blocks of 256 channels, 8 heads, spiking self-attention, MLP ratio 4, spike-element-wise shortcut, T = 4".
    Several stages stand one after the other, divided by semicolons. Two networks that differ in what is seldom varied,
    such as a threshold, read alike.
    """
    groups = _groups(config.stages)
    stages = "; then ".join(map(_group, groups))
    stem = stem_name(config.stem)
    rest = [
        f"stem of {stem}" if stem != _USUAL_STEM else "",
        _shortcut(config.residual),
        _neuron(config.neuron),
        "stem pools before its neurons" if config.stem.pool_order == "before_neuron" else "",
        "neuron before the classifier" if config.head.neuron else "",
        f"T = {config.time_steps}",
    ]
    divider = "; " if len(groups) > 1 else ", "
    return stages + divider + ", ".join(filter(None, rest))


def stem_name(stem: StemConfig) -> str:
    """What makes tokens of the image: convolutions by their number, or patches that do not overlap."""
    if ":" in stem.kind:
        return stem.kind.rpartition(":")[2]
    if stem.kind == "speds":
        return "convolutions with a deformed shortcut"
    convs = stem.convolutions
    if len(convs) == 1 and convs[0].kernel_size == convs[0].stride > 1:
        return f"{convs[0].stride} x {convs[0].stride} patches"
    number = "1 convolution" if len(convs) < 2 else f"{len(convs)} convolutions"  # conv has one
    pools = [conv.pool for conv in convs]
    early = stem.kind == "sps" and pools != sorted(pools)  # published stems pool at their last convolutions
    return number + (" with early pools" if early else "") + (" and a shortcut" if stem.adds_paths else "")


_USUAL_STEM = "4 convolutions"


def mixer_name(mixer: MixerConfig) -> str:
    """That of a custom block is its class."""
    return MIXERS.get(mixer.kind, mixer.kind.rpartition(":")[2])


def mlp_name(mlp: MLPConfig) -> str:
    """That of a custom block is its class."""
    return MLPS.get(mlp.kind, mlp.kind.rpartition(":")[2])


def _groups(stages: Sequence[StageConfig]) -> list[list[StageConfig]]:
    """Stages with blocks; those of one width with no layer between them stand together."""
    groups: list[list[StageConfig]] = []
    for stage in stages:
        if stage.depth == 0 and stage.down.kind == "none":
            continue
        if groups and stage.down.kind == "none":
            groups[-1].append(stage)
        else:
            groups.append([stage])
    return groups


def _group(stages: Sequence[StageConfig]) -> str:
    """One stage; of several that differ block by block, the range of what differs."""
    blocks, with_blocks = sum(stage.depth for stage in stages), [stage for stage in stages if stage.depth]
    number = "1 block" if blocks == 1 else f"{blocks or 'no'} blocks"
    mixers = (mixer for stage in with_blocks for mixer in (stage.local, stage.mixer))
    parts = [f"{number} of {stages[0].embed_dim} channels"]
    parts += _mixers([mixer for mixer in mixers if mixer.kind != "identity"])
    for name in dict.fromkeys(mlp_name(stage.mlp) for stage in with_blocks):
        ratios = [stage.mlp.ratio for stage in with_blocks if mlp_name(stage.mlp) == name]
        parts.append(f"{name} ratio {_range(ratios)}")
    return ", ".join(parts)


def _mixers(mixers: Sequence[MixerConfig]) -> list[str]:
    parts: list[str] = []
    for kind in dict.fromkeys(map(_mixer, mixers)):
        alike = [mixer for mixer in mixers if _mixer(mixer) == kind]
        if alike[0].reads("num_heads"):
            heads = _range([mixer.num_heads for mixer in alike])
            parts.append(f"{heads} head{'s' * (heads != '1')}")
        parts.append(kind)
    return parts


def _mixer(mixer: MixerConfig) -> str:
    place = " with its neuron on the attention map" if mixer.kind == "ssa" and mixer.neuron_on == "map" else ""
    return mixer_name(mixer) + place


def _range(numbers: Iterable[float]) -> str:
    """ "2", or "2 to 4"."""
    low, high = min(numbers := list(numbers)), max(numbers)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _shortcut(residual: str) -> str:
    return _SHORTCUTS.get(residual, f"{residual} shortcut")


def _neuron(neuron: NeuronConfig) -> str:
    if neuron.kind == "multispike":
        return f"neurons of up to {neuron.levels} spikes at once"
    return _NEURONS.get(neuron.kind, f"neurons {neuron.kind.rpartition(':')[2]}")


__all__ = ["described", "mixer_name", "mlp_name", "stem_name"]
