"""The authors' released weights under our names: one table of names a family.

A rule is a regular expression of the authors' names and our name with a `{}` for each of its groups;
`_WORDS` translates what the groups caught. Names alone decide, never order or shape, and every name of a
file must be explained: by a rule, or as one that the authors' code builds and never uses.

Weights do not tell everything. The heads of an attention on spikes, the time steps and the image size come
from the config, and for Spike-driven Transformer also whether its pools are those for CIFAR or for
ImageNet. What else the weights leave open, each family states in `Family.networks`, so that no file fills a
network that computes something else.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spikformer.config import SpikformerConfig
from spikformer.errors import CheckpointError

Rules = tuple[tuple[str, str], ...]

_WORDS = {
    # Layers.
    "linear": "conv",
    "bn": "norm",
    "conv_bn": "norm",
    "conv5": "conv",
    "conv5_bn": "norm",
    # Attention: q, k and v end in a neuron of their own, the output projection does not.
    "q": "query.conv",
    "k": "key.conv",
    "v": "value.conv",
    "q_lif": "query.neuron",
    "k_lif": "key.neuron",
    "v_lif": "value.neuron",
    "shortcut_lif": "input_neuron",
    "talking_heads_lif": "attention_neuron",
    # Channel mixers.
    "fc1": "expand",
    "fc2": "contract",
    "mlp1": "expand",
    "mlp2": "contract",
    "conv1": "expand.conv.conv",
    "bn1": "expand.conv.norm",
    "conv2": "contract.conv.conv",
    "bn2": "contract.conv.norm",
    "conv1.0.0": "expand.conv.conv",
    "conv1.0.1": "expand.conv.norm",
    "conv2.0.0": "contract.conv.conv",
    "conv2.0.1": "contract.conv.norm",
    "up.1": "expand.conv.conv",
    "up.2.bn": "expand.conv.norm",
    "conv.0.1": "group.conv.conv",
    "conv.0.2.bn": "group.conv.norm",
    "down.1": "contract.conv.conv",
    "down.2.bn": "contract.conv.norm",
    # Projections of several convolutions.
    "body.0": "first",
    "body.1.bn": "first_norm",
    "body.2.0": "depthwise",
    "body.2.1": "last",
    "body.2.2": "last_norm",
    "conv1.0": "first",
    "conv1.1": "first_norm",
    "conv2.0": "last",
    "conv2.1": "last_norm",
    # Separable convolutions.
    "pwconv1": "0",
    "dwconv": "1",
    "pwconv2": "2",
    # Dual spike attention.
    "W": "summary.conv",
    "norm.bn": "summary.norm",
    "Wproj": "proj.conv",
    "norm_proj.bn": "proj.norm",
    "firing_rate_x": "input_rate",
    "firing_rate_attn": "map_rate",
    # Stages, and what stands before them.
    "block": "stages.0",
    "block3": "stages.3",
    "block4": "stages.4",
    "stage1": "stages.0",
    "stage2": "stages.1",
    "stage3": "stages.2",
    "ConvBlock1_1.0": "stages.0.blocks.0",
    "ConvBlock1_2.0": "stages.1.blocks.0",
    "ConvBlock2_1.0": "stages.2.blocks.0",
    "ConvBlock2_2.0": "stages.2.blocks.1",
    "downsample1_1": "stem.embedding",
    "downsample1_2": "stages.1.down.conv",
    "downsample2": "stages.2.down.conv",
    "downsample3": "stages.3.down.conv",
    "downsample4": "stages.4.down.conv",
    "patch_embed2": "stages.1.down",
    "patch_embed3": "stages.2.down",
}
_LEAF = r"(?:\.(?P<leaf>weight|bias|running_mean|running_var|num_batches_tracked|w))?"


@dataclass(frozen=True)
class Family:
    """Released checkpoints that share their names.

    Attributes:
        name: for messages.
        marks: names that every checkpoint of the family has; they tell it from those behind it in `_FAMILIES`.
        rules: regular expressions of the authors' names, our names.
        networks: dotted paths into a config and their values, for what the weights leave open; the network
            is one of these.
        dead: regular expressions of names that the authors' forward never uses.
        renamed: brings a name into a form that rules can match, where that takes arithmetic.
    """

    name: str
    marks: tuple[str, ...]
    rules: Rules
    networks: tuple[dict[str, object], ...]
    dead: tuple[str, ...] = ()
    renamed: Callable[[str], str] = str

    def our_name(self, name: str) -> str | None:
        """What we call the authors' `name`; None where no rule explains it."""
        name = self.renamed(name)
        for theirs, ours in self.rules:
            match = re.fullmatch(theirs + _LEAF, name)
            if match is not None:
                leaf = match["leaf"]
                groups = match.groups()[:-1]  # the last one is the leaf
                return ours.format(*(_WORDS.get(g, g) for g in groups)) + (f".{leaf}" if leaf else "")
        return None

    def is_dead(self, name: str) -> bool:
        """Whether the authors' forward never uses `name`."""
        return any(re.fullmatch(pattern + _LEAF, name) for pattern in self.dead)

    def differences(self, config: SpikformerConfig) -> list[tuple[str, object, object]]:
        """Path, value and the family's value wherever `config` is another network; empty where it is one of these."""
        differing = []
        for network in self.networks:
            fields = ((path, *_read(config, path), expected) for path, expected in network.items())
            differing.append(
                [(path, value, expected) for path, value, has, expected in fields if has and value != expected]
            )
        return min(differing, key=len)


