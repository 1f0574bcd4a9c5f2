"""Leaky, learned and plain integrate-and-fire as one differentiable operation over all time steps.

`lif`, `plif` and `if_` take the currents of a sequence, [T, ...], start from rest and return its spikes, [T, ...]:

    h[t] = v[t-1] + (x[t] - v[t-1]) / tau    (lif)      s[t] = [h[t] >= threshold]
    h[t] = v[t-1] + (x[t] - v[t-1]) sigmoid(w)  (plif)  v[t] = (1 - s[t]) h[t]
    h[t] = v[t-1] + x[t]                      (if_)

(Fang et al., "Incorporating Learnable Membrane Time Constant", ICCV 2021, eq. 3 to 5, resting and reset at 0). The
reset carries no gradient; s[t] has the slope of its surrogate instead of its own:

    "sigmoid": 4 sigma(4 u) (1 - sigma(4 u)),  "atan": 1 / (1 + (pi u)^2),  u = h - threshold.

The membrane is float32, for float64 currents float64, and spikes are of the currents' type. The order of the
operations is SpikingJelly's, so that spikes are equal to its, bit for bit, with every implementation.
"""

import functools
import logging
import math
import types
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import _get_current_dispatch_mode

Implementation = Literal["auto", "eager", "compiled", "spikingjelly"]
Surrogate = Literal["sigmoid", "atan"]
Charge = Literal["lif", "plif", "if"]

_log = logging.getLogger(__name__)
_chosen: Implementation = "auto"


def use(implementation: Implementation) -> None:
    """Chooses for this process how neurons are computed, from the next call on. Spikes stay the same.

    * "auto", at the start: Triton on CUDA, PyTorch operations elsewhere.
    * "eager": PyTorch operations everywhere.
    * "compiled": as "auto", but compiled by torch on the CPU, once for each number of time steps, type, kind of
      neuron and surrogate. The first call of each takes about 20 seconds, less from torch's cache on disk: for a
      training that is long enough. Without a C++ compiler as "auto".
    * "spikingjelly": the functions of that library, by `spikformer.neurons`.

    Raises:
        ValueError: none of these.
    """
    global _chosen
    if implementation not in get_args(Implementation):
        raise ValueError(f"implementation {implementation!r} is not one of {', '.join(get_args(Implementation))}")
    _chosen = implementation


def in_use() -> Implementation:
    """What `use` chose last."""
    return _chosen


def lif(x_T: Tensor, tau: float, threshold: float, surrogate: Surrogate) -> Tensor:
    """Spikes [T, ...] of currents [T, ...], of type and strides of `x_T`; a leak of time constant `tau`, in steps."""
    return _fire(x_T, tau, None, "lif", threshold, surrogate)


def plif(x_T: Tensor, w: Tensor, threshold: float, surrogate: Surrogate) -> Tensor:
    """As `lif` of tau = 1 / sigmoid(w); `w` is a number, [], and gets a gradient."""
    rate = (w if x_T.dtype == torch.float64 else w.float()).sigmoid()
    return _fire(x_T, 1.0, rate, "plif", threshold, surrogate)


def if_(x_T: Tensor, threshold: float, surrogate: Surrogate) -> Tensor:
    """As `lif` without a leak: currents add up until a spike."""
    return _fire(x_T, 1.0, None, "if", threshold, surrogate)


def _fire(
    x_T: Tensor, tau: float, rate: Tensor | None, charge: Charge, threshold: float, surrogate: Surrogate
) -> Tensor:
    if torch.compiler.is_exporting():  # plain operations on any shape: nothing in place, no order of memory
        like = torch.empty((), dtype=_membrane_type(x_T))
        leak = _number(tau if rate is None else rate, like)
        return _steps_forward(x_T, leak, _number(threshold, like), charge)[0]
    spikes_T: Tensor = _Fire.apply(x_T, rate, tau, charge, threshold, surrogate)
    return spikes_T


