"""The part of a block that mixes channels: [T, B, C, H, W] -> [T, B, C, H, W], a branch of the residual stream."""

from torch import Tensor, nn

from spikformer.config import MLPConfig, SpikformerConfig
from spikformer.layers import Residual, Unit, conv_bn, fed_by_stream, join, own_block
from spikformer.neurons import emitted


class SpikingMLP(nn.Module):
    """Two convolutions with their neurons: 1x1 ("mlp"), or 3x3 ("convffn", Spike-driven Transformer V2).

    Args:
        inner_residual: whether the stream is joined in between, so that it feeds the second convolution.
    """

    def __init__(self, dim: int, mlp: MLPConfig, config: SpikformerConfig, *, inner_residual: bool) -> None:
        super().__init__()
        hidden = int(dim * mlp.ratio)
        size = 3 if mlp.kind == "convffn" else 1
        fed = fed_by_stream(config)
        between = fed if inner_residual else emitted(config)
        self.expand = Unit(conv_bn(dim, hidden, size, fed=fed, bias=mlp.bias), config)
        self.contract = Unit(conv_bn(hidden, dim, size, fed=between, bias=mlp.bias), config)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        return self.contract(self.expand(x_TBCHW))


class GroupWiseFFN(nn.Module):
    """1x1, a grouped 3x3 with a shortcut of its own, 1x1 (SpikingResformer, Shi et al., CVPR 2024, eq. 12)."""

    joins = True

    def __init__(self, dim: int, mlp: MLPConfig, config: SpikformerConfig) -> None:
        super().__init__()
        hidden, spikes = int(dim * mlp.ratio), emitted(config)
        groups = hidden // mlp.group_width
        self.expand = Unit(conv_bn(dim, hidden, fed=spikes, bias=mlp.bias), config)
        self.group = Unit(conv_bn(hidden, hidden, 3, fed=spikes, bias=mlp.bias, groups=groups), config)
        self.contract = Unit(conv_bn(hidden, dim, fed=spikes, bias=mlp.bias), config)
        self.residual = config.residual

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        hidden_TBCHW = self.expand(x_TBCHW)
        return self.contract(join(hidden_TBCHW, self.group(hidden_TBCHW), self.residual))


def channel_mixing(dim: int, mlp: MLPConfig, config: SpikformerConfig, drop_path: float) -> nn.Module:
    """The channel mixer that a config names, joined to the stream: one residual branch, or two.

    With `inner_residual`, at ratio 1, each convolution is a branch of its own (Spike-driven Transformer).
    """

    def residual(branch: nn.Module) -> Residual:
        return Residual(branch, dim, config, mlp.layer_scale, drop_path)

    if mlp.kind in ("mlp", "convffn"):
        inner = mlp.inner_residual and mlp.reads("inner_residual")
        both = SpikingMLP(dim, mlp, config, inner_residual=inner)
        return nn.Sequential(residual(both.expand), residual(both.contract)) if inner else residual(both)
    if mlp.kind == "gwffn":
        return residual(GroupWiseFFN(dim, mlp, config))
    return residual(own_block(mlp.kind, (dim,), mlp.options.to_dict(), config))
