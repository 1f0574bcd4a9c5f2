"""The parts of a spiking transformer: small frozen values that check themselves.

    stem -> stage 0 -> down -> stage 1 ... -> head        a stage is `depth` blocks
    block: x <- x + local(x); x <- x + mixer(x); x <- x + mlp(x)

`SpikformerConfig` is the one description of a network, from a search space to an exported network. A part that comes
in several kinds has one `kind` and the fields of all of them; `READS` says which kind reads what. Equal
configs are equal, hash equal and build equal networks; `canonical()` also makes networks equal that are
written differently (the number of heads means nothing to an attention that works channel by channel).

A kind "package.module:Class" names a block of your own (`spikformer.plugins`). Reading a config imports nothing;
`canonical()`, `config_id` and building the network import the module, if the user named it.

Standard library only, so that reading a space or printing help needs no torch.
"""

import functools
import itertools
import math
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from spikformer import identity, plugins
from spikformer.errors import ConfigError
from spikformer.fields import Options, PlainTable, build, check_types, divisors, listed, names, nearest, plain, require

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
        "multispike": ("levels", "rounding"),
    },
    "stem": {
        "sps": ("pool", "pool_order"),
        "speds": ("encode", "convs", "deformed_shortcut", "shared_neuron"),
        "conv": ("kernel_size", "stride", "bias", "max_pool"),
    },
    "down": {
        "none": (),
        "conv": ("stride", "bias"),
        "speds": ("convs", "deformed_shortcut"),
    },
    "mixer": {
        "ssa": (
            *("num_heads", "projection", "value_ratio", "qkv_bias", "proj_bias", "layer_scale"),
            *("neuron_on", "threshold", "scale", "scale_by", "window", "time_window"),
        ),
        "sdsa": ("projection", "qkv_bias", "proj_bias", "threshold", "layer_scale"),
        "qkta": ("num_heads", "projection", "qkv_bias", "proj_bias", "threshold", "layer_scale"),
        "qkca": ("projection", "qkv_bias", "proj_bias", "threshold", "layer_scale"),
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
            multiple of 1 / levels.
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

    def __post_init__(self) -> None:
        check_types(self)
        _check_kind(self, "neuron")
        require(self.tau > 1, f"tau {self.tau} must be above 1: at 1 nothing of the past is kept", "tau")
        require(self.threshold > 0, f"threshold {self.threshold} must be positive", "threshold")
        _check_most(self, "levels")
        power_of_two = self.levels >= 1 and self.levels & (self.levels - 1) == 0
        require(
            power_of_two, f"levels {self.levels} must be a power of 2: 1 / levels is then an exact number", "levels"
        )

    @property
    def fires_units(self) -> bool:
        """Whether its output is 0 or one spike (+1 or -1), so that it can mask."""
        return self.kind != "multispike"

    @property
    def fires_binary(self) -> bool:
        """Whether its output is 0 or 1."""
        return self.kind not in ("multispike", "ternary")


@dataclass(frozen=True)
class StemConfig:
    """From the image to the first stage's tokens.

    "sps": spiking patch splitting (Zhou et al., Spikformer, ICLR 2023, section 3.3), four 3x3
    convolutions of widths D/8, D/4, D/2 and D. "speds": patch embedding with deformed shortcut (Zhou et
    al., QKFormer, NeurIPS 2024), an encoding of width D/2, then 3x3 convolutions of width D beside a 1x1.
    "conv": one convolution and batch norm (Spike-driven Transformer V2 and V3, SpikingResformer).

    Attributes:
        kind: "sps", "speds" or "conv", as above.
        image_size (pixels): Images have this height and width.
        in_channels (channels): Images have 3 channels, for colour, or 1, for grey.
        position: This is added to the tokens to tell them apart: "conv", a 3x3 convolution of them (the
            fifth of SPS); "learned", a table; "cpg", a periodic spike code (after Lv et al., NeurIPS 2024);
            or "none".
        shortcut: The position convolution is added to its input (true; Spikformer, Spike-driven Transformer) or
            replaces it (false; Spikingformer).
        pool: For each of the four convolutions of sps, a 3x3 max pool of stride 2 follows (true) or not.
        pool_order: "after_neuron" pools spikes (Spikformer), "before_neuron" pools the membrane current (CML; Zhou
            et al., 2023).
        encode: The first convolution of speds halves the image in this way: not at all, by its stride, or by a 3x3
            max pool behind it.
        convs: Each 3x3 convolution on the main path of speds halves the image in one of these ways; at most one does.
        deformed_shortcut: The 1x1 convolution beside them halves the image in this way, if they do.
        shared_neuron: Under residual "ms", one neuron feeds both paths of speds (true; the authors' ImageNet code of
            MS-QKFormer and Max-Former), or each path has its own, which fires the same (false; their CIFAR code). The
            logits are equal; the second neuron's updates are saved.
        kernel_size (pixels): The convolution of conv covers this many pixels a side, an odd number.
        stride (pixels): The convolution of conv moves by this many pixels: 1, 2 or 4.
        bias: The convolution of conv has a bias.
        max_pool: A 3x3 max pool of stride 2 follows the convolution of conv (SpikingResformer).
    """

    kind: Literal["sps", "speds", "conv"] = "sps"
    image_size: int = 32
    in_channels: int = 3
    position: Literal["conv", "learned", "cpg", "none"] = "conv"
    shortcut: bool = True
    pool: tuple[bool, bool, bool, bool] = (False, False, True, True)
    pool_order: Literal["after_neuron", "before_neuron"] = "after_neuron"
    encode: Reduction = "none"
    convs: tuple[Reduction, ...] = ("none",)
    deformed_shortcut: Reduction = "none"
    shared_neuron: bool = False
    kernel_size: int = 7
    stride: int = 2
    bias: bool = False
    max_pool: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        require(self.image_size >= 1, f"image_size {self.image_size} must be at least 1", "image_size")
        require(self.in_channels >= 1, f"in_channels {self.in_channels} must be at least 1", "in_channels")
        _check_most(self, "image_size", "in_channels")
        require(self.stride in (1, 2, 4), f"stride {self.stride} must be 1, 2 or 4", "stride")
        _check_kernel(self.kernel_size)
        if self.kind == "speds":
            _check_deformed_shortcut(self.convs, self.deformed_shortcut)
        require(
            self.image_size % self.downsampling == 0,
            f"image_size {self.image_size} is not a multiple of {self.downsampling}, by which the {self.kind} stem "
            "divides it. Use less downsampling, or another image size",
            "image_size",
            "kind",
            *READS["stem"][self.kind],
        )

    @property
    def downsampling(self) -> int:
        """Image pixels per side of one token of the first stage."""
        if self.kind == "sps":
            return int(2 ** sum(self.pool))
        if self.kind == "speds":
            return int(2 ** sum(reduction != "none" for reduction in (self.encode, *self.convs)))
        return self.stride * (2 if self.max_pool else 1)


@dataclass(frozen=True)
class DownConfig:
    """From one stage's tokens to the next one's: fewer and wider.

    Attributes:
        kind: "none", the stages have one width and no layer between them; "conv", a 3x3 convolution (Spike-driven
            Transformer V2 and V3, SpikingResformer); "speds", as in the stem, without the encoding (QKFormer).
        stride (tokens): The convolution of conv moves by this many tokens: 1 or 2.
        bias: The convolution of conv has a bias.
        convs: Each 3x3 convolution on the main path of speds halves the tokens a side in one of these ways; at most
            one does.
        deformed_shortcut: The 1x1 convolution beside them halves the tokens a side in this way, if they do.
    """

    kind: Literal["none", "conv", "speds"] = "none"
    stride: int = 2
    bias: bool = False
    convs: tuple[Reduction, ...] = ("none", "pool")
    deformed_shortcut: Reduction = "stride"

    def __post_init__(self) -> None:
        check_types(self)
        require(self.stride in (1, 2), f"stride {self.stride} must be 1 or 2", "stride")
        if self.kind == "speds":
            _check_deformed_shortcut(self.convs, self.deformed_shortcut)

    @property
    def downsampling(self) -> int:
        """How many times fewer tokens a side."""
        if self.kind == "conv":
            return self.stride
        return 2 if self.kind == "speds" and self.deformed_shortcut != "none" else 1


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
        num_heads (heads): This many groups of channels attend on their own; the number divides the width.
        projection: q, k, v and the output are made by "linear", a 1x1 convolution; by "rep", 1x1, depthwise 3x3
            and 1x1 in a row (V2); or by "rep1", 1x1 to 1.5 times the width and back (V3, large).
        value_ratio (times the width): v is this many times as wide as the tokens (V3).
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

    def __post_init__(self) -> None:
        check_types(self)
        _check_kind(self, "mixer")
        for name in ("num_heads", "value_ratio", "patch"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)} must be at least 1", name)
        _check_most(self, "value_ratio", "kernel_size")
        for name in ("threshold", "scale"):
            require(getattr(self, name) > 0, f"{name} {getattr(self, name)} must be positive", name)
        for name in ("window", "time_window", "layer_scale"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)} must not be negative", name)
        _check_kernel(self.kernel_size)
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

    def reads(self, name: str) -> bool:
        """Whether a field has an effect on a mixer of this kind."""
        if self.projection != "linear" and name in ("qkv_bias", "proj_bias"):
            return False
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
        _check_kind(self, "mlp")
        require(self.ratio > 0, f"ratio {self.ratio} must be positive", "ratio")
        _check_most(self, "ratio")
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

    Attributes:
        embed_dim (channels): C, the stage has this width.
        depth (blocks): The stage has this many equal blocks.
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
        require(self.depth >= 1, f"depth {self.depth} must be at least 1", "depth")
        require(self.embed_dim >= 1, f"embed_dim {self.embed_dim} must be at least 1", "embed_dim")
        _check_most(self, "depth", "embed_dim")
        for part in ("local", "mixer"):
            mixer = getattr(self, part)
            if mixer.reads("num_heads") and self.embed_dim % mixer.num_heads:
                raise ConfigError(
                    f"num_heads {mixer.num_heads} does not divide embed_dim {self.embed_dim}. "
                    f"Use one of {listed(divisors(self.embed_dim))}",
                    ("embed_dim", f"{part}.num_heads", f"{part}.kind"),
                )
        if self.mlp.reads("ratio"):
            self._check_hidden_width()

    def _check_hidden_width(self) -> None:
        hidden = self.embed_dim * self.mlp.ratio
        require(
            hidden == int(hidden),
            f"mlp.ratio {self.mlp.ratio} of embed_dim {self.embed_dim} is not a whole number of channels ({hidden})",
            "embed_dim",
            "mlp.ratio",
        )
        require(
            self.mlp.kind != "gwffn" or hidden % self.mlp.group_width == 0,
            f"mlp.group_width {self.mlp.group_width} does not divide the {hidden:.0f} channels that mlp.ratio "
            f"{self.mlp.ratio:g} of embed_dim {self.embed_dim} gives",
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
        _check_most(self, "num_classes")


@dataclass(frozen=True)
class SpikformerConfig:
    """One spiking transformer: stem, stages of blocks, head.

    Attributes:
        time_steps (time steps): T, a static image is shown this many times.
        residual: "sew" adds spikes, every neuron stands after its convolution and batch norm
            (Spikformer, QKFormer); "ms" adds membrane currents, every neuron stands before its convolution
            (Spikingformer, Spike-driven Transformer, SpikingResformer, Max-Former); "sew_iand" keeps a spike
            of the stream unless the branch fires too, so that the stream stays binary (Fang et al., NeurIPS 2021).
        neuron: Every layer has this neuron.
        stem: This part makes tokens of the image.
        stages: The stages follow one another, each a row of equal blocks.
        head: This part makes logits of the last stage's tokens.
        drop_path (probability): The last block's branches are left out for a training image with this probability,
            which rises evenly from 0 at the first block (stochastic depth; Huang et al., ECCV 2016).

    Raises:
        ConfigError: on construction, when no such network exists; says which fields disagree.
    """

    time_steps: int = 4
    residual: Residual = "sew"
    neuron: NeuronConfig = field(default_factory=NeuronConfig)
    stem: StemConfig = field(default_factory=StemConfig)
    stages: tuple[StageConfig, ...] = field(default_factory=lambda: (StageConfig(),))
    head: HeadConfig = field(default_factory=HeadConfig)
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        require(self.time_steps >= 1, f"time_steps {self.time_steps} must be at least 1", "time_steps")
        require(0 <= self.drop_path <= 1, f"drop_path {self.drop_path} must lie between 0 and 1", "drop_path")
        require(len(self.stages) >= 1, '"stages" is empty: give at least one stage', "stages")
        _check_most(self, "time_steps")
        self._check_size()
        self._check_widths()
        self._check_grids()
        self._check_residual()
        self._check_spikes()

    def _check_size(self) -> None:
        """By the parameters of the channel mixers and the classifier alone: there are more, but not many times so."""
        weights = [2 * stage.depth * stage.embed_dim**2 * stage.mlp.ratio for stage in self.stages]
        parameters = sum(weights) + self.stages[-1].embed_dim * self.head.num_classes
        if parameters > _MOST_PARAMETERS or len(self.stages) > _MOST["stages"]:
            raise ConfigError(
                f"{len(self.stages)} stages with at least {parameters:,.0f} parameters are more than any network has. "
                f"Use at most {_MOST['stages']} stages and {_MOST_PARAMETERS:,} parameters",
                tuple(f"stages.{i}.{name}" for i in range(len(self.stages)) for name in ("embed_dim", "depth")),
            )

    def _check_widths(self) -> None:
        first = self.stages[0]
        require(
            first.down.kind == "none",
            'the first stage needs down.kind "none": the stem comes before it',
            "stages.0.down.kind",
        )
        factor, why = {"sps": (8, "embed_dim / 8"), "speds": (2, "embed_dim / 2"), "conv": (1, "")}[self.stem.kind]
        require(
            first.embed_dim % factor == 0,
            f"embed_dim {first.embed_dim} is not a multiple of {factor}: the {self.stem.kind} stem starts with {why} "
            f"channels",
            "stages.0.embed_dim",
            "stem.kind",
        )
        for i in range(1, len(self.stages)):
            before, stage = self.stages[i - 1], self.stages[i]
            require(
                stage.down.kind != "none" or before.embed_dim == stage.embed_dim,
                f"stages {i - 1} and {i} have embed_dim {before.embed_dim} and {stage.embed_dim}, but down.kind is "
                '"none", which keeps the width. Use one width, or down.kind "conv" or "speds"',
                f"stages.{i - 1}.embed_dim",
                f"stages.{i}.embed_dim",
                f"stages.{i}.down.kind",
            )

    def _check_grids(self) -> None:
        size = self.stem.image_size // self.stem.downsampling
        for i, stage in enumerate(self.stages):
            if size % stage.down.downsampling:
                raise ConfigError(
                    f"stage {i} cannot divide {size} x {size} tokens by {stage.down.downsampling}. Use an image_size "
                    f"that is a multiple of {self.stem.image_size // size * 2}, fewer stages, or less downsampling",
                    self._grid_fields(i),
                )
            size //= stage.down.downsampling
            for part, name in itertools.product(("local", "mixer"), ("window", "patch")):
                mixer = getattr(stage, part)
                tokens = getattr(mixer, name)
                if mixer.reads(name) and tokens and size % tokens:
                    raise ConfigError(
                        f"{name} {tokens} does not divide the {size} x {size} tokens of stage {i}. "
                        f"Use one of {listed(divisors(size))}",
                        (f"stages.{i}.{part}.{name}", f"stages.{i}.{part}.kind", *self._grid_fields(i)),
                    )

    def _grid_fields(self, stage: int) -> tuple[str, ...]:
        """Those that decide how many tokens a stage has."""
        return (
            *("stem.image_size", "stem.kind", *(f"stem.{name}" for name in READS["stem"][self.stem.kind])),
            *(f"stages.{j}.down.{name}" for j in range(stage + 1) for name in ("kind", "stride", "deformed_shortcut")),
        )

    def _check_residual(self) -> None:
        if self.residual == "ms":
            return
        what = f'residual "{self.residual}" adds spikes, but'
        require(
            self.stem.kind != "conv",
            f'{what} the "conv" stem ends in membrane currents. Use stem.kind "sps" or "speds", or residual "ms"',
            "residual",
            "stem.kind",
        )
        for i, stage in enumerate(self.stages):
            for part, kind in (("local", "dssa"), ("mixer", "dssa"), ("mlp", "gwffn")):
                require(
                    getattr(stage, part).kind != kind,
                    f'{what} {part}.kind "{kind}" of stage {i} is defined on membrane currents. Use residual "ms"',
                    "residual",
                    f"stages.{i}.{part}.kind",
                )
            for part in ("local", "mixer", "mlp"):
                scaled = getattr(stage, part)
                require(
                    not (scaled.reads("layer_scale") and scaled.layer_scale),
                    f"{what} {part}.layer_scale {scaled.layer_scale:g} of stage {i} would scale the spikes. "
                    f'Use 0, or residual "ms"',
                    "residual",
                    f"stages.{i}.{part}.layer_scale",
                    f"stages.{i}.{part}.kind",
                )
        require(
            self.residual != "sew_iand" or self.neuron.fires_binary,
            f'residual "sew_iand" needs spikes of 0 and 1, but neuron "{self.neuron.kind}" fires other numbers. Use '
            'residual "sew" or "ms"',
            "residual",
            "neuron.kind",
        )

    def _check_spikes(self) -> None:
        for i, stage in enumerate(self.stages):
            for part in ("local", "mixer"):
                mixer = getattr(stage, part)
                require(
                    self.neuron.fires_units or mixer.kind not in ("sdsa", "qkta", "qkca", "dssa"),
                    f'{part}.kind "{mixer.kind}" of stage {i} masks by spikes of 0 and 1, but neuron '
                    f'"{self.neuron.kind}" fires several at once. Use {part}.kind "ssa" or a convolution, or another '
                    "neuron",
                    "neuron.kind",
                    f"stages.{i}.{part}.kind",
                )
                if mixer.reads("time_window") and mixer.time_window > 1 and self.time_steps % mixer.time_window:
                    raise ConfigError(
                        f"time_window {mixer.time_window} of stage {i} does not divide time_steps {self.time_steps}. "
                        f"Use one of {listed(divisors(self.time_steps))}, or 0 for all",
                        ("time_steps", f"stages.{i}.{part}.kind", f"stages.{i}.{part}.time_window"),
                    )

    @classmethod
    def from_dict(cls, values: PlainTable) -> Self:
        """Config from plain values, as `to_dict` writes them; what is left out takes its default.

        Raises:
            ConfigError: an unknown key (with the nearest valid name), a wrong type, no such network.
        """
        return typing.cast(Self, build(cls, values))

    def to_dict(self) -> PlainTable:
        """Plain values that survive JSON: `SpikformerConfig.from_dict(config.to_dict()) == config`."""
        return typing.cast(PlainTable, plain(self))

    @property
    def grids(self) -> tuple[int, ...]:
        """Tokens a side of each stage, whose tensors are [T, B, C, grid, grid]."""
        sizes = [self.stem.image_size // self.stem.downsampling]
        for stage in self.stages[1:]:
            sizes.append(sizes[-1] // stage.down.downsampling)
        return tuple(sizes)

    def canonical(self) -> "SpikformerConfig":
        """The one way to write this network: fields without effect at their defaults, equal stages joined."""
        return replace(self, **self.canonical_fields())

    def canonical_fields(self) -> dict[str, Any]:
        """The fields of `canonical()`, equal for equal networks: to count networks, which makes no config of them."""
        stages: list[StageConfig] = []
        for stage, grid in zip(self.stages, self.grids, strict=True):
            plain_stage = _canonical_stage(stage, grid, self.time_steps, self.neuron.fires_units)
            if stages and plain_stage == replace(stages[-1], depth=plain_stage.depth, down=DownConfig()):
                stages[-1] = replace(stages[-1], depth=stages[-1].depth + plain_stage.depth)
            else:
                stages.append(plain_stage)
        neuron = _canonical_neuron(self.neuron, learns_positions=self.stem.position == "learned")
        drop_path = self.drop_path if sum(stage.depth for stage in stages) > 1 else 0.0  # the first block has none
        # The mean of one time step is that step.
        head = replace(self.head, time_mean="before") if self.time_steps == 1 else self.head
        stem = _canonical_stem(self.stem, self.residual)
        return {
            "time_steps": self.time_steps,
            "residual": self.residual,
            "neuron": neuron,
            "stem": stem,
            "stages": tuple(stages),
            "head": head,
            "drop_path": drop_path,
        }

    @functools.cached_property
    def config_id(self) -> str:
        """A name such as "n1-0123456789ab", which two configs share if and only if they build equal networks.

        Later versions keep it (`spikformer.identity`).

        Raises:
            TrustError: a block of a module that the user did not name.
            ConfigError: the module of a block cannot be imported, or the block refuses its options.
        """
        return identity.id_of(self.canonical())


def _check_kind(part: Any, name: str) -> None:
    """A kind of our own, or the "package.module:Class" of a block of yours."""
    kinds = READS[name]
    if ":" in part.kind:
        plugins.check_reference(part.kind)
        return
    if part.kind not in kinds:  # the message takes longer than all other checks: made only where it is needed
        raise ConfigError(
            f'kind "{part.kind}" is unknown. {nearest(part.kind, kinds)} Or "package.module:Class"', ("kind",)
        )


_MOST = {
    "time_steps": 4096,
    "image_size": 16_384,
    "in_channels": 4096,
    "levels": 2**16,
    "value_ratio": 1024,
    "kernel_size": 1023,
    "ratio": 1024,
    "depth": 1024,
    "embed_dim": 65_536,
    "num_classes": 10_000_000,
    "stages": 64,
}
_MOST_PARAMETERS = 10_000_000_000
"""Many times what any published network has: more is a slip, and would be allocated before anything could be said."""


def _check_most(part: object, *fields: str) -> None:
    for name in fields:
        if getattr(part, name) > _MOST[name]:
            raise ConfigError(
                f"{name} {getattr(part, name):,} is more than any network has. Use at most {_MOST[name]:,}", (name,)
            )


def _check_kernel(size: int) -> None:
    require(size >= 1 and size % 2 == 1, f"kernel_size {size} must be odd", "kernel_size")


def _check_deformed_shortcut(convs: tuple[str, ...], shortcut: str) -> None:
    require(len(convs) >= 1, '"convs" is empty: give at least one, such as ["none"]', "convs")
    halvings = sum(reduction != "none" for reduction in convs)
    require(
        halvings == (shortcut != "none"),
        f'convs {listed(convs)} halve the image {halvings} times, but deformed_shortcut "{shortcut}" '
        f"{int(shortcut != 'none')} times. Both paths are added, so both must halve it equally often, at most once",
        "kind",
        "convs",
        "deformed_shortcut",
    )


def _canonical_stage(stage: StageConfig, grid: int, time_steps: int, fires_units: bool) -> StageConfig:
    """The stage as it is written in a canonical network.

    Thousands of networks share most of their stages, so stages of our own blocks are remembered. What a block of the
    user's own declares may change within a process, and whether its module may be imported too.
    """
    if any(":" in part.kind for part in (stage.local, stage.mixer, stage.mlp)):
        return _canonical_stage_anew(stage, grid, time_steps, fires_units)
    return _canonical_stage_of_ours(stage, grid, time_steps, fires_units)


def _canonical_stage_anew(stage: StageConfig, grid: int, time_steps: int, fires_units: bool) -> StageConfig:
    local, mixer = (
        _canonical_mixer(part, stage.embed_dim // part.num_heads, grid, time_steps, fires_units)
        for part in (stage.local, stage.mixer)
    )
    return replace(
        stage,
        down=_canonical_part(stage.down, READS["down"][stage.down.kind]),
        local=local,
        mixer=mixer,
        mlp=_canonical_part(stage.mlp, filter(stage.mlp.reads, names(MLPConfig))),
    )


_canonical_stage_of_ours = functools.lru_cache(maxsize=4096)(_canonical_stage_anew)


def _canonical_mixer(mixer: MixerConfig, head_dim: int, grid: int, time_steps: int, fires_units: bool) -> MixerConfig:
    if mixer.reads("scale_by") and mixer.scale_by == "head_dim":
        mixer = replace(mixer, scale=mixer.scale / math.sqrt(head_dim), scale_by="constant")
    if mixer.window == grid:
        mixer = replace(mixer, window=0)
    if mixer.time_window in (0, time_steps):  # all steps: one way to say so, and one step is no window
        mixer = replace(mixer, time_window=0 if time_steps > 1 else 1)
    reads = set(filter(mixer.reads, names(MixerConfig)))
    if not fires_units:
        reads -= {"threshold"}
    return typing.cast(MixerConfig, _canonical_part(mixer, reads))


@functools.lru_cache(maxsize=4096)
def _canonical_stem(stem: StemConfig, residual: Residual) -> StemConfig:
    if residual != "ms":  # neurons stand behind convolutions
        stem = replace(stem, shared_neuron=False)
    reads = ["image_size", "in_channels", "position", *READS["stem"][stem.kind]]
    if stem.position == "conv":
        reads.append("shortcut")
    # With membrane currents on the shortcut, the last pool of sps must stand before the neuron anyway.
    membrane = residual == "ms" and (stem.shortcut or stem.position != "conv")
    if stem.kind == "sps" and not any(stem.pool[:3] if membrane else stem.pool):
        reads.remove("pool_order")
    return typing.cast(StemConfig, _canonical_part(stem, reads))


def _canonical_neuron(neuron: NeuronConfig, *, learns_positions: bool) -> NeuronConfig:
    anew = _canonical_neuron_anew if ":" in neuron.kind else _canonical_neuron_of_ours
    return anew(neuron, learns_positions)


def _canonical_neuron_anew(neuron: NeuronConfig, learns_positions: bool) -> NeuronConfig:
    reads = set(READS["neuron"].get(neuron.kind, ("options",)))
    if learns_positions:
        reads.add("threshold")  # learned positions start as far as the neurons reach
    return typing.cast(NeuronConfig, _canonical_part(neuron, reads))


_canonical_neuron_of_ours = functools.lru_cache(maxsize=4096)(_canonical_neuron_anew)


def _canonical_part(part: Any, reads: Iterable[str]) -> Any:
    """The part with every field that its kind does not read at its default."""
    fields = {name: getattr(part, name) for name in reads}
    if "options" in fields and ":" in part.kind:
        fields["options"] = Options.from_dict(plugins.canonical(part.kind, part.options.to_dict()))
    return type(part)(kind=part.kind, **fields)


__all__ = [
    "READS",
    "DownConfig",
    "HeadConfig",
    "MLPConfig",
    "MixerConfig",
    "NeuronConfig",
    "Reduction",
    "Residual",
    "SpikformerConfig",
    "StageConfig",
    "StemConfig",
]
