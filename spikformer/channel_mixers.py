"""The part of a block that mixes channels, token by token."""

from torch import Tensor, nn

from spikformer.config import MLPConfig, NeuronConfig, Residual
from spikformer.layers import ConvBN, Unit, stream_operand


class SpikingMLP(nn.Module):
    """Two 1x1 convolutions with their neurons: [T, B, C, H, W] -> [T, B, C, H, W], to be added to its input."""

    def __init__(self, dim: int, config: MLPConfig, neurons: NeuronConfig, residual: Residual) -> None:
        super().__init__()
        hidden = int(dim * config.ratio)
        expand = ConvBN(dim, hidden, bias=config.bias, fed=stream_operand(residual))
        self.expand = Unit(expand, neurons, residual)
        self.contract = Unit(ConvBN(hidden, dim, bias=config.bias, fed="binary"), neurons, residual)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        return self.contract(self.expand(x_TBCHW))  # type: ignore[no-any-return]
