"""Convolution, batch norm and neuron: what every part of a spiking transformer is built from.

Tensors are [T, B, C, H, W] between layers; inside a convolution time is folded into the batch,
[T*B, C, H, W], which costs nothing and makes batch norm take its statistics over time as well.

Every layer that computes with numbers declares what its input is made of, because it was built so:

* "binary": spikes, 0 or 1
* "count": sums of spikes, whole numbers
* "real": anything else

`operands` lists, in the order in which a module's own forward runs its products, the class of each
factor that is not a weight. Counting costs relies on it and checks it.
"""

from typing import Literal

from torch import Tensor, nn

from spikformer.config import NeuronConfig, Residual
from spikformer.neurons import neuron

Operand = Literal["binary", "count", "real"]
Operands = tuple[tuple[Operand, ...], ...]


class Conv2d(nn.Conv2d):
    """nn.Conv2d of stride 1 that keeps the image's size and declares what it is fed.

    Attributes:
        repeats: how many time steps one computed result stands for.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool, fed: Operand) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        self.operands: Operands = ((fed,),)
        self.repeats = 1


class Linear(nn.Linear):
    """nn.Linear that declares what it is fed."""

    def __init__(self, in_features: int, out_features: int, fed: Operand) -> None:
        super().__init__(in_features, out_features)
        self.operands: Operands = ((fed,),)


class ConvBN(nn.Module):
    """Convolution and batch norm: [T, B, C_in, H, W] -> [T, B, C_out, H, W]."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, bias: bool = False, *, fed: Operand
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel_size, bias, fed)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        time_and_batch = x_TBCHW.shape[:2]
        return self.norm(self.conv(x_TBCHW.flatten(0, 1))).unflatten(0, time_and_batch)  # type: ignore[no-any-return]  # modules return Any


class Unit(nn.Module):
    """A convolution with its neuron, on the side that the residual decides.

    "sew": conv, batch norm, neuron: spikes leave. "ms": neuron, conv, batch norm: a membrane current leaves.
    """

    def __init__(self, conv: ConvBN, config: NeuronConfig, residual: Residual) -> None:
        super().__init__()
        self.neuron_first = residual == "ms"
        self.conv = conv
        self.neuron = neuron(config)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        if self.neuron_first:
            return self.conv(self.neuron(x_TBCHW))  # type: ignore[no-any-return]
        return self.neuron(self.conv(x_TBCHW))  # type: ignore[no-any-return]


def stream_operand(residual: Residual) -> Operand:
    """What a branch's first convolution is fed: sums of spikes under "sew", a neuron's spikes under "ms"."""
    return "count" if residual == "sew" else "binary"
