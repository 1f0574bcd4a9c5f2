"""The parts of a config behind the stem: neuron, token mixer, channel mixer, stage and head.

Standard library only.
"""

from dataclasses import dataclass, field
from typing import Literal

from spikformer.errors import ConfigError
from spikformer.fields import Options, check_types, divisors, listed, require
from spikformer.kinds import READS, check_kernel, check_kind, check_most
from spikformer.stem_config import DownConfig


@dataclass(frozen=True)
class NeuronConfig:
    """The neuron of every layer.

    Attributes:
        kind: "lif" leaks with a fixed time constant; "plif" learns one per layer (Fang et al., ICCV 2021);
            "if" does not leak; "ternary" is a lif that fires +1 or -1 (Guo et al., AAAI 2024); "psn" weighs
            all time steps at once by a learned T x T matrix (Fang et al., NeurIPS 2023); "multispike" fires
            0 to `levels` spikes at once and keeps no state (Yao et al., Spike-driven Transformer V3, TPAMI 2025).
        tau (time steps): The membrane forgets with this time constant, which is above 1; plif and psn start from it.
        threshold: The neuron fires when its membrane potential reaches this value; attention has a threshold of its
            own.
        surrogate: The gradient of the firing step is that of "sigmoid" (slope 4, Spikformer) or "atan" (slope 2).
        levels (spikes): A multispike neuron fires at most this many spikes at once, a power of 2; its output is a
            multiple of 1 / divisor.
        divisor (spikes): The output of a multispike neuron is its number of spikes divided by this power of 2; 0 takes
            `levels`, so that the largest output is 1 (V3 on images; its code for events divides by 1 or by 8).
        rounding: A multispike neuron halfway between two numbers takes the even one or the upper one.
        options: A custom neuron reads these settings, under the names that its class declares.
    """

    kind: str = "lif"
    tau: float = 2.0
    threshold: float = 1.0
    surrogate: Literal["sigmoid", "atan"] = "sigmoid"
    levels: int = 4
    rounding: Literal["half_even", "half_up"] = "half_even"
    options: Options = field(default_factory=Options)
    divisor: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_kind(self, "neuron")
        require(self.tau > 1, f"tau {self.tau} must be above 1: at 1 nothing of the past is kept", "tau")
        require(self.threshold > 0, f"threshold {self.threshold} must be positive", "threshold")
        check_most(self, "levels", "divisor")
        require(
            _is_power_of_two(self.levels),
            f"levels {self.levels} must be a power of 2: 1 / levels is then an exact number",
            "levels",
        )
        require(
            self.divisor == 0 or _is_power_of_two(self.divisor),
            f"divisor {self.divisor} must be a power of 2: 1 / divisor is then an exact number. Or 0, for as many as "
            "levels",
            "divisor",
        )

    @property
    def quantum(self) -> float:
        """What one spike of a multispike neuron counts in its output."""
        return 1 / (self.divisor or self.levels)

    @property
    def fires_units(self) -> bool:
        """Whether its output is 0 or one spike (+1 or -1), so that it can mask."""
        return self.kind != "multispike"

    @property
    def fires_binary(self) -> bool:
        """Whether its output is 0 or 1."""
        return self.kind not in ("multispike", "ternary")


def _is_power_of_two(number: int) -> bool:
    return number >= 1 and number & (number - 1) == 0


