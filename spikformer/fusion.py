"""The deployable form of a trained network: batch norm folded into the convolution before it, chains merged into one.

In eval mode batch norm is a constant factor and addend a channel, so it folds into the convolution before it, and
convolutions without a neuron between them are one (Ding et al., RepVGG, CVPR 2021; Yao et al., Meta-SpikeFormer,
ICLR 2024). What is left is what a neuromorphic chip runs: spikes that select weights to be added.
`real_multiplications` names the exceptions.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikformer.channel_mixers import GroupWiseFFN, SpikingMLP
from spikformer.layers import Conv2d, ConvBN, RepConv, RepLinear, Residual, Unit
from spikformer.model import Spikformer
from spikformer.operands import Operands
from spikformer.stems import ImageEncoding
from spikformer.token_mixers import DepthwiseConv, DualSpikeAttention, SeparableConv, SpikingAttention


def fuse(model: Spikformer) -> Spikformer:
    """A new network in eval mode, without the batch norms and chains of convolutions of `model`, equal in its logits.

    Every `ConvBN` becomes one convolution under the path of the one that it had, `...conv.conv`. So do, merged,
    `RepConv`, `RepLinear` and a depthwise and a 1x1 convolution in a row; merged weights are dense, which may cost more
    additions than the chain did. A layer scale goes into the convolution before it. Computed in float64, then rounded
    to the weights' type: equal up to rounding, which in float32 may flip a spike now and then.

    These stay as they are: batch norms outside of a `ConvBN`, a `ConvBN` around a module of your own or with a forward
    of your own, the layer scale of a block of your own, and the constant per head that DSSA scales by.

    Args:
        model: network to fuse, which stays unchanged. The new network has the same config, which describes it before
            fusing. So weights of one do not load into a network built from the other.
    """
    fused = copy.deepcopy(model)
    with torch.no_grad():
        for module in list(fused.modules()):
            if isinstance(module, ConvBN):
                _fuse_conv_bn(module)
        for module in fused.modules():
            if isinstance(module, Residual):
                _fold_layer_scale(module)
    return fused.eval()


def real_multiplications(model: nn.Module) -> list[str]:
    """What multiplies by real numbers when `model` runs: "path: reason" each; empty if it only ever adds.

    Read off the network, not off a batch. Listed are

    * layers whose weights meet real numbers, by the operand that they declare, or that declare none;
    * products of activations all of which are real;
    * batch norms and other normalisations, also those that `fuse` would fold: unfused, they run;
    * layer scales.

    Not listed, as no cost counts them: what neurons do inside (leaks, learned time constants), constant factors of
    attention, means. Nor what a forward of your own multiplies without declaring it: costs refuse that network.
    """
    return [
        f"{f'{path}.{name}'.strip('.')}: {reason}"
        for path, module in model.named_modules()
        for name, reason in _multiplications(module)
    ]


def _multiplications(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Name inside of `module`, "" for itself, and reason."""
    declared: Operands | None = getattr(module, "operands", None)  # pyrefly: ignore[bad-assignment]
    has_weight = any(parameter.dim() > 1 for parameter in module.parameters(recurse=False))
    if declared is None and isinstance(module, _WEIGHTED):
        yield "", "declares no operand"
    for factors in declared or ():
        if all(factor.kind == "real" for factor in factors) and (len(factors) > 1 or has_weight):
            yield "", "product of real numbers" if len(factors) > 1 else "weights meet real numbers"
    if isinstance(module, _NORMS):
        yield "", "normalisation"
    if isinstance(module, Residual) and module.layer_scale is not None:
        yield "layer_scale", "layer scale"


_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class _Convolution(NamedTuple):
    """In float64: kernel [O, I, k, k], O outputs, I inputs of a group, and bias [O]."""

    kernel: Tensor
    bias: Tensor