class _Fire(torch.autograd.Function):
    """The kernels work on [T, n], n in the order of storage: no format of memory needs a kernel of its own.

    Currents may have a stride of 0 in time; all else is contiguous.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_T: Tensor,
        rate: Tensor | None,
        tau: float,
        charge: Charge,
        threshold: float,
        surrogate: Surrogate,
    ) -> Tensor:
        order = _storage_order(x_T)
        # One step that stands for all, as of a static image, is read T times and copied never.
        x_Tn = _in_order(x_T[:1], order).expand(len(x_T), -1) if x_T.stride(0) == 0 else _in_order(x_T, order)
        kernels = _kernels(x_Tn)
        leak = rate if rate is not None else tau
        kept_for_backward = any(ctx.needs_input_grad)
        spikes_Tn, h_Tn = kernels.forward(x_Tn, leak, charge, threshold, kept_for_backward)
        if kept_for_backward:
            ctx.save_for_backward(x_Tn if rate is not None or h_Tn is None else None, h_Tn, rate)
            ctx.settings = kernels, order, x_T.dtype, tau, charge, threshold, surrogate
        return _out_of_order(spikes_Tn, x_T.shape, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_T: Tensor) -> tuple[Tensor, Tensor | None, None, None, None, None]:  # pyrefly: ignore[bad-override]
        kernels, order, dtype, tau, charge, threshold, surrogate = ctx.settings
        x_Tn, h_Tn, rate = ctx.saved_tensors
        leak = rate if rate is not None else tau
        gradient_Tn = _in_order(gradient_T, order)
        dx_Tn, drate = kernels.backward(gradient_Tn, x_Tn, h_Tn, leak, charge, threshold, surrogate)
        return _out_of_order(dx_Tn.to(dtype), gradient_T.shape, order), drate, None, None, None, None


# Batch norm and neuron in one


def fuses_norm(x: Tensor, norm: nn.Module) -> bool:
    """Whether `normed` has a kernel for the batch norm behind a convolution of `x`: on CUDA."""
    return (
        x.is_cuda
        and _chosen in ("auto", "compiled")
        and type(x) is Tensor
        and x.numel() > 0
        and type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.running_mean is not None
        and norm.momentum is not None
        and _triton_kernels(x.dtype) is not _EAGER
        and _runs_triton(x.device)
    )


def normed(
    y_nCHW: Tensor,
    norm: nn.BatchNorm2d,
    time_steps: int,
    tau: float,
    charge: Literal["lif", "if"],
    threshold: float,
    surrogate: Surrogate,
) -> Tensor:
    """Spikes of `norm(y)` in one kernel, which keeps only y for backward; moves the running statistics as `norm` does.

    The normalised numbers stay float32, where batch norm and then a neuron would round them to the type of y.

    Args:
        y_nCHW: [T*B, C, H, W], time in front of the batch.
        norm: for which `fuses_norm` holds.

    Returns:
        [T*B, C, H, W], in the layout of y.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if not (y_nCHW.is_contiguous() or y_nCHW.is_contiguous(memory_format=torch.channels_last)):
        y_nCHW = y_nCHW.contiguous()
    if norm.training:
        mean_C, variance_C = _batch_statistics(y_nCHW.detach(), norm, time_steps)
    else:
        mean_C, variance_C = norm.running_mean.float(), norm.running_var.float()
    deviation_C = (variance_C + norm.eps).sqrt()
    spikes_nCHW: Tensor = _NormedFire.apply(
        y_nCHW,
        norm.weight,
        norm.bias,
        mean_C,
        deviation_C,
        norm.training,
        time_steps,
        tau,
        charge,
        threshold,
        surrogate,
    )
    return spikes_nCHW


