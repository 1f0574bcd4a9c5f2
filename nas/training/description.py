"""A network in words, for readers who do not know the shorthand: one sentence fragment from its config."""

from spikformer.config import MixerConfig, MLPConfig, NeuronConfig, SpikformerConfig, StageConfig

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
    stages = "; then ".join(map(_stage, config.stages))
    rest = [
        _shortcut(config.residual),
        _neuron(config.neuron),
        "stem pools before its neurons" if config.stem.pool_order == "before_neuron" else "",
        "neuron before the classifier" if config.head.neuron else "",
        f"T = {config.time_steps}",
    ]
    divider = "; " if len(config.stages) > 1 else ", "
    return stages + divider + ", ".join(filter(None, rest))


def mixer_name(mixer: MixerConfig) -> str:
    """That of a custom block is its class."""
    return MIXERS.get(mixer.kind, mixer.kind.rpartition(":")[2])


def mlp_name(mlp: MLPConfig) -> str:
    """That of a custom block is its class."""
    return MLPS.get(mlp.kind, mlp.kind.rpartition(":")[2])


def _stage(stage: StageConfig) -> str:
    blocks = "1 block" if stage.depth == 1 else f"{stage.depth} blocks"
    parts = [
        f"{blocks} of {stage.embed_dim} channels",
        *(words for mixer in (stage.local, stage.mixer) if mixer.kind != "identity" for words in _mixer(mixer)),
        f"{mlp_name(stage.mlp)} ratio {stage.mlp.ratio:g}",
    ]
    return ", ".join(parts)


def _mixer(mixer: MixerConfig) -> list[str]:
    heads = f"{mixer.num_heads} head{'s' * (mixer.num_heads > 1)}" if mixer.reads("num_heads") else ""
    place = " with its neuron on the attention map" if mixer.kind == "ssa" and mixer.neuron_on == "map" else ""
    return [*filter(None, (heads, mixer_name(mixer) + place))]


def _shortcut(residual: str) -> str:
    return _SHORTCUTS.get(residual, f"{residual} shortcut")


def _neuron(neuron: NeuronConfig) -> str:
    if neuron.kind == "multispike":
        return f"neurons of up to {neuron.levels} spikes at once"
    return _NEURONS.get(neuron.kind, f"neurons {neuron.kind.rpartition(':')[2]}")


__all__ = ["described", "mixer_name", "mlp_name"]