def _fuse_conv_bn(module: ConvBN) -> None:
    """Convolution and batch norm as one convolution, where both are of a kind known here."""
    if type(module).forward not in (ConvBN.forward, ImageEncoding.forward) or not _folds(module.norm):
        return
    merge = _MERGES.get(type(module.conv))
    conv = merge(module.conv) if merge else copy.deepcopy(module.conv)  # another layer may share it
    last = conv
    if type(conv) is nn.Sequential and len(conv):
        last = conv[-1] = copy.deepcopy(conv[-1])
    if not isinstance(last, nn.Conv2d) or type(last) not in (nn.Conv2d, Conv2d) or "weight" not in last._parameters:
        return
    _set(last, _normed(_convolution(last), module.norm), like=next(module.conv.parameters()))
    module.conv, module.norm = conv, nn.Identity()  # pyrefly: ignore[bad-assignment]  # no norm is left, nor its statistics


def _folds(norm: nn.Module) -> bool:
    """Whether it is a batch norm that is constant in eval mode."""
    if not isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm):
        return False
    return type(norm) in (nn.BatchNorm2d, nn.SyncBatchNorm) and norm.affine and norm.track_running_stats


def _convolution(conv: nn.Conv2d) -> _Convolution:
    kernel_OIkk = _exact(conv.weight)
    bias_O = kernel_OIkk.new_zeros(conv.out_channels) if conv.bias is None else _exact(conv.bias)
    return _Convolution(kernel_OIkk, bias_O)