def _batch_statistics(y_nCHW: Tensor, norm: nn.BatchNorm2d, time_steps: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance a channel; as in `nn.BatchNorm2d`, the unbiased one joins the running variance."""
    from spikformer import spiking_kernels

    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    count = y_nCHW.numel() // y_nCHW.shape[1]
    if count == 1:
        raise ValueError(f"batch norm needs more than one value per channel to train, got {tuple(y_nCHW.shape)}")
    mean_C, variance_C = spiking_kernels.statistics(y_nCHW, time_steps)
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean_C.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_((variance_C * (count / (count - 1))).to(norm.running_var.dtype), norm.momentum)
    return mean_C, variance_C


class _NormedFire(torch.autograd.Function):
    """z = (y - mean) weight / deviation + bias, then the neuron.

    Backward, with the sums over a channel's N numbers (Ioffe and Szegedy, ICML 2015):
    dy = weight / deviation (dz - sum(dz) / N - (y - mean) / deviation^2 sum(dz (y - mean)) / N); without the two
    sums where the statistics are constants.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y_nCHW: Tensor,
        weight_C: Tensor,
        bias_C: Tensor,
        mean_C: Tensor,
        deviation_C: Tensor,
        of_batch: bool,
        time_steps: int,
        tau: float,
        charge: Charge,
        threshold: float,
        surrogate: Surrogate,
    ) -> Tensor:
        from spikformer import spiking_kernels

        scale_C = weight_C.float() / deviation_C
        ctx.save_for_backward(y_nCHW, mean_C, deviation_C, scale_C, bias_C)
        ctx.of_batch, ctx.neuron = of_batch, (time_steps, tau, charge, threshold, surrogate)
        return spiking_kernels.norm_forward(y_nCHW, mean_C, scale_C, bias_C.float(), time_steps, tau, charge, threshold)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_nCHW: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore[bad-override]
        from spikformer import spiking_kernels

        y_nCHW, mean_C, deviation_C, scale_C, bias_C = ctx.saved_tensors
        layout = torch.contiguous_format if y_nCHW.is_contiguous() else torch.channels_last
        gradient_nCHW = gradient_nCHW.contiguous(memory_format=layout)
        dz_nCHW, sum_C, product_C = spiking_kernels.norm_backward(
            gradient_nCHW, y_nCHW, mean_C, scale_C, bias_C.float(), *ctx.neuron
        )
        share = y_nCHW.shape[1] / y_nCHW.numel() if ctx.of_batch else 0.0
        numbers = (mean_C, scale_C, sum_C, product_C, deviation_C, share)
        dy_nCHW = spiking_kernels.norm_finish(dz_nCHW, y_nCHW, *numbers, time_steps=ctx.neuron[0])
        dweight_C = (product_C / deviation_C).to(bias_C.dtype)
        return dy_nCHW, dweight_C, sum_C.to(bias_C.dtype), *[None] * 8


# Memory


def _storage_order(x_T: Tensor) -> list[int]:
    """Axes, time first, then from the slowest in memory to the fastest."""
    return [0, *sorted(range(1, x_T.dim()), key=x_T.stride, reverse=True)]


def _in_order(x_T: Tensor, order: list[int]) -> Tensor:
    """As [T, n], contiguous: a view if the order is that of the memory, which then has no gaps."""
    return x_T.permute(order).contiguous().view(x_T.shape[0], x_T[0].numel())


def _out_of_order(x_Tn: Tensor, shape: torch.Size, order: list[int]) -> Tensor:
    """What `_in_order` did, undone, as a view."""
    back = sorted(range(len(order)), key=order.__getitem__)
    return x_Tn.view([shape[axis] for axis in order]).permute(back)


# Choice


class _Kernels:
    """How [T, n] is computed.

    `forward` returns the spikes and, if asked to, the charged membranes h, or None where they are computed anew for
    `backward`. `backward` returns the gradients of the currents, of any type, and of a learned rate.
    """

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        self.forward, self.backward = forward, backward


def _kernels(x_Tn: Tensor) -> _Kernels:
    if _chosen == "eager" or type(x_Tn) is not Tensor or not x_Tn.numel():
        return _EAGER
    if x_Tn.is_cuda:
        return _triton_kernels(x_Tn.dtype) if _runs_triton(x_Tn.device) else _EAGER
    # A compiled function hides its operations from a dispatch mode, such as a counter's, or fails under it; and of
    # one number torch would make a case of its own.
    if _chosen == "compiled" and x_Tn.is_cpu and x_Tn.shape[1] > 1 and _get_current_dispatch_mode() is None:
        return _COMPILED if _finds_compiler() else _EAGER
    return _EAGER


