"""The whole network: stem, blocks, head."""

from torch import Tensor, nn

from spikformer.channel_mixers import SpikingMLP
from spikformer.config import HeadConfig, NeuronConfig, Residual, SpikformerConfig, StageConfig
from spikformer.layers import Linear
from spikformer.neurons import neuron
from spikformer.stems import SpikingPatchSplitting
from spikformer.token_mixers import SpikingAttention


class Block(nn.Module):
    """Attention and MLP, each added to the stream: spikes under "sew", membrane currents under "ms"."""

    def __init__(self, stage: StageConfig, neurons: NeuronConfig, residual: Residual) -> None:
        super().__init__()
        self.mixer = SpikingAttention(stage.embed_dim, stage.mixer, neurons, residual)
        self.mlp = SpikingMLP(stage.embed_dim, stage.mlp, neurons, residual)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        x_TBCHW = x_TBCHW + self.mixer(x_TBCHW)
        return x_TBCHW + self.mlp(x_TBCHW)  # type: ignore[no-any-return]


class Head(nn.Module):
    """Mean over tokens, then logits averaged over time: [T, B, C, H, W] -> [B, num_classes].

    With a neuron, the linear layer sees the spikes of every step; without, the mean over time of the
    stream, once.
    """

    def __init__(self, dim: int, config: HeadConfig, neurons: NeuronConfig) -> None:
        super().__init__()
        self.neuron = neuron(neurons) if config.neuron else None
        self.linear = Linear(dim, config.num_classes, fed="binary" if config.neuron else "real")

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        x_TBC = x_TBCHW.mean((-2, -1))
        if self.neuron is None:
            return self.linear(x_TBC.mean(0))  # type: ignore[no-any-return]
        return self.linear(self.neuron(x_TBC)).mean(0)  # type: ignore[no-any-return]


class Spikformer(nn.Module):
    """A spiking transformer as its config describes it.

    Layers start as in the published code: 1x1 convolutions and the classifier from a normal of
    standard deviation 0.02, cut at two; the stem's 3x3 convolutions as torch starts them.

    Args:
        config: what to build; `model.config` keeps it.
    """

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = SpikingPatchSplitting(config)
        self.blocks = nn.Sequential(
            *(Block(stage, config.neuron, config.residual) for stage in config.stages for _ in range(stage.depth))
        )
        self.head = Head(config.stages[-1].embed_dim, config.head, config.neuron)
        self.apply(_init)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, averaged over time.

        Args:
            images: [B, C, H, W], shown at every time step, or frames [T, B, C, H, W].

        Returns:
            [B, num_classes].

        Raises:
            ValueError: the images are not of the size, channels or time steps of the config.
        """
        x_TBCHW = images.unsqueeze(0) if images.dim() == 4 else images
        self._check(x_TBCHW, images)
        logits: Tensor = self.head(self.blocks(self.stem(x_TBCHW)))
        return logits

    def _check(self, x_TBCHW: Tensor, images: Tensor) -> None:
        stem = self.config.stem
        wanted = (stem.in_channels, stem.image_size, stem.image_size)
        steps = (1,) if images.dim() == 4 else (self.config.time_steps,)
        if x_TBCHW.dim() != 5 or (x_TBCHW.shape[0],) != steps or tuple(x_TBCHW.shape[2:]) != wanted:
            raise ValueError(
                f"images are {tuple(images.shape)}; this network takes [B, {stem.in_channels}, {stem.image_size}, "
                f"{stem.image_size}], or the same with {self.config.time_steps} time steps in front"
            )


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