def _normed(conv: _Convolution, norm: nn.BatchNorm2d) -> _Convolution:
    """Batch norm of a convolution, as a convolution: s (W x + b) + t = (s W) x + (s b + t).

    s = gamma / sqrt(variance + eps), t = beta - s mean, a channel (Ding et al., RepVGG, CVPR 2021, eq. 3).
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    s_O = _exact(norm.weight) / (_exact(norm.running_var) + norm.eps).sqrt()
    t_O = _exact(norm.bias) - s_O * _exact(norm.running_mean)
    return _Convolution(s_O[:, None, None, None] * conv.kernel, s_O * conv.bias + t_O)


def _after_pointwise(first: _Convolution, second: _Convolution) -> _Convolution:
    """A 1x1 convolution A, a, then one of k x k B, b: W_oiuv = sum_c B_ocuv A_ci, bias_o = b_o + sum_cuv B_ocuv a_c.

    Ding et al., Diverse Branch Block, CVPR 2021, transform III.

    Exact at the border too if the image between both is padded by a, not by 0: zeros around the input are then what the
    first convolution makes that border of, A 0 + a = a.
    """
    kernel_OIkk = torch.einsum("ocuv,ci->oiuv", second.kernel, first.kernel[:, :, 0, 0])
    return _Convolution(kernel_OIkk, second.bias + torch.einsum("ocuv,c->o", second.kernel, first.bias))


def _after_depthwise(depthwise: _Convolution, pointwise: _Convolution) -> _Convolution:
    """A depthwise k x k convolution A, a, then a 1x1 B, b: W_ocuv = B_oc A_cuv, bias_o = b_o + sum_c B_oc a_c.

    Exact at the border too: only the depthwise convolution pads, and so does the merged one, alike.
    """
    kernel_OIkk = pointwise.kernel * depthwise.kernel.transpose(0, 1)
    return _Convolution(kernel_OIkk, pointwise.bias + pointwise.kernel[:, :, 0, 0] @ depthwise.bias)


def _merged_rep_conv(rep: RepConv) -> Conv2d:
    """1x1, batch norm, depthwise 3x3, 1x1, batch norm as one 3x3 (Yao et al., Meta-SpikeFormer, ICLR 2024).

    RepConv pads, after its first batch norm, by what that makes of 0. Folded, this is the first convolution's bias: the
    one padding under which the merged convolution, zero-padded, is exact at the border (`_after_pointwise`).
    """
    separable = _after_depthwise(_convolution(rep.depthwise), _convolution(rep.last))
    whole = _after_pointwise(_normed(_convolution(rep.first), rep.first_norm), separable)
    return _built(_normed(whole, rep.last_norm), fed_as=rep.first)


def _merged_rep_linear(rep: RepLinear) -> Conv2d:
    """1x1 to 1.5 times the width, batch norm, 1x1 back, batch norm as one 1x1 (Yao et al., TPAMI 2025)."""
    whole = _after_pointwise(_normed(_convolution(rep.first), rep.first_norm), _convolution(rep.last))
    return _built(_normed(whole, rep.last_norm), fed_as=rep.first)


def _merged_chain(chain: nn.Sequential) -> nn.Module:
    """A depthwise and a 1x1 convolution as one of the depthwise size (SepConv of Meta-SpikeFormer); else a copy."""
    if [type(conv) for conv in chain] != [Conv2d, Conv2d]:
        return copy.deepcopy(chain)
    depthwise, pointwise = (conv for conv in chain if isinstance(conv, Conv2d))
    by_channel = depthwise.groups == depthwise.in_channels == depthwise.out_channels
    plain = (pointwise.kernel_size, pointwise.stride, pointwise.padding) == ((1, 1), (1, 1), (0, 0))
    if not by_channel or not plain or pointwise.groups != 1:
        return copy.deepcopy(chain)
    whole = _after_depthwise(_convolution(depthwise), _convolution(pointwise))
    stride, padding = depthwise.stride[0], int(depthwise.padding[0])
    return _built(whole, fed_as=depthwise, stride=stride, padding=padding)


_MERGES: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    RepConv: _merged_rep_conv,
    RepLinear: _merged_rep_linear,
    nn.Sequential: _merged_chain,
}


def _built(conv: _Convolution, *, fed_as: Conv2d, stride: int = 1, padding: int | None = None) -> Conv2d:
    """A layer of one group that computes `conv`, still in float64, and is fed what `fed_as` was."""
    out_channels, in_channels, size, _ = conv.kernel.shape
    ((fed,),) = fed_as.operands
    with torch.device("meta"):  # no random start, which would move the generator on
        built = Conv2d(in_channels, out_channels, size, fed=fed, bias=True, stride=stride, padding=padding)
    _set(built, conv, like=conv.kernel)
    return built


def _set(layer: nn.Conv2d, conv: _Convolution, *, like: Tensor) -> None:
    """Gives a layer the weights of `conv`, of the type and on the device of `like`."""
    layer.weight = nn.Parameter(conv.kernel.to(like), requires_grad=like.requires_grad)
    layer.bias = nn.Parameter(conv.bias.to(like), requires_grad=like.requires_grad)


def _exact(tensor: Tensor) -> Tensor:
    device = "cpu" if tensor.is_mps else tensor.device  # Apple's GPUs have no float64
    return tensor.detach().to(device, torch.float64)


def _fold_layer_scale(module: Residual) -> None:
    """A factor a channel on what a convolution returns, as weights of that convolution: g (W x + b) = (g W) x + g b."""
    last = _acts_last(module.branch)
    if module.layer_scale is None or last is None:
        return
    g_O, conv = _exact(module.layer_scale), _convolution(last)
    _set(last, _Convolution(g_O[:, None, None, None] * conv.kernel, g_O * conv.bias), like=last.weight)
    module.layer_scale = None


def _acts_last(branch: nn.Module) -> Conv2d | None:
    """The convolution whose result leaves a branch as it is; None where a neuron, a pool or a block of yours does."""
    while type(branch) in _LAST:
        branch = _LAST[type(branch)](branch)
    return branch if type(branch) is Conv2d else None


_LAST: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    ConvBN: lambda layer: layer.norm if layer.pools or not isinstance(layer.norm, nn.Identity) else layer.conv,
    Unit: lambda unit: unit.conv if unit.neuron_first else unit.neuron,
    DepthwiseConv: lambda unit: unit.conv if unit.neuron_first else unit.neuron,
    SeparableConv: lambda chain: chain[-1],
    SpikingAttention: lambda mixer: mixer.proj if isinstance(mixer.output_neuron, nn.Identity) else mixer.output_neuron,
    DualSpikeAttention: lambda mixer: mixer.proj,
    SpikingMLP: lambda mlp: mlp.contract,
    GroupWiseFFN: lambda mlp: mlp.contract,
}
