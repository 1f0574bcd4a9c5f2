"""A Spikformer for CIFAR-10 as its authors lay it out, with SpikingJelly's neurons: a contestant of proxy_speed.py."""

import itertools
from collections.abc import Callable

import torch.nn.functional as F
from spikingjelly.activation_based import neuron
from torch import Tensor, nn


class OfficialLayout(nn.Module):
    """A Spikformer for CIFAR-10 as its authors lay it out: [B, 3, 32, 32] -> [T, B, 10]."""

    def __init__(self, embed_dim: int, depth: int, time_steps: int, num_heads: int) -> None:
        super().__init__()
        dim, self.time_steps = embed_dim, time_steps
        widths = (3, dim // 8, dim // 4, dim // 2, dim)
        self.convs = nn.ModuleList(_conv_norm(*pair) for pair in itertools.pairwise(widths))
        self.position = _conv_norm(dim, dim)
        self.neurons = nn.ModuleList(_lif() for _ in range(5))
        self.blocks = nn.Sequential(*(_OfficialBlock(dim, num_heads) for _ in range(depth)))
        self.head = nn.Linear(dim, 10)

    def forward(self, images: Tensor) -> Tensor:
        x_TBCHW = images.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        for i, conv in enumerate(self.convs):
            x_TBCHW = self.neurons[i](_each_step(conv, x_TBCHW))
            if i >= 2:
                x_TBCHW = _each_step(_pool, x_TBCHW)
        x_TBCHW = x_TBCHW + self.neurons[4](_each_step(self.position, x_TBCHW))
        return self.head(self.blocks(x_TBCHW.flatten(-2).transpose(-1, -2)).mean(2))


class _OfficialBlock(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.proj = (_Tokens(dim, dim) for _ in range(4))
        self.expand, self.contract = _Tokens(dim, 4 * dim), _Tokens(4 * dim, dim)
        self.attention = _lif(0.5)

    def forward(self, x_TBNC: Tensor) -> Tensor:
        q, k, v = (
            layer(x_TBNC).unflatten(-1, (self.num_heads, -1)).transpose(2, 3).contiguous()
            for layer in (self.query, self.key, self.value)
        )
        context = (q @ k.transpose(-2, -1)) @ v * 0.125
        x_TBNC = x_TBNC + self.proj(self.attention(context.transpose(2, 3).reshape(x_TBNC.shape)))
        return x_TBNC + self.contract(self.expand(x_TBNC))


class _Tokens(nn.Module):
    """Linear layer, batch norm and neuron: [T, B, N, C] -> [T, B, N, C']."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear, self.norm, self.neuron = nn.Linear(in_dim, out_dim), nn.BatchNorm1d(out_dim), _lif()

    def forward(self, x_TBNC: Tensor) -> Tensor:
        x_nNC = self.linear(x_TBNC.flatten(0, 1))
        x_nNC = self.norm(x_nNC.transpose(-1, -2)).transpose(-1, -2)
        return self.neuron(x_nNC.unflatten(0, x_TBNC.shape[:2]).contiguous())


def _lif(threshold: float = 1.0) -> nn.Module:
    return neuron.LIFNode(tau=2.0, v_threshold=threshold, detach_reset=True, step_mode="m")


def _conv_norm(in_dim: int, out_dim: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_dim, out_dim, 3, padding=1, bias=False), nn.BatchNorm2d(out_dim))


def _pool(x_nCHW: Tensor) -> Tensor:
    return F.max_pool2d(x_nCHW, 3, stride=2, padding=1)


def _each_step(layer: Callable[[Tensor], Tensor], x_TBCHW: Tensor) -> Tensor:
    return layer(x_TBCHW.flatten(0, 1)).unflatten(0, x_TBCHW.shape[:2]).contiguous()
