"""Convolution, batch norm, neuron and residual: what every part of a spiking transformer is built from.

Tensors are [T, B, C, H, W] between layers; inside a convolution time is folded into the batch,
[T*B, C, H, W], which costs nothing and makes batch norm take its statistics over time as well.

Every layer that computes with numbers says what it is `fed` (`spikformer.operands`): costs rely on it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikformer import plugins, spiking
from spikformer.config import Reduction, SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.neurons import IF, LIF, emitted, neuron
from spikformer.operands import REAL, Operand, Operands


class Conv2d(nn.Conv2d):
    """nn.Conv2d, padded by half its kernel, that declares what it is fed (`spikformer.operands.Operands`)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        fed: Operand,
        bias: bool = False,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
    ) -> None:
        padding = kernel_size // 2 if padding is None else padding
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)
        self.operands: Operands = ((fed,),)

    def forward(self, x_nCHW: Tensor) -> Tensor:
        if not self._is_miscomputed(x_nCHW):
            return super().forward(x_nCHW)
        weight = self.weight.clone(memory_format=torch.contiguous_format)
        y_nCHW: Tensor = self._conv_forward(x_nCHW.contiguous(), weight, self.bias)
        return y_nCHW.contiguous(memory_format=torch.channels_last)

    def _is_miscomputed(self, x_nCHW: Tensor) -> bool:
        """Whether oneDNN, which torch takes on a CPU, would write the gradient of the weights beyond its memory.

        It does so for 1x1 convolutions with a stride that have fewer input channels than a vector has numbers, 16 at
        most, where channels lie next to each other (github.com/uxlfoundation/oneDNN/issues/6035): the process dies, or
        the gradient is wrong. Where each channel lies by itself it is right.
        """
        return (
            self.kernel_size == (1, 1)
            and self.stride != (1, 1)
            and self.in_channels < 16
            and self.weight.requires_grad
            and torch.is_grad_enabled()
            and x_nCHW.device.type == "cpu"
            and x_nCHW.is_contiguous(memory_format=torch.channels_last)
        )


class Linear(nn.Linear):
    """nn.Linear that declares what it is fed."""

    def __init__(self, in_features: int, out_features: int, *, fed: Operand, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.operands: Operands = ((fed,),)


class ConvBN(nn.Module):
    """Convolution, batch norm and perhaps max pools: [T, B, C_in, H, W] -> [T, B, C_out, H', W'].

    Args:
        conv: a convolution, or several without a neuron between them: [n, C_in, H, W] -> [n, C_out, H', W'].
        pools: how many follow; each halves height and width.
    """

    def __init__(self, conv: nn.Module, out_channels: int, *, pools: int = 0) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(out_channels)
        self.pools = pools

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        x_nCHW = self.norm(self.conv(folded(x_TBCHW)))
        for _ in range(self.pools):
            x_nCHW = _halved(x_nCHW)
        x_TBCHW = x_nCHW.unflatten(0, x_TBCHW.shape[:2])
        return x_TBCHW


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    *,
    fed: Operand,
    bias: bool = False,
    reduction: Reduction = "none",
    groups: int = 1,
) -> ConvBN:
    """The usual ConvBN: one convolution, halving the image by its stride, by a pool, or not at all."""
    stride = 2 if reduction == "stride" else 1
    conv = Conv2d(in_channels, out_channels, kernel_size, fed=fed, bias=bias, stride=stride, groups=groups)
    return ConvBN(conv, out_channels, pools=int(reduction == "pool"))


def folded(x_TBCHW: Tensor) -> Tensor:
    """Time folded into the batch, [T*B, C, H, W], in the layout of memory that images have.

    A view, unless one place in memory stands for all time steps: of that, `flatten` would make copies in NCHW.
    """
    return x_TBCHW.flatten(0, 1) if x_TBCHW.stride(0) else torch.cat(x_TBCHW.unbind(0))