def translate(
    weights: Mapping[str, Tensor], config: SpikformerConfig, ours: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """A released state_dict in our names and shapes.

    Args:
        weights: the authors' names, without the "module." of a parallel model.
        config: of the network to fill.
        ours: state_dict of that network. Our 1x1 convolutions, (o, i, 1, 1), are the authors' linear layers,
            (o, i), or convolutions over tokens, (o, i, 1); our firing rates, (h, 1, 1), are their
            (1, 1, h, 1, 1). All other shapes are equal.

    Returns:
        A tensor for every name of `ours`, and the authors' names that were left out because their forward
        never uses them.

    Raises:
        CheckpointError: the names are of no family, or of one that does not fit the config; a name that no rule
            explains; a weight too many or missing; another shape or kind of number.
    """
    family = family_of(weights)
    differences = family.differences(config)
    if differences:
        described = "; ".join(
            f"{path} is {value!r} instead of {expected!r}" for path, value, expected in differences[:3]
        )
        raise CheckpointError(
            f'the names, such as "{family.marks[0]}", are those of {family.name}, but the config is another network: '
            f"{described}. Give the config of the network that was trained"
        )
    dead = [name for name in weights if family.is_dead(name)]
    names = _names(family, config, [name for name in weights if not family.is_dead(name)])
    _check_complete(family, names, ours)
    return {our: _fitted(name, weights[name], our, ours[our]) for name, our in names.items()}, dead


def family_of(weights: Mapping[str, Tensor]) -> Family:
    """The family whose marks the names bear.

    Raises:
        CheckpointError: no family's.
    """
    for family in _FAMILIES:
        if all(mark in weights for mark in family.marks):
            return family
    known = ", ".join(dict.fromkeys(family.name for family in _FAMILIES))
    raise CheckpointError(
        f"the {len(weights)} names, such as {_some(weights)}, belong to no family that can be read. Use a checkpoint "
        f"of {known}"
    )


def shortened(names: list[str]) -> str:
    """Names for a message, numbers of blocks as `*`: "block.*.norm1.weight, block.*.norm1.bias"."""
    return ", ".join(dict.fromkeys(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names))


def _names(family: Family, config: SpikformerConfig, theirs: list[str]) -> dict[str, str]:
    """The authors' names, and ours."""
    names = {name: family.our_name(name) for name in theirs}
    unexplained = [name for name, our in names.items() if our is None]
    if unexplained:
        raise CheckpointError(
            f"{len(unexplained)} of {len(names)} names are not explained by the rules for {family.name}: "
            f"{_some(unexplained)}. Use the authors' released file as it is"
        )
    our_of: dict[str, str] = {}
    sources: dict[str, str] = {}
    for name, our in names.items():
        assert our is not None
        our = _with_inner_residual(our, config)
        if our in sources:
            raise CheckpointError(
                f'"{sources[our]}" and "{name}" both stand for "{our}". Use the authors\' released file as it is'
            )
        our_of[name], sources[our] = our, name
    return our_of


def _with_inner_residual(our: str, config: SpikformerConfig) -> str:
    """Our name where the two convolutions of a channel mixer are branches of their own."""
    match = re.fullmatch(r"(stages\.(\d+)\.blocks\.\d+\.mlp)\.branch\.(expand|contract)\.(.*)", our)
    if match is None or int(match[2]) >= len(config.stages):
        return our
    mlp = config.stages[int(match[2])].mlp
    if not (mlp.inner_residual and mlp.reads("inner_residual")):
        return our
    return f"{match[1]}.{('expand', 'contract').index(match[3])}.branch.{match[4]}"


def _check_complete(family: Family, names: dict[str, str], ours: Mapping[str, Tensor]) -> None:
    extra = [f"{name} (our {our})" for name, our in names.items() if our not in ours]
    missing = sorted(ours.keys() - names.values())
    if not extra and not missing:
        return
    parts = []
    if extra:
        parts.append(f"{len(extra)} of its weights have no place in the network: {_some(extra)}")
    if missing:
        parts.append(f"{len(missing)} weights of the network are not in the file: {_some(missing)}")
    raise CheckpointError(
        f"this {family.name} is not the network of the config. {'; '.join(parts)}. "
        f"Give the config of the network that was trained"
    )


def _fitted(name: str, theirs: Tensor, our_name: str, ours: Tensor) -> Tensor:
    """Their tensor in our shape; nothing but axes of length 1 is added or taken away."""
    shape, our_shape = tuple(theirs.shape), tuple(ours.shape)
    same = [our_shape]
    if len(our_shape) == 4 and our_shape[2:] == (1, 1):
        same += [our_shape[:2], our_shape[:3]]  # a linear layer, a convolution over tokens
    if our_name.endswith(("input_rate", "map_rate")):
        same = [(1, 1, *our_shape)]
    if shape not in same:
        raise CheckpointError(
            f"{name} has shape {shape}, but {our_name} of the network that the config "
            f"describes has {our_shape}. Give the config of the network that was "
            "trained"
        )
    if theirs.is_floating_point() != ours.is_floating_point():
        raise CheckpointError(
            f"{name} holds {theirs.dtype}, but {our_name} of the network holds {ours.dtype}. Use the "
            "weights as they were trained, not quantized"
        )
    return theirs.reshape(our_shape)


def _read(config: SpikformerConfig, path: str) -> tuple[object, bool]:
    """The value at a dotted path, and whether it has an effect: (None, True) where the path leads nowhere."""
    part: Any = config
    *parents, field = path.split(".")
    for name in parents:
        if name.isdigit():
            if int(name) >= len(part):
                return None, True
            part = part[int(name)]
        else:
            part = getattr(part, name)
    reads = getattr(part, "reads", None)
    return getattr(part, field), field == "kind" or reads is None or reads(field)


def _some(names: Mapping[str, object] | list[str], n: int = 3) -> str:
    listed = list(names)
    return ", ".join(listed[:n]) + (", ..." if len(listed) > n else "")


def _renamed_spikingresformer(name: str) -> str:
    """`layers.s.j` as stage and block.

    The authors count in one row: the downsampling (none before the first stage), then attention and channel
    mixer by turns.
    """
    match = re.fullmatch(r"layers\.(\d+)\.(\d+)\.(.*)", name)
    if match is None:
        return name
    stage, place = int(match[1]), int(match[2]) - (match[1] != "0")
    if place < 0:
        return f"stages.{stage}.down.{match[3]}"
    return f"stages.{stage}.blocks.{place // 2}.{('mixer', 'mlp')[place % 2]}.{match[3]}"


# Names.

_BLOCK = r"(block|block[34]|stage[123])\.(\d+)\."
_CONV_BLOCK = r"(ConvBlock[12]_[12]\.0)\."
_ATTENTION: Rules = ((_BLOCK + r"(?:attn|ssa|tssa)\.(q|k|v|proj)_(linear|conv|bn)", "{}.blocks.{}.mixer.branch.{}.{}"),)
_MLP: Rules = ((_BLOCK + r"mlp\.(fc[12]|mlp[12])_(linear|conv|bn)", "{}.blocks.{}.mlp.branch.{}.conv.{}"),)
_HEAD: Rules = (("head", "head.linear"),)
_TWO_HEADS: Rules = (*_HEAD, ("head_kd", "head.distilled"))
_SPS: Rules = (
    (r"patch_embed\.proj_(conv|bn)", "stem.embedding.0.conv.{}"),
    (r"patch_embed\.proj_conv([123])", "stem.embedding.{}.conv.conv"),
    (r"patch_embed\.proj_bn([123])", "stem.embedding.{}.conv.norm"),
    (r"patch_embed\.rpe_(conv|bn)", "stem.position.conv.conv.{}"),
)
# The neuron that the third one feeds stands before the position convolution: the stream ends in membranes.
_PLIF: Rules = (
    (r"patch_embed\.proj_lif", "stem.embedding.0.neuron"),
    (r"patch_embed\.proj_lif([12])", "stem.embedding.{}.neuron"),
    (r"patch_embed\.proj_lif3", "stem.position.conv.neuron"),
    (_BLOCK + r"attn\.([qkv]_lif|shortcut_lif|talking_heads_lif)", "{}.blocks.{}.mixer.branch.{}"),
    (_BLOCK + r"mlp\.(fc[12])_lif", "{}.blocks.{}.mlp.branch.{}.neuron"),
    ("head_lif", "head.neuron"),
)
_LEVELS: Rules = ((r"(downsample(?:1_[12]|[234]))\.encode_(conv|bn)", "{}.{}"),)
_SDT2: Rules = (
    *_LEVELS,
    (_CONV_BLOCK + r"Conv\.pwconv1", "{}.mixer.branch.0.conv.conv"),
    (_CONV_BLOCK + r"Conv\.bn1", "{}.mixer.branch.0.conv.norm"),
    (_CONV_BLOCK + r"Conv\.dwconv", "{}.mixer.branch.1.conv.conv.0"),
    (_CONV_BLOCK + r"Conv\.pwconv2", "{}.mixer.branch.1.conv.conv.1"),
    (_CONV_BLOCK + r"Conv\.bn2", "{}.mixer.branch.1.conv.norm"),
    (_CONV_BLOCK + r"(conv[12]|bn[12])", "{}.mlp.branch.{}"),
    (_BLOCK + r"attn\.(q|k|v|proj)_conv\.0\.(body\.(?:0|1\.bn|2\.[012]))", "{}.blocks.{}.mixer.branch.{}.conv.{}"),
    (_BLOCK + r"attn\.(q|k|v|proj)_conv\.1", "{}.blocks.{}.mixer.branch.{}.norm"),
    *_MLP,
    *_TWO_HEADS,
)
_SDT3_BASE: Rules = (
    *_LEVELS,
    (_CONV_BLOCK + r"Conv\.(pwconv1|dwconv|pwconv2)\.0", "{}.mixer.branch.{}.conv.conv"),
    (_CONV_BLOCK + r"Conv\.(pwconv1|dwconv|pwconv2)\.1", "{}.mixer.branch.{}.conv.norm"),
    (_CONV_BLOCK + r"(conv[12]|bn[12])", "{}.mlp.branch.{}"),
    (_BLOCK + r"conv\.(pwconv1|dwconv|pwconv2)\.0", "{}.blocks.{}.local.branch.{}.conv.conv"),
    (_BLOCK + r"conv\.(pwconv1|dwconv|pwconv2)\.1", "{}.blocks.{}.local.branch.{}.conv.norm"),
    (_BLOCK + r"attn\.(q|k|v|proj)_conv\.0", "{}.blocks.{}.mixer.branch.{}.conv"),
    (_BLOCK + r"attn\.(q|k|v|proj)_conv\.1", "{}.blocks.{}.mixer.branch.{}.norm"),
    *_MLP,
    *_TWO_HEADS,
)
_SDT3_LARGE: Rules = (
    *_LEVELS,
    (_CONV_BLOCK + r"(conv[12]\.0\.[01])", "{}.mlp.branch.{}"),
    (_BLOCK + r"layer_scale1", "{}.blocks.{}.mixer.layer_scale"),
    (_BLOCK + r"layer_scale2", "{}.blocks.{}.mlp.layer_scale"),
    (_BLOCK + r"attn\.(q|k|v|proj)_conv\.0\.(conv[12]\.[01])", "{}.blocks.{}.mixer.branch.{}.conv.{}"),
    (_BLOCK + r"attn\.(q|k|v|proj)_conv\.1", "{}.blocks.{}.mixer.branch.{}.norm"),
    *_MLP,
    *_TWO_HEADS,
)
_QKFORMER: Rules = (
    (r"patch_embed1\.proj_(conv|bn)", "stem.embedding.encoding.{}"),
    (r"patch_embed1\.proj1_(conv|bn)", "stem.embedding.patches.path.0.conv.{}"),
    (r"patch_embed1\.proj2_(conv|bn)", "stem.embedding.patches.path.1.conv.{}"),
    (r"patch_embed1\.proj_res_(conv|bn)", "stem.embedding.patches.shortcut.conv.{}"),
    (r"(patch_embed[23])\.proj3_(conv|bn)", "{}.path.0.conv.{}"),
    (r"(patch_embed[23])\.proj4_(conv|bn)", "{}.path.1.conv.{}"),
    (r"(patch_embed[23])\.proj_res_(conv|bn)", "{}.shortcut.conv.{}"),
    *_ATTENTION,
    *_MLP,
    *_HEAD,
)
_SPIKINGRESFORMER: Rules = (
    (r"prologue\.0", "stem.embedding.conv"),
    (r"prologue\.1\.bn", "stem.embedding.norm"),
    (r"stages\.(\d+)\.down\.conv", "stages.{}.down.conv.conv"),
    (r"stages\.(\d+)\.down\.norm\.bn", "stages.{}.down.conv.norm"),
    (
        r"stages\.(\d+)\.blocks\.(\d+)\.mixer\.(W|norm\.bn|Wproj|norm_proj\.bn|firing_rate_x|firing_rate_attn)",
        "stages.{}.blocks.{}.mixer.branch.{}",
    ),
    (
        r"stages\.(\d+)\.blocks\.(\d+)\.mlp\.((?:up|down)\.(?:1|2\.bn)|conv\.0\.(?:1|2\.bn))",
        "stages.{}.blocks.{}.mlp.branch.{}",
    ),
    ("classifier", "head.linear"),
)
# The MaxFormer repository. One neuron feeds both paths of a downsampling; in the stem each path has its own.
_MS_STEM_CIFAR: Rules = (
    (r"patch_embed1\.proj_(conv|bn)", "stem.embedding.encoding.{}"),
    (r"patch_embed1\.embed1\.embed_(conv|bn)", "stem.embedding.patches.path.0.conv.{}"),
    (r"patch_embed1\.embed2\.embed_(conv|bn)", "stem.embedding.patches.shortcut.conv.{}"),
)
_MSQKFORMER_CIFAR: Rules = (
    *_MS_STEM_CIFAR,
    (r"(patch_embed[23])\.embed1\.embed_(conv|bn)", "{}.path.0.{}"),
    (r"(patch_embed[23])\.max_embed1\.embed_(conv|bn)", "{}.path.1.conv.{}"),
    (r"(patch_embed[23])\.embed2\.embed_(conv|bn)", "{}.shortcut.{}"),
    *_ATTENTION,
    *_MLP,
    *_HEAD,
)
_MSQKFORMER_IMAGENET: Rules = (
    (r"patch_embed1\.proj_(conv|bn)", "stem.embedding.encoding.{}"),
    (r"patch_embed1\.proj_conv1", "stem.embedding.patches.path.0.conv.conv"),
    (r"patch_embed1\.proj_bn1", "stem.embedding.patches.path.0.conv.norm"),
    (r"patch_embed1\.proj_conv2", "stem.embedding.patches.path.1.conv.conv"),
    (r"patch_embed1\.proj_bn2", "stem.embedding.patches.path.1.conv.norm"),
    (r"patch_embed1\.rpe_(conv|bn)", "stem.embedding.patches.shortcut.conv.{}"),
    (r"(patch_embed[23])\.proj3_(conv|bn)", "{}.path.0.{}"),
    (r"(patch_embed[23])\.proj4_(conv|bn)", "{}.path.1.conv.{}"),
    (r"(patch_embed[23])\.proj_res_(conv|bn)", "{}.shortcut.{}"),
    *_ATTENTION,
    *_MLP,
    *_HEAD,
)
_MAXFORMER: Rules = (
    (r"(patch_embed[23])\.max_embed1\.embed_(conv|bn)", "{}.path.0.{}"),
    (r"(patch_embed[23])\.embed1\.embed_(conv|bn)", "{}.path.1.conv.{}"),
    (r"(patch_embed[23])\.max_embed2\.embed_(conv|bn)", "{}.shortcut.{}"),
    (_BLOCK + r"mixer\.(conv|conv_bn|conv5|conv5_bn)", "{}.blocks.{}.mixer.branch.conv.{}"),
    *_ATTENTION,
    *_MLP,
    *_HEAD,
)
_MAXFORMER_STEM_IMAGENET: Rules = (
    (r"patch_embed1\.embed1\.embed_(conv|bn)", "stem.embedding.encoding.{}"),
    (r"patch_embed1\.embed2\.embed_(conv|bn)", "stem.embedding.patches.path.0.conv.{}"),
    (r"patch_embed1\.embed3\.embed_(conv|bn)", "stem.embedding.patches.path.1.conv.{}"),
    (r"patch_embed1\.embed4\.embed_(conv|bn)", "stem.embedding.patches.shortcut.conv.{}"),
)
_LAYER_NORMS = (r"block\.\d+\.norm[12]",)
_TALKING_HEADS = (r"block\.\d+\.attn\.talking_heads",)
_UNUSED_PLIF = (r"patch_embed\.rpe_lif", r"block\.\d+\.attn\.attn_lif")


# Networks: what the weights leave open.


def _stages(*stages: Mapping[str, object]) -> dict[str, object]:
    return {f"stages.{i}.{path}": value for i, stage in enumerate(stages) for path, value in stage.items()}


_CIFAR_POOL, _IMAGENET_POOL = (False, False, True, True), (True, True, True, True)
_LIF = {"neuron.kind": "lif", "neuron.tau": 2.0, "neuron.threshold": 1.0}
_SSA = {
    "mixer.kind": "ssa",
    "mixer.neuron_on": "output",
    "mixer.threshold": 0.5,
    "mixer.scale": 0.125,
    "mixer.scale_by": "constant",
    "mixer.window": 0,
    "mixer.time_window": 1,
}
_QKTA = {"mixer.kind": "qkta", "mixer.threshold": 0.5}
_ONE_BRANCH = {"mlp.kind": "mlp", "mlp.inner_residual": False}
_TWO_BRANCHES = {"mlp.kind": "mlp", "mlp.inner_residual": True}  # at ratio 1, where the field is read
_SPS_STEM = {"stem.kind": "sps", "stem.position": "conv"}
_SPEDS_STEM = {"stem.kind": "speds", "stem.position": "none"}
_CONV_STEM = {"stem.kind": "conv", "stem.position": "none"}
_HALVED = {"down.kind": "conv", "down.stride": 2}
_KEPT = {"down.kind": "conv", "down.stride": 1}

_SPIKFORMER_NETWORK = {
    "residual": "sew",
    **_LIF,
    **_SPS_STEM,
    "stem.shortcut": True,
    "head.neuron": False,
    **_stages(_SSA | _ONE_BRANCH),
}
# The authors' CIFAR code has biased linear layers, their ImageNet code unbiased convolutions.
_SPIKFORMER_NETWORKS = (
    _SPIKFORMER_NETWORK | {"stem.pool": _CIFAR_POOL, "stages.0.mixer.qkv_bias": True},
    _SPIKFORMER_NETWORK | {"stem.pool": _IMAGENET_POOL, "stages.0.mixer.qkv_bias": False},
)
_SPIKINGFORMER_NETWORK = _SPIKFORMER_NETWORK | {"residual": "ms", "stem.shortcut": False}
_SDT1_NETWORK = {
    "residual": "ms",
    **_LIF,
    **_SPS_STEM,
    "stem.shortcut": True,
    "stem.pool_order": "after_neuron",
    "stem.in_channels": 3,  # for events they have other pools, and on CIFAR10-DVS `erode`, of which names tell nothing
    "head.neuron": True,
    **_stages({"mixer.kind": "sdsa", "mixer.threshold": 0.5, "mixer.erode": False} | _TWO_BRANCHES),
}
# The names tell nothing of the pools: the config says which of the two it is.
_SDT1_NETWORKS = tuple(_SDT1_NETWORK | {"stem.pool": pool} for pool in (_CIFAR_POOL, _IMAGENET_POOL))
_PLIF_NETWORKS = tuple(
    {path: value for path, value in network.items() if path != "neuron.tau"} | {"neuron.kind": "plif"}
    for network in _SDT1_NETWORKS
)
_SDT2_NETWORK = {
    "residual": "ms",
    **_LIF,
    **_CONV_STEM,
    "stem.stride": 2,
    "stem.max_pool": False,
    "head.neuron": True,
    **_stages(
        {"mixer.kind": "sepconv", "mlp.kind": "convffn"},
        {"mixer.kind": "sepconv", "mlp.kind": "convffn"} | _HALVED,
        {"mixer.kind": "sepconv", "mlp.kind": "convffn"} | _HALVED,
        _SSA | _ONE_BRANCH | _HALVED,
        _SSA | _ONE_BRANCH | _KEPT,
    ),
}
_MULTISPIKE = {"neuron.kind": "multispike", "neuron.levels": 4, "neuron.quantum": 0.25}
_WIDE_SSA = _SSA | {"mixer.scale": 2.0, "mixer.scale_by": "head_dim"}
_SDT3_BASE_NETWORK = {
    **{path: value for path, value in _SDT2_NETWORK.items() if not path.startswith("neuron.")},
    **_MULTISPIKE,
    "neuron.rounding": "half_even",
    **{f"stages.{i}.{path}": value for i in (3, 4) for path, value in _WIDE_SSA.items()},
}
_SDT3_LARGE_NETWORK = {
    "residual": "ms",
    **_MULTISPIKE,
    "neuron.rounding": "half_up",
    **_CONV_STEM,
    "stem.stride": 2,
    "stem.max_pool": False,
    "head.neuron": False,
    **_stages(
        {"mixer.kind": "identity", "mlp.kind": "convffn"},
        {"mixer.kind": "identity", "mlp.kind": "convffn"} | _HALVED,
        {"mixer.kind": "identity", "mlp.kind": "convffn"} | _HALVED,
        _SSA | _ONE_BRANCH | _HALVED,
    ),
}
_DOWN_POOL_LAST = {"down.kind": "speds", "down.convs": ("none", "pool"), "down.deformed_shortcut": "stride"}
_DOWN_POOL_FIRST = {"down.kind": "speds", "down.convs": ("pool", "none"), "down.deformed_shortcut": "stride"}
_DOWN_POOL_BOTH = {"down.kind": "speds", "down.convs": ("pool", "none"), "down.deformed_shortcut": "pool"}
_STEM_CIFAR = {**_SPEDS_STEM, "stem.encode": "none", "stem.convs": ("none",), "stem.deformed_shortcut": "none"}
_STEM_IMAGENET = {
    **_SPEDS_STEM,
    "stem.encode": "pool",
    "stem.convs": ("pool", "none"),
    "stem.deformed_shortcut": "stride",
}
_QKFORMER_CIFAR_NETWORK = {
    "residual": "sew",
    **_LIF,
    **_STEM_CIFAR,
    "head.neuron": False,
    **_stages(_QKTA | _ONE_BRANCH, _QKTA | _ONE_BRANCH | _DOWN_POOL_LAST, _SSA | _ONE_BRANCH | _DOWN_POOL_LAST),
}
_QKFORMER_IMAGENET_NETWORK = {
    "residual": "sew",
    **_LIF,
    **_STEM_IMAGENET,
    "head.neuron": False,
    **_stages(_QKTA | _ONE_BRANCH, _QKTA | _ONE_BRANCH | _DOWN_POOL_FIRST, _SSA | _ONE_BRANCH | _DOWN_POOL_FIRST),
}
_MSQKFORMER_CIFAR_NETWORK = {
    "residual": "ms",
    **_LIF,
    **_STEM_CIFAR,
    "head.neuron": True,
    **_stages(_QKTA | _TWO_BRANCHES, _QKTA | _TWO_BRANCHES | _DOWN_POOL_LAST, _SSA | _TWO_BRANCHES | _DOWN_POOL_LAST),
}
_MSQKFORMER_IMAGENET_NETWORK = {
    "residual": "ms",
    **_LIF,
    **_STEM_IMAGENET,
    "head.neuron": True,
    **_stages(_QKTA | _TWO_BRANCHES, _QKTA | _TWO_BRANCHES | _DOWN_POOL_FIRST, _SSA | _TWO_BRANCHES | _DOWN_POOL_FIRST),
}
_DWCONV = {"mixer.kind": "dwconv"}
_MAXFORMER_CIFAR_NETWORK = {
    "residual": "ms",
    **_LIF,
    **_STEM_CIFAR,
    "head.neuron": True,
    **_stages(
        {"mixer.kind": "identity"} | _TWO_BRANCHES,
        _DWCONV | _TWO_BRANCHES | _DOWN_POOL_BOTH,
        _SSA | _TWO_BRANCHES | _DOWN_POOL_BOTH,
    ),
}
_MAXFORMER_IMAGENET_NETWORK = {
    "residual": "ms",
    **_LIF,
    **_STEM_IMAGENET,
    "stem.encode": "stride",
    "stem.convs": ("stride", "none"),
    "head.neuron": True,
    **_stages(
        _DWCONV | _TWO_BRANCHES, _DWCONV | _TWO_BRANCHES | _DOWN_POOL_BOTH, _SSA | _TWO_BRANCHES | _DOWN_POOL_BOTH
    ),
}
_SPIKINGRESFORMER_NETWORK = {
    "residual": "ms",
    **_LIF,
    **_CONV_STEM,
    "head.neuron": False,
    **_stages(
        {"mixer.kind": "dssa", "mlp.kind": "gwffn"},
        {"mixer.kind": "dssa", "mlp.kind": "gwffn"} | _HALVED,
        {"mixer.kind": "dssa", "mlp.kind": "gwffn"} | _HALVED,
    ),
}
# The stems of CIFAR and ImageNet differ in their kernel, which the weights show, and so in these.
_SPIKINGRESFORMER_NETWORKS = (
    _SPIKINGRESFORMER_NETWORK | {"stem.kernel_size": 3, "stem.stride": 1, "stem.max_pool": False},
    _SPIKINGRESFORMER_NETWORK | {"stem.kernel_size": 7, "stem.stride": 2, "stem.max_pool": True},
)

_FAMILIES = (
    Family(
        "Spikformer",
        ("block.0.norm1.weight", "patch_embed.rpe_conv.weight"),
        (*_SPS, *_ATTENTION, *_MLP, *_HEAD),
        _SPIKFORMER_NETWORKS,
        dead=_LAYER_NORMS,
    ),
    Family(
        "Spikingformer on CIFAR",
        ("patch_embed.block4_conv.weight",),
        (
            (r"patch_embed\.block([0123])_(conv|bn)", "stem.embedding.{}.conv.{}"),
            (r"patch_embed\.block4_(conv|bn)", "stem.position.conv.{}"),
            *_ATTENTION,
            *_MLP,
            *_HEAD,
        ),
        (_SPIKINGFORMER_NETWORK | {"stem.pool": _CIFAR_POOL},),
        dead=_LAYER_NORMS,
    ),
    Family(
        "Spikingformer on ImageNet",
        ("patch_embed.proj4_conv.weight",),
        (
            (r"patch_embed\.proj_(conv|bn)", "stem.embedding.0.conv.{}"),
            (r"patch_embed\.proj([123])_(conv|bn)", "stem.embedding.{}.conv.{}"),
            (r"patch_embed\.proj4_(conv|bn)", "stem.position.conv.{}"),
            *_ATTENTION,
            *_MLP,
            *_HEAD,
        ),
        (_SPIKINGFORMER_NETWORK | {"stem.pool": _IMAGENET_POOL},),
        dead=_LAYER_NORMS,
    ),
    Family(
        "Spike-driven Transformer with PLIF",
        ("head_lif.w", "block.0.attn.talking_heads.weight", "patch_embed.rpe_conv.weight"),
        (*_SPS, *_ATTENTION, *_MLP, *_HEAD, *_PLIF),
        _PLIF_NETWORKS,
        dead=(*_TALKING_HEADS, *_UNUSED_PLIF),
    ),
    Family(
        "Spike-driven Transformer",
        ("block.0.attn.talking_heads.weight", "patch_embed.rpe_conv.weight"),
        (*_SPS, *_ATTENTION, *_MLP, *_HEAD),
        _SDT1_NETWORKS,
        dead=_TALKING_HEADS,
    ),
    Family("Spike-driven Transformer V2", ("ConvBlock1_1.0.Conv.pwconv1.weight",), _SDT2, (_SDT2_NETWORK,)),
    Family("Spike-driven Transformer V3", ("ConvBlock1_1.0.Conv.pwconv1.0.weight",), _SDT3_BASE, (_SDT3_BASE_NETWORK,)),
    Family(
        "Spike-driven Transformer V3 (large)",
        ("ConvBlock1_1.0.conv1.0.0.weight",),
        _SDT3_LARGE,
        (_SDT3_LARGE_NETWORK,),
    ),
    Family("QKFormer on ImageNet", ("patch_embed1.proj2_conv.weight",), _QKFORMER, (_QKFORMER_IMAGENET_NETWORK,)),
    Family("QKFormer on CIFAR", ("patch_embed1.proj1_conv.weight",), _QKFORMER, (_QKFORMER_CIFAR_NETWORK,)),
    Family(
        "SpikingResformer",
        ("prologue.0.weight", "classifier.weight"),
        _SPIKINGRESFORMER,
        _SPIKINGRESFORMER_NETWORKS,
        renamed=_renamed_spikingresformer,
    ),
    Family(
        "MS-QKFormer on CIFAR",
        ("patch_embed2.embed2.embed_conv.weight",),
        _MSQKFORMER_CIFAR,
        (_MSQKFORMER_CIFAR_NETWORK,),
    ),
    Family(
        "MS-QKFormer on ImageNet",
        ("patch_embed1.rpe_conv.weight",),
        _MSQKFORMER_IMAGENET,
        (_MSQKFORMER_IMAGENET_NETWORK,),
    ),
    Family(
        "Max-Former on ImageNet",
        ("patch_embed1.embed4.embed_conv.weight",),
        (*_MAXFORMER_STEM_IMAGENET, *_MAXFORMER),
        (_MAXFORMER_IMAGENET_NETWORK,),
    ),
    Family(
        "Max-Former on CIFAR",
        ("patch_embed2.max_embed2.embed_conv.weight",),
        (*_MS_STEM_CIFAR, *_MAXFORMER),
        (_MAXFORMER_CIFAR_NETWORK,),
    ),
)
