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
import typing
from dataclasses import dataclass, field, replace
from typing import Any, Self

from spikformer import canonical, identity
from spikformer.errors import ConfigError
from spikformer.fields import PlainTable, build, check_types, divisors, listed, plain, require
from spikformer.kinds import MOST, MOST_PARAMETERS, READS, Reduction, Residual, check_most
from spikformer.parts import HeadConfig, MixerConfig, MLPConfig, NeuronConfig, StageConfig
from spikformer.stem_config import ConvConfig, DownConfig, StemConfig, weights


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
        if not any(stage.depth for stage in self.stages):
            raise ConfigError(
                "no stage has a block: depth is 0 in all of them. Give at least one stage a depth of 1",
                tuple(f"stages.{i}.depth" for i in range(len(self.stages))),
            )
        check_most(self, "time_steps")
        self._check_size()
        self._check_widths()
        self._check_grids()
        self._check_residual()
        self._check_spikes()

    def _check_size(self) -> None:
        """By the parameters of channel mixers, chains and the classifier: there are more, but not many times so."""
        parameters = sum(2 * stage.depth * stage.embed_dim**2 * stage.mlp.ratio for stage in self.stages)
        parameters += self.stages[-1].embed_dim * self.head.num_classes + self._weights_of_chains()
        if parameters > MOST_PARAMETERS or len(self.stages) > MOST["stages"]:
            raise ConfigError(
                f"{len(self.stages)} stages with at least {parameters:,.0f} parameters are more than any network has. "
                f"Use at most {MOST['stages']} stages and {MOST_PARAMETERS:,} parameters",
                (
                    *(f"stages.{i}.{name}" for i in range(len(self.stages)) for name in ("embed_dim", "depth")),
                    *(["stem.kind", "stem.chain"] if self.stem.kind == "chain" else []),
                    *(f"stages.{i}.down.chain" for i, stage in enumerate(self.stages) if stage.down.kind == "chain"),
                ),
            )

    def _weights_of_chains(self) -> float:
        dims = [stage.embed_dim for stage in self.stages]
        stem = weights(self.stem.chain, self.stem.in_channels, dims[0]) if self.stem.kind == "chain" else 0
        downs = (
            weights(stage.down.chain, before, stage.embed_dim)
            for before, stage in zip(dims, self.stages[1:], strict=False)
            if stage.down.kind == "chain"
        )
        return stem + sum(downs)

    def _check_widths(self) -> None:
        first = self.stages[0]
        require(
            first.down.kind == "none",
            'the first stage needs down.kind "none": the stem comes before it',
            "stages.0.down.kind",
        )
        self._check_stem_widths()
        for i in range(1, len(self.stages)):
            before, stage = self.stages[i - 1], self.stages[i]
            require(
                stage.down.kind != "none" or before.embed_dim == stage.embed_dim,
                f"stages {i - 1} and {i} have embed_dim {before.embed_dim} and {stage.embed_dim}, but down.kind is "
                '"none", which keeps the width. Use one width, or down.kind "conv", "speds" or "chain"',
                f"stages.{i - 1}.embed_dim",
                f"stages.{i}.embed_dim",
                f"stages.{i}.down.kind",
            )
            if stage.down.kind == "chain":
                _check_chain_widths(stage.down.chain, stage.embed_dim, i, f"stages.{i}.down")

    def _check_stem_widths(self) -> None:
        dim = self.stages[0].embed_dim
        factor, why = {"sps": (8, "embed_dim / 8"), "speds": (2, "embed_dim / 2")}.get(self.stem.kind, (1, ""))
        require(
            dim % factor == 0,
            f"embed_dim {dim} is not a multiple of {factor}: the {self.stem.kind} stem starts with {why} channels",
            "stages.0.embed_dim",
            "stem.kind",
        )
        if self.stem.kind == "chain":
            _check_chain_widths(self.stem.chain, dim, 0, "stem")

    def _check_grids(self) -> None:
        size = self.stem.image_size // self.stem.downsampling
        for i, stage in enumerate(self.stages):
            if size % stage.down.downsampling:
                raise ConfigError(
                    f"stage {i} cannot divide {size} x {size} tokens by {stage.down.downsampling}. Use an image_size "
                    f"that is a multiple of {self.stem.image_size // size * stage.down.downsampling}, fewer stages, or "
                    "less downsampling",
                    self._grid_fields(i),
                )
            size //= stage.down.downsampling
            for part, name in itertools.product(("local", "mixer"), ("window", "patch") if stage.depth else ()):
                mixer = getattr(stage, part)
                tokens = getattr(mixer, name)
                if mixer.reads(name) and tokens and size % tokens:
                    raise ConfigError(
                        f"{name} {tokens} does not divide the {size} x {size} tokens of stage {i}. "
                        f"Use one of {listed(divisors(size))}",
                        (
                            *(f"stages.{i}.{part}.{name}", f"stages.{i}.{part}.kind", f"stages.{i}.depth"),
                            *self._grid_fields(i),
                        ),
                    )

    def _grid_fields(self, stage: int) -> tuple[str, ...]:
        """Those that decide how many tokens a stage has."""
        read = READS["stem"].get(self.stem.kind, ("stride",))
        fields = ["stem.image_size", "stem.kind", *(f"stem.{name}" for name in read)]
        fields += [f"stem.chain.{k}.{name}" for k in range(len(self.stem.chain)) for name in _OF_GRIDS]
        for j in range(stage + 1):
            down = f"stages.{j}.down"
            fields += [f"{down}.{name}" for name in ("kind", "stride", "deformed_shortcut", "chain")]
            fields += [f"{down}.chain.{k}.{name}" for k in range(len(self.stages[j].down.chain)) for name in _OF_GRIDS]
        return tuple(fields)

    def _check_residual(self) -> None:
        if self.residual == "ms":
            return
        what = f'residual "{self.residual}" adds spikes, but'
        require(
            self.stem.kind != "conv",
            f'{what} the "conv" stem ends in membrane currents. Use stem.kind "sps", "speds" or "chain", or residual '
            '"ms"',
            "residual",
            "stem.kind",
        )
        for i, stage in self._with_blocks():
            for part, kind in (("local", "dssa"), ("mixer", "dssa"), ("mlp", "gwffn")):
                require(
                    getattr(stage, part).kind != kind,
                    f'{what} {part}.kind "{kind}" of stage {i} is defined on membrane currents. Use residual "ms"',
                    "residual",
                    f"stages.{i}.{part}.kind",
                    f"stages.{i}.depth",
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
                    f"stages.{i}.depth",
                )
        require(
            self.residual != "sew_iand" or self.neuron.fires_binary,
            f'residual "sew_iand" needs spikes of 0 and 1, but neuron "{self.neuron.kind}" fires other numbers. Use '
            'residual "sew" or "ms"',
            "residual",
            "neuron.kind",
        )

    def _with_blocks(self) -> list[tuple[int, StageConfig]]:
        """The stages that have blocks, numbered."""
        return [(i, stage) for i, stage in enumerate(self.stages) if stage.depth]

    def _check_spikes(self) -> None:
        for i, stage in self._with_blocks():
            for part in ("local", "mixer"):
                mixer = getattr(stage, part)
                require(
                    self.neuron.fires_units or mixer.kind not in ("sdsa", "qkta", "qkca", "dssa"),
                    f'{part}.kind "{mixer.kind}" of stage {i} masks by spikes of 0 and 1, but neuron '
                    f'"{self.neuron.kind}" fires several at once. Use {part}.kind "ssa" or a convolution, or another '
                    "neuron",
                    "neuron.kind",
                    f"stages.{i}.{part}.kind",
                    f"stages.{i}.depth",
                )
                if mixer.reads("time_window") and mixer.time_window > 1 and self.time_steps % mixer.time_window:
                    raise ConfigError(
                        f"time_window {mixer.time_window} of stage {i} does not divide time_steps {self.time_steps}. "
                        f"Use one of {listed(divisors(self.time_steps))}, or 0 for all",
                        (
                            *("time_steps", f"stages.{i}.depth"),
                            *(f"stages.{i}.{part}.{name}" for name in ("kind", "time_window")),
                        ),
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
        stages = canonical.stages(self.stages, self.grids, self.time_steps, self.residual, self.neuron)
        neuron = canonical.neuron(self.neuron, learns_positions=self.stem.position == "learned")
        drop_path = self.drop_path if sum(stage.depth for stage in stages) > 1 else 0.0  # the first block has none
        # The mean of one time step is that step.
        head = replace(self.head, time_mean="before") if self.time_steps == 1 else self.head
        stem = canonical.stem(self.stem, self.residual)
        return {
            "time_steps": self.time_steps,
            "residual": self.residual,
            "neuron": neuron,
            "stem": stem,
            "stages": stages,
            "head": head,
            "drop_path": drop_path,
        }

    @functools.cached_property
    def config_id(self) -> str:
        """A name such as "n1-0123456789ab", which two configs share if and only if they build equal networks.

        With one exception: two layers between stages, with no block between the two, have an id of their own, although
        one chain may be the same network. Later versions keep ids (`spikformer.identity`).

        Raises:
            TrustError: a block of a module that the user did not name.
            ConfigError: the module of a block cannot be imported, or the block refuses its options.
        """
        return identity.id_of(self.canonical())


_OF_GRIDS = ("stride", "pool")  # fields of a convolution that make the image smaller


def _check_chain_widths(chain: tuple[ConvConfig, ...], dim: int, stage: int, part: str) -> None:
    for k, conv in enumerate(chain):
        if not (conv.width * dim).is_integer():
            raise ConfigError(
                f"width {conv.width:g} of convolution {k} of {part}.chain is not a whole number of channels at "
                f"embed_dim {dim}, but {conv.width * dim:g}",
                (f"stages.{stage}.embed_dim", f"{part}.kind", f"{part}.chain", f"{part}.chain.{k}.width"),
            )


__all__ = [
    "READS",
    "ConvConfig",
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