class Unit(nn.Module):
    """A ConvBN with its neuron.

    "sew", "sew_iand": convolution, batch norm, neuron: spikes leave. "ms": neuron, convolution, batch
    norm: a membrane current leaves.

    Args:
        spikes_leave: to place the neuron otherwise than the residual does.
    """

    def __init__(self, conv: nn.Module, config: SpikformerConfig, *, spikes_leave: bool | None = None) -> None:
        super().__init__()
        self.neuron_first = config.residual == "ms" if spikes_leave is None else not spikes_leave
        self.conv = conv
        self.neuron = neuron(config)

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        if self.neuron_first:
            return self.conv(self.neuron(x_TBCHW))
        fused_TBCHW = self._in_one_kernel(x_TBCHW)
        return self.neuron(self.conv(x_TBCHW)) if fused_TBCHW is None else fused_TBCHW

    def _in_one_kernel(self, x_TBCHW: Tensor) -> Tensor | None:
        """Spikes from batch norm and neuron at once; None where there is no kernel, or a hook expects their calls."""
        conv, neuron = self.conv, self.neuron
        if type(conv) is not ConvBN or conv.pools or type(neuron) not in (LIF, IF):
            return None
        # Hooks first: a counter's would see the kernels' check of themselves.
        if any(map(_has_hooks, (conv, conv.norm, neuron))) or not spiking.fuses_norm(x_TBCHW, conv.norm):
            return None
        assert isinstance(neuron, LIF | IF)
        spikes_nCHW = neuron.after_norm(conv.conv(folded(x_TBCHW)), conv.norm, len(x_TBCHW))
        spikes_TBCHW: Tensor = spikes_nCHW.unflatten(0, x_TBCHW.shape[:2])
        return spikes_TBCHW


def _has_hooks(module: nn.Module) -> bool:
    own = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(own) or bool(nn.modules.module._has_any_global_hook())