@dataclass(frozen=True)
class MixerConfig:
    """Token mixer of a block: spiking attention without softmax, or a convolution.

    Attributes:
        kind: "ssa", (q k^T) v (Spikformer); "sdsa", q masked by the column sums of k * v (Spike-driven
            Transformer, Yao et al., NeurIPS 2023); "qkta" and "qkca", k masked by the sums of q over
            channels or over tokens (QKFormer, Zhou et al., NeurIPS 2024); "dssa", dual spike attention
            (SpikingResformer, Shi et al., CVPR 2024); "sepconv", separable convolution (Spike-driven
            Transformer V2, Yao et al., ICLR 2024); "dwconv", depthwise convolution (Max-Former, Fang et
            al., NeurIPS 2025); "identity", no mixing.
        num_heads (heads): This many groups of channels attend on their own; the number divides the width of q and k.
            sdsa reads it with `erode` only.
        qkv_dim (channels): q, k and v of attention have this width, apart from that of the tokens (as in AutoFormer;
            Chen et al., ICCV 2021); 0 takes that of the tokens.
        projection: q, k, v and the output are made by "linear", a 1x1 convolution; by "rep", 1x1, depthwise 3x3
            and 1x1 in a row (V2); or by "rep1", 1x1 to 1.5 times the width and back (V3, large).
        value_ratio (times the width): v is this many times as wide as q and k (V3).
        qkv_bias: The linear projections of q, k and v have biases before their batch norm.
        proj_bias: The linear projection of the output has a bias before its batch norm.
        neuron_on: The attention neuron of ssa fires on the "output" (published) or on the attention "map" q k^T. The
            other kinds always fire on their mask.
        threshold: The attention neuron fires when its membrane potential reaches this value.
        scale: The output or map of ssa is multiplied by this factor.
        scale_by: "constant" takes `scale` as it is; "head_dim" divides it by the root of the channels per head.
        window (tokens): Tokens attend among themselves within squares of this many tokens a side; 0 takes all tokens.
        time_window (time steps): Tokens of this many time steps attend to one another (STAtten, Lee et al., CVPR
            2025); 1 takes each step on its own, 0 all of them.
        patch (tokens): dssa summarises each patch of this many tokens a side by one token, to which all others attend.
        kernel_size (tokens): The depthwise convolution of sepconv and dwconv covers this many tokens a side, an odd
            number.
        middle_neuron: A batch norm and a neuron stand behind the depthwise convolution of sepconv (V3).
        erode: sdsa takes the maximum over 3 x 3 neighbours of k and v, over those in the image, and of their product
            and of the output, over those of token number and channel of a head (the code of Spike-driven Transformer
            for CIFAR10-DVS, which calls it so).
        layer_scale: A learned factor per channel on the branch starts at this value; 0 has none. It needs residual
            "ms".
        options: A custom mixer reads these settings, under the names that its class declares.
    """

    kind: str = "ssa"
    num_heads: int = 8
    projection: Literal["linear", "rep", "rep1"] = "linear"
    value_ratio: int = 1
    qkv_bias: bool = False
    proj_bias: bool = True
    neuron_on: Literal["output", "map"] = "output"
    threshold: float = 0.5
    scale: float = 0.125
    scale_by: Literal["constant", "head_dim"] = "constant"
    window: int = 0
    time_window: int = 1
    patch: int = 1
    kernel_size: int = 7
    middle_neuron: bool = False
    layer_scale: float = 0.0
    options: Options = field(default_factory=Options)
    qkv_dim: int = 0
    erode: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        check_kind(self, "mixer")
        for name in ("num_heads", "value_ratio", "patch"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)} must be at least 1", name)
        check_most(self, "value_ratio", "kernel_size", "qkv_dim")
        for name in ("threshold", "scale"):
            require(getattr(self, name) > 0, f"{name} {getattr(self, name)} must be positive", name)
        for name in ("window", "time_window", "layer_scale", "qkv_dim"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)} must not be negative", name)
        check_kernel(self.kernel_size)
        require(
            not (self.reads("qkv_dim") and self.qkv_dim) or self.projection == "linear",
            f'qkv_dim {self.qkv_dim} needs projection "linear": "{self.projection}" keeps the width',
            *("kind", "qkv_dim", "projection"),
        )
        if self.kind == "ssa":
            self._check_ssa()

    def _check_ssa(self) -> None:
        require(
            self.value_ratio == 1 or self.projection == "linear",
            f'value_ratio {self.value_ratio} needs projection "linear": "{self.projection}" keeps the width',
            "kind",
            "value_ratio",
            "projection",
        )
        require(
            self.time_window == 1 or self.neuron_on == "output",
            f'time_window {self.time_window} needs neuron_on "output": an attention map over several steps belongs to '
            "none of them",
            "kind",
            "time_window",
            "neuron_on",
        )

    def attention_dim(self, embed_dim: int) -> int:
        """Channels of q and k in a stage of this width."""
        return self.qkv_dim if self.qkv_dim and self.reads("qkv_dim") else embed_dim

    def reads(self, name: str) -> bool:
        """Whether a field has an effect on a mixer of this kind."""
        if self.projection != "linear" and name in ("qkv_bias", "proj_bias"):
            return False
        if self.kind == "sdsa" and name == "num_heads":  # else it works channel by channel
            return self.erode
        return name in READS["mixer"].get(self.kind, ("options", "layer_scale"))