@functools.cache
def _finds_compiler() -> bool:
    from torch._inductor import cpp_builder, exc  # slow to import

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        _log.warning("neurons run step by step on the CPU, which is slower: there is no C++ compiler to compile them")
        return False
    return True


@functools.cache  # so that each reason is told once
def _triton_kernels(dtype: torch.dtype) -> _Kernels:
    try:
        from spikformer import spiking_kernels
    except ImportError as error:
        _log.warning("neurons run step by step on this GPU, which is slower: Triton cannot be imported (%s)", error)
        return _EAGER
    if dtype not in spiking_kernels.DTYPES:
        _log.warning("neurons run step by step on this GPU, which is slower: there is no Triton kernel for %s", dtype)
        return _EAGER
    return _Kernels(spiking_kernels.forward, spiking_kernels.backward)


_RUNS_TRITON: dict[torch.device, bool] = {}  # no functools.cache, through which torch.compile would trace the check


def _runs_triton(device: torch.device) -> bool:
    """Whether the kernels do on a few numbers what PyTorch does: a card, a driver or a version of Triton may fail."""
    if device not in _RUNS_TRITON:
        _RUNS_TRITON[device] = _check_triton(device)
    return _RUNS_TRITON[device]


def prepare(device: torch.device) -> None:
    """Check the kernels of a GPU now and not when they are first used, which torch.compile cannot trace."""
    if device.type == "cuda":
        _runs_triton(device)


def _check_triton(device: torch.device) -> bool:
    try:
        # The answer is kept for the process, so it must not depend on where it is asked first: inference mode has no
        # gradients.
        with torch.inference_mode(False):
            agree = _kernels_agree(device)
    except Exception as error:  # whatever a compiler or a driver raises
        _log.warning("neurons run step by step on %s, which is slower: Triton's kernels fail on it (%s)", device, error)
        return False
    if not agree:
        _log.warning(
            "neurons run step by step on %s, which is slower: Triton's kernels compute something else on it", device
        )
    return agree


def _kernels_agree(device: torch.device) -> bool:
    if _triton_kernels(torch.float32) is _EAGER:
        return True  # told already
    generator = torch.Generator().manual_seed(0)
    y_nCHW, gradient = (torch.randn(4, 3, 5, 5, generator=generator).to(device) for _ in range(2))
    norm = nn.BatchNorm2d(3, device=device)
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        fused_y, expected_y = y_nCHW.clone().requires_grad_(), y_nCHW.clone().requires_grad_()
        fused = normed(fused_y, norm, 2, 2.0, "lif", 0.5, "sigmoid")
        z_nCHW = norm(expected_y)
        expected, dz_nCHW = _by_pytorch(z_nCHW, gradient)
        fused.backward(gradient)
        z_nCHW.backward(dz_nCHW)
    currents_Tn = y_nCHW.reshape(2, -1)
    spikes_Tn, _ = _triton_kernels(torch.float32).forward(currents_Tn, 2.0, "lif", 0.5, True)
    assert fused_y.grad is not None
    assert expected_y.grad is not None
    plain_Tn, _ = _EAGER.forward(currents_Tn, 2.0, "lif", 0.5, True)
    pairs = ((fused, expected), (fused_y.grad, expected_y.grad), (spikes_Tn, plain_Tn))
    return all(bool((a - b).norm() <= 0.05 * b.norm()) for a, b in pairs)