class Residual(nn.Module):
    """A branch and the stream that it is joined to: x <- x + layer_scale * branch(x).

    In training a sample's branch is left out with probability `drop_path`, and otherwise divided by the
    chance to stay (stochastic depth; Huang et al., ECCV 2016). Under "sew_iand" it is not divided: spikes
    stay 0 and 1.

    Args:
        layer_scale: start of a learned factor a channel (Touvron et al., CaiT, ICCV 2021); 0, none.
    """

    joins = True

    def __init__(
        self, branch: nn.Module, dim: int, config: SpikformerConfig, layer_scale: float = 0.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.branch = branch
        self.layer_scale = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale else None
        self.residual, self.drop_path = config.residual, drop_path

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        branch_TBCHW = self.branch(x_TBCHW)
        if self.layer_scale is not None:
            branch_TBCHW = self.layer_scale[:, None, None] * branch_TBCHW
        if self.training and self.drop_path > 0:
            branch_TBCHW = self._dropped(branch_TBCHW)
        return join(x_TBCHW, branch_TBCHW, self.residual)

    def _dropped(self, branch_TBCHW: Tensor) -> Tensor:
        keep = 1 - self.drop_path
        mask_B = (torch.rand(branch_TBCHW.shape[1], device=branch_TBCHW.device) < keep).to(branch_TBCHW.dtype)
        if self.residual != "sew_iand" and keep > 0:
            mask_B = mask_B / keep
        return mask_B[:, None, None, None] * branch_TBCHW

    def extra_repr(self) -> str:
        return f"drop_path={self.drop_path:g}" if self.drop_path else ""


def join(stream: Tensor, branch: Tensor, residual: str) -> Tensor:
    """Stream and branch: their sum; under "sew_iand" the stream where the branch is silent (SEW-ResNet, eq. 6)."""
    return stream * (1 - branch) if residual == "sew_iand" else stream + branch


def fed_by_stream(config: SpikformerConfig) -> Operand:
    """What a branch's first convolution is fed.

    "ms": its neuron's spikes; "sew": sums of spikes; "sew_iand": spikes.
    """
    spikes = emitted(config)
    return spikes.summed() if config.residual == "sew" else spikes


class RepConv(nn.Module):
    """Re-parameterisable projection of Spike-driven Transformer V2: 1x1, depthwise 3x3 and 1x1 convolutions.

    [n, C, H, W] -> [n, C, H, W]. One 3x3 convolution when merged. The image is padded after the first
    batch norm by what that makes of zero, as the merged convolution would (Ding et al., RepVGG, CVPR 2021).
    """

    def __init__(self, dim: int, *, fed: Operand) -> None:
        super().__init__()
        self.first = Conv2d(dim, dim, fed=fed)
        self.first_norm = nn.BatchNorm2d(dim)
        self.depthwise = Conv2d(dim, dim, 3, fed=REAL, groups=dim, padding=0)
        self.last = Conv2d(dim, dim, fed=REAL)
        self.last_norm = nn.BatchNorm2d(dim)

    def forward(self, x_nCHW: Tensor) -> Tensor:
        x_nCHW = self._padded(self.first_norm(self.first(x_nCHW)))
        return self.last_norm(self.last(self.depthwise(x_nCHW)))

    def _padded(self, x_nCHW: Tensor) -> Tensor:
        norm = self.first_norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        deviation = (norm.running_var + norm.eps).sqrt()
        zero_C = norm.bias.detach() - norm.running_mean * norm.weight.detach() / deviation
        border_HW = F.pad(torch.zeros_like(x_nCHW[0, 0]), [1, 1, 1, 1], value=1.0)
        return F.pad(x_nCHW, [1, 1, 1, 1]) + zero_C[:, None, None] * border_HW


class RepLinear(nn.Module):
    """Re-parameterisable projection of Spike-driven Transformer V3 (large): 1x1 to 1.5 times the width and back.

    [n, C, H, W] -> [n, C, H, W]. One 1x1 convolution when merged.
    """

    def __init__(self, dim: int, *, fed: Operand) -> None:
        super().__init__()
        hidden = int(1.5 * dim)
        self.first = Conv2d(dim, hidden, fed=fed)
        self.first_norm = nn.BatchNorm2d(hidden)
        self.last = Conv2d(hidden, dim, fed=REAL)
        self.last_norm = nn.BatchNorm2d(dim)

    def forward(self, x_nCHW: Tensor) -> Tensor:
        return self.last_norm(self.last(self.first_norm(self.first(x_nCHW))))


def _halved(x_nCHW: Tensor) -> Tensor:
    """3x3 max pool of stride 2, which leaves spikes spikes."""
    return F.max_pool2d(x_nCHW, kernel_size=3, stride=2, padding=1)


def max_pool(x_TBCHW: Tensor) -> Tensor:
    """3x3, stride 2: halves height and width, and leaves spikes spikes."""
    pooled_TBCHW: Tensor = _halved(folded(x_TBCHW)).unflatten(0, x_TBCHW.shape[:2])
    return pooled_TBCHW


def own_block(
    kind: str, widths: tuple[int, ...], options: dict[str, bool | int | float | str], config: SpikformerConfig
) -> nn.Module:
    """An instance of a class of yours (`docs/your_own_block.md`), of these widths, its `Options` and the config.

    Raises:
        ConfigError: no such class, options that it refuses, one that cannot be built, or no torch module.
    """
    settings = plugins.options(kind, options)
    arguments = (*widths, config) if settings is None else (*widths, settings, config)
    try:
        built = plugins.resolve(kind)(*arguments)
    except ConfigError:
        raise
    except Exception as error:  # whatever code of yours may raise
        names = ("dim",) if len(widths) == 1 else ("in_dim", "dim", "stride")
        signature = ", ".join([*names, *([] if settings is None else ["options"]), "config"])
        raise ConfigError(
            f'kind "{kind}" cannot be built as ({signature}): {type(error).__name__}: {error}', ("kind",)
        ) from error
    if not isinstance(built, nn.Module):
        raise ConfigError(f'kind "{kind}" is not a torch.nn.Module', ("kind",))
    return built


def check_tokens(kind: str, tokens: object, shape: tuple[int, ...], stride: int) -> None:
    """Hold what a stem or a downsampling of yours returned to the shape that the network expects.

    Raises:
        ConfigError: it has another shape, or is no tensor.
    """
    returned = list(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
    if returned != list(shape):
        raise ConfigError(
            f'kind "{kind}" returned {returned}, but must return {list(shape)}, which is [T, B, C, H / stride, '
            f"W / stride] for stride {stride}. Correct its forward, or give the stride by which it divides the image",
            ("kind", "stride"),
        )