@dataclass(frozen=True)
class MLPConfig:
    """Channel mixer of a block.

    Attributes:
        kind: "mlp", two 1x1 convolutions; "convffn", two 3x3 ones (Spike-driven Transformer V2); "gwffn",
            1x1, a grouped 3x3 with a shortcut of its own, 1x1 (SpikingResformer).
        ratio (times the width): Between its convolutions the channel mixer is this many times as wide as the block.
        bias: The convolutions have biases before their batch norm.
        inner_residual: At ratio 1, each of the two convolutions is a residual branch of its own (Spike-driven
            Transformer).
        group_width (channels): Each group of the grouped convolution of gwffn has this many channels.
        layer_scale: A learned factor per channel on the branch starts at this value; 0 has none. It needs residual
            "ms".
        options: A custom channel mixer reads these settings, under the names that its class declares.
    """

    kind: str = "mlp"
    ratio: float = 4.0
    bias: bool = True
    inner_residual: bool = False
    group_width: int = 64
    layer_scale: float = 0.0
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        check_types(self)
        check_kind(self, "mlp")
        require(self.ratio > 0, f"ratio {self.ratio} must be positive", "ratio")
        check_most(self, "ratio")
        require(self.group_width >= 1, f"group_width {self.group_width} must be at least 1", "group_width")
        require(self.layer_scale >= 0, f"layer_scale {self.layer_scale} must not be negative", "layer_scale")

    def reads(self, name: str) -> bool:
        """Whether a field has an effect on a channel mixer of this kind."""
        if name == "inner_residual" and self.ratio != 1:
            return False
        return name in READS["mlp"].get(self.kind, ("options", "layer_scale"))


@dataclass(frozen=True)
class StageConfig:
    """`depth` equal blocks of up to three residual branches: local, mixer, mlp.

    A stage of depth 0 has no blocks: what stands before it is all of it.

    Attributes:
        embed_dim (channels): C, the stage has this width.
        depth (blocks): The stage has this many equal blocks; 0 has none.
        down: This part stands before the stage and makes its tokens fewer and wider; it is "none" in the first.
        local: This token mixer stands before the token mixer (V3: a separable convolution before attention).
        mixer: This token mixer is the attention of each block, or what stands in its place.
        mlp: This channel mixer ends each block.
    """

    embed_dim: int = 384
    depth: int = 4
    down: DownConfig = field(default_factory=DownConfig)
    local: MixerConfig = field(default_factory=lambda: MixerConfig("identity"))
    mixer: MixerConfig = field(default_factory=lambda: MixerConfig(num_heads=12))
    mlp: MLPConfig = field(default_factory=MLPConfig)

    def __post_init__(self) -> None:
        check_types(self)
        require(self.depth >= 0, f"depth {self.depth} must be at least 0", "depth")
        require(self.embed_dim >= 1, f"embed_dim {self.embed_dim} must be at least 1", "embed_dim")
        check_most(self, "depth", "embed_dim")
        if self.depth == 0:  # nothing below is built
            return
        for part in ("local", "mixer"):
            self._check_heads(part)
        if self.mlp.reads("ratio"):
            self._check_hidden_width()

    def _check_heads(self, part: str) -> None:
        mixer: MixerConfig = getattr(self, part)
        width = mixer.attention_dim(self.embed_dim)
        if mixer.reads("num_heads") and width % mixer.num_heads:
            name = "embed_dim" if width == self.embed_dim else "qkv_dim"
            raise ConfigError(
                f"num_heads {mixer.num_heads} does not divide {name} {width}. Use one of {listed(divisors(width))}",
                ("depth", "embed_dim", *(f"{part}.{field}" for field in ("num_heads", "kind", "qkv_dim", "erode"))),
            )

    def _check_hidden_width(self) -> None:
        hidden = self.embed_dim * self.mlp.ratio
        require(
            hidden == int(hidden),
            f"mlp.ratio {self.mlp.ratio} of embed_dim {self.embed_dim} is not a whole number of channels ({hidden})",
            "depth",
            "embed_dim",
            "mlp.ratio",
        )
        require(
            self.mlp.kind != "gwffn" or hidden % self.mlp.group_width == 0,
            f"mlp.group_width {self.mlp.group_width} does not divide the {hidden:.0f} channels that mlp.ratio "
            f"{self.mlp.ratio:g} of embed_dim {self.embed_dim} gives",
            "depth",
            "embed_dim",
            "mlp.ratio",
            "mlp.group_width",
            "mlp.kind",
        )


@dataclass(frozen=True)
class HeadConfig:
    """Classifier on the mean over tokens.

    Attributes:
        num_classes (classes): The network tells this many classes apart, the length of the logits.
        neuron: A neuron turns the tokens' mean into spikes before the linear layer.
        time_mean: The mean over time is taken "before" the linear layer (run once, on real numbers) or "after" it
            (run at each step, on spikes where there is a neuron). The logits are the same. With one time step both
            are one network, and the linear layer is fed spikes.
        bias: The linear layer has a bias.
        distillation: A second classifier, always fed by spikes, learns from a teacher; the logits are the mean of
            both (Spike-driven Transformer V2 and V3).
    """

    num_classes: int = 10
    neuron: bool = False
    time_mean: Literal["before", "after"] = "before"
    bias: bool = True
    distillation: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        require(self.num_classes >= 1, f"num_classes {self.num_classes} must be at least 1", "num_classes")
        check_most(self, "num_classes")