def _by_pytorch(z_nCHW: Tensor, gradient_nCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes of T = 2 steps, and the gradient of z, by PyTorch's operations."""
    z_Tn, gradient_Tn = (x.detach().reshape(2, -1) for x in (z_nCHW, gradient_nCHW))
    spikes_Tn, h_Tn = _EAGER.forward(z_Tn, 2.0, "lif", 0.5, True)
    dz_Tn, _ = _EAGER.backward(gradient_Tn, z_Tn, h_Tn, 2.0, "lif", 0.5, "sigmoid")
    return spikes_Tn.view_as(z_nCHW), dz_Tn.view_as(z_nCHW)


# PyTorch operations, in place: few passes over memory, and no graph of autograd. Comparisons are written as numbers:
# tensors of truth values are slow on the CPU.


def _membrane_type(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _eager_forward(
    x_Tn: Tensor, leak: Tensor | float, charge: Charge, threshold: float, keep: bool
) -> tuple[Tensor, Tensor]:
    h_Tn = torch.empty(x_Tn.shape, dtype=_membrane_type(x_Tn), device=x_Tn.device).copy_(x_Tn)
    if x_Tn.is_cuda and not isinstance(leak, Tensor):
        # By a number CUDA divides as by its reciprocal, which rounds differently; by a tensor it divides.
        leak = torch.full((), leak, dtype=h_Tn.dtype, device=x_Tn.device)
    spikes_Tn = torch.empty_like(x_Tn, memory_format=torch.contiguous_format)
    v = None
    for h, spikes in zip(h_Tn, spikes_Tn, strict=True):
        _charge_(h, v, charge, leak)
        torch.ge(h, threshold, out=spikes)
        v = _reset(h, spikes)
    return spikes_Tn, h_Tn


def _charge_(h: Tensor, v: Tensor | None, charge: Charge, leak: Tensor | float) -> None:
    """`h`, which holds the currents, becomes the charged membrane; `v` is None at rest."""
    if charge != "if":
        if v is not None:
            h.sub_(v)
        h.mul_(leak) if charge == "plif" else h.div_(leak)
    if v is not None:
        h.add_(v)


def _reset(h: Tensor, spikes: Tensor) -> Tensor:
    return torch.addcmul(h, h, spikes, value=-1)  # h - h s: exactly h, or 0


def _eager_backward(
    gradient_Tn: Tensor,
    x_Tn: Tensor | None,
    h_Tn: Tensor,
    leak: Tensor | float,
    charge: Charge,
    threshold: float,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor | None]:
    dx_Tn = torch.empty_like(h_Tn)
    drate = torch.zeros_like(leak) if isinstance(leak, Tensor) else None
    share = leak if charge == "plif" else 1 / leak  # of a current that reaches the membrane
    dv = None
    for t in reversed(range(len(h_Tn))):
        dh = _times_slope(gradient_Tn[t], h_Tn[t], threshold, surrogate)
        if dv is not None:
            dh.add_(_reset(dv, _fired(h_Tn[t], threshold)))
        dv = dh
        torch.mul(dh, share, out=dx_Tn[t])
        if drate is not None:
            assert x_Tn is not None
            driven = x_Tn[t] - _reset(h_Tn[t - 1], _fired(h_Tn[t - 1], threshold)) if t else x_Tn[t]
            drate += (dh * driven).sum()
        if charge != "if":
            dv.sub_(dx_Tn[t])
    return dx_Tn, drate


def _fired(h: Tensor, threshold: float) -> Tensor:
    return torch.ge(h, threshold, out=torch.empty_like(h))


def _times_slope(gradient: Tensor, h: Tensor, threshold: float, surrogate: Surrogate) -> Tensor:
    """A gradient of spikes times ds/dh of the surrogate."""
    u = h - threshold
    if surrogate == "atan":
        u.mul_(math.pi)
        return torch.div(gradient, u.mul_(u).add_(1), out=u)
    sigma = u.mul_(4).sigmoid_()
    return torch.ops.aten.sigmoid_backward(gradient.to(h.dtype), sigma).mul_(4)


_EAGER = _Kernels(_eager_forward, _eager_backward)


# Compiled for the CPU: the same formulas, in one pass over memory


def _steps_forward(x_Tn: Tensor, leak: Tensor, threshold: Tensor, charge: Charge) -> tuple[Tensor, Tensor]:
    membranes, v = [], torch.zeros_like(x_Tn[0], dtype=leak.dtype)
    for x in x_Tn:
        driven = x - v if charge != "if" else x
        h = v + (driven / leak if charge == "lif" else driven * leak)
        membranes.append(h)
        v = torch.where(h >= threshold, 0.0, h)
    h_Tn = torch.stack(membranes)
    return (h_Tn >= threshold).to(x_Tn.dtype), h_Tn


def _steps_backward(
    gradient_Tn: Tensor,
    x_Tn: Tensor | None,
    h_Tn: Tensor,
    share: Tensor,
    threshold: Tensor,
    charge: Charge,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor | None]:
    """`drate` is left [n], to be summed up: a sum is compiled anew for small and for large n."""
    gradients: list[Tensor] = []
    drate_n = torch.zeros_like(h_Tn[0])
    dv = torch.zeros_like(h_Tn[0])
    for t in reversed(range(len(h_Tn))):
        u = h_Tn[t] - threshold
        sigma = (4 * u).sigmoid()
        slope = 1 / (1 + (math.pi * u) ** 2) if surrogate == "atan" else (1 - sigma) * sigma * 4
        dh = gradient_Tn[t] * slope + torch.where(u >= 0, 0.0, dv)
        gradients.insert(0, dh if charge == "if" else dh * share)
        dv = dh if charge == "if" else dh - gradients[0]
        if x_Tn is not None:
            v = torch.where(h_Tn[t - 1] >= threshold, 0.0, h_Tn[t - 1]) if t else 0.0
            drate_n = drate_n + dh * (x_Tn[t] - v)
    return torch.stack(gradients).to(gradient_Tn.dtype), None if x_Tn is None else drate_n


@functools.cache
def _compiled(function: types.FunctionType, *variant: object) -> Callable[..., Any]:
    """`function` for a number of time steps and types, for every size, time constant and threshold.

    Each variant is code of its own: torch allows few compilations of one, eight, and would then stop.
    """
    code = function.__code__.replace(co_name="_".join(map(str, (function.__name__, *variant))).replace(".", "_"))
    return torch.compile(types.FunctionType(code, function.__globals__), dynamic=True, fullgraph=True)


def _compiled_forward(
    x_Tn: Tensor, leak: Tensor | float, charge: Charge, threshold: float, keep: bool
) -> tuple[Tensor, Tensor]:
    steps = _compiled(_steps_forward, len(x_Tn), x_Tn.dtype, charge)
    like = torch.empty((), dtype=_membrane_type(x_Tn))
    return steps(_unrelated(x_Tn.contiguous()), _number(leak, like), _number(threshold, like), charge)


def _compiled_backward(
    gradient_Tn: Tensor,
    x_Tn: Tensor | None,
    h_Tn: Tensor,
    leak: Tensor | float,
    charge: Charge,
    threshold: float,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor | None]:
    steps = _compiled(_steps_backward, len(h_Tn), gradient_Tn.dtype, charge, surrogate)
    share = leak if charge == "plif" else 1 / leak
    numbers = (_number(share, h_Tn), _number(threshold, h_Tn))
    inputs = (_unrelated(gradient_Tn), None if x_Tn is None else _unrelated(x_Tn.contiguous()), h_Tn)
    dx_Tn, drate_n = steps(*inputs, *numbers, charge, surrogate)
    return dx_Tn, None if drate_n is None else drate_n.sum()


def _unrelated(view: Tensor) -> Tensor:
    """The same memory, not known to be a view: torch would compile anew for each shape that it is a view of."""
    return view.data


def _number(value: Tensor | float, like: Tensor) -> Tensor:
    """As a tensor, []: torch would compile anew for each number of Python."""
    return value.detach().to(like) if isinstance(value, Tensor) else torch.tensor(value, dtype=like.dtype)


_COMPILED = _Kernels(_compiled_forward, _compiled_backward)
