"""The whole network: stem, stages of blocks, head."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from spikformer.channel_mixers import channel_mixing
from spikformer.config import MixerConfig, SpikformerConfig, StageConfig
from spikformer.layers import Linear, Residual, check_tokens
from spikformer.neurons import neuron
from spikformer.operands import REAL
from spikformer.stems import Stem, downsampling
from spikformer.token_mixers import token_mixer


class Block(nn.Module):
    """Up to three residual branches: local mixer, token mixer, channel mixer."""

    def __init__(self, stage: StageConfig, config: SpikformerConfig, drop_path: float) -> None:
        super().__init__()
        dim = stage.embed_dim

        def mixing(mixer: MixerConfig) -> nn.Module:
            if mixer.kind == "identity":
                return nn.Identity()
            return Residual(token_mixer(dim, mixer, config), dim, config, mixer.layer_scale, drop_path)

        self.local = mixing(stage.local)
        self.mixer = mixing(stage.mixer)
        self.mlp = channel_mixing(dim, stage.mlp, config, drop_path)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        return self.mlp(self.mixer(self.local(x_TBCHW)))


class Stage(nn.Module):
    """Downsampling, then blocks of one kind: [T, B, in_dim, H, W] -> [T, B, embed_dim, H', W']."""

    def __init__(self, in_dim: int, stage: StageConfig, config: SpikformerConfig, drop_paths: Iterator[float]) -> None:
        super().__init__()
        self.down = downsampling(in_dim, stage.embed_dim, stage.down, config)
        self.blocks = nn.Sequential(*(Block(stage, config, next(drop_paths)) for _ in range(stage.depth)))
        self.kind, self.stride, self.width = stage.down.kind, stage.down.downsampling, stage.embed_dim

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        tokens_TBCHW = self.down(x_TBCHW)
        if ":" in self.kind:
            height, width = (side // self.stride for side in x_TBCHW.shape[-2:])
            check_tokens(self.kind, tokens_TBCHW, (*x_TBCHW.shape[:2], self.width, height, width), self.stride)
        return self.blocks(tokens_TBCHW)


class Head(nn.Module):
    """Mean over tokens, then logits averaged over time: [T, B, C, H, W] -> [B, num_classes].

    With distillation, the mean of two classifiers; the second is always fed by spikes.
    """

    averages = True

    def __init__(self, dim: int, config: SpikformerConfig) -> None:
        super().__init__()
        head = config.head
        spiking = head.neuron or head.distillation
        self.neuron = neuron(config, counts=True) if spiking else None
        self.feeds_classifier = head.neuron
        self.mean_first = head.time_mean == "before" and config.time_steps > 1
        spikes = self.neuron.spikes if self.neuron is not None and not self.mean_first else REAL
        self.linear = Linear(dim, head.num_classes, fed=spikes if head.neuron else REAL, bias=head.bias)
        if head.distillation:
            self.distilled = Linear(dim, head.num_classes, fed=spikes, bias=head.bias)

    def forward(self, x_TBCHW: Tensor, *, separate: bool = False) -> Tensor:
        """Logits; see `Spikformer.forward` for `separate`."""
        if x_TBCHW.requires_grad:
            x_TBCHW.register_hook(_in_order_of(x_TBCHW))
        x_TBC = x_TBCHW.mean((-2, -1))
        spikes_TBC = x_TBC if self.neuron is None else self.neuron(x_TBC)
        logits = self._logits(self.linear, spikes_TBC if self.feeds_classifier else x_TBC)
        if hasattr(self, "distilled"):
            distilled = self._logits(self.distilled, spikes_TBC)
            return torch.stack([logits, distilled]) if separate else (logits + distilled) / 2
        if separate:
            raise ValueError("this head has one classifier. Use separate=True with head.distillation only")
        return logits

    def _logits(self, linear: nn.Module, x_TBC: Tensor) -> Tensor:
        return linear(x_TBC.mean(0)) if self.mean_first else linear(x_TBC).mean(0)


class Spikformer(nn.Module):
    """A spiking transformer as its config describes it.

    1x1 convolutions and the classifier start from a normal distribution of standard deviation 0.02, cut at two, as in
    the published code. The other convolutions start as torch initialises them.

    Args:
        config: network to build; `model.config` keeps it.

    Raises:
        ConfigError: a block of your own cannot be found or built.
    """

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        depth = sum(stage.depth for stage in config.stages)
        drop_paths = (config.drop_path * i / max(1, depth - 1) for i in range(depth))
        widths = [config.stages[0].embed_dim, *(stage.embed_dim for stage in config.stages)]
        self.stages = nn.Sequential(
            *(Stage(width, stage, config, drop_paths) for width, stage in zip(widths, config.stages, strict=False))
        )
        self.head = Head(widths[-1], config)
        self.apply(_init)

    def forward(self, images: Tensor, *, separate: bool = False) -> Tensor:
        """Logits, averaged over time.

        Args:
            images: [B, C, H, W], shown at every time step, or frames [T, B, C, H, W].
            separate: whether the two classifiers of a head with distillation each give their logits, so that the
                second can learn from a teacher. Any other head has one classifier only.

        Returns:
            [B, num_classes]; if separate, [2, B, num_classes].

        Raises:
            ValueError: the images are not of the size, channels or time steps of the config; or the logits of two
                classifiers are asked of a head that has one.
        """
        x_TBCHW = images.unsqueeze(0) if images.dim() == 4 else images
        self._check(x_TBCHW, images)
        x_TBCHW = self.stages(self.stem(x_TBCHW))
        logits: Tensor = self.head(x_TBCHW, separate=True) if separate else self.head(x_TBCHW)
        return logits

    def _check(self, x_TBCHW: Tensor, images: Tensor) -> None:
        stem = self.config.stem
        size = (stem.in_channels, stem.image_size, stem.image_size)
        steps = (1,) if images.dim() == 4 else (self.config.time_steps,)
        if x_TBCHW.dim() != 5 or (x_TBCHW.shape[0],) != steps or tuple(x_TBCHW.shape[2:]) != size:
            raise ValueError(
                f"images are {tuple(images.shape)}; this network takes [B, {stem.in_channels}, {stem.image_size}, "
                f"{stem.image_size}], or the same with {self.config.time_steps} time steps in front"
            )


def _in_order_of(x: Tensor) -> Callable[[Tensor], Tensor]:
    """For a gradient: lays it out in memory as `x` is. That of a mean comes out channel by channel, and all layers
    before it would add up gradients of two orders, which is slow."""
    size, stride = x.shape, x.stride()
    return lambda gradient: gradient.new_empty_strided(size, stride).copy_(gradient)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
