"""Triton kernels of `spikformer.spiking` for CUDA: all time steps of a neuron in registers, one pass over memory.

Currents are [T, n], contiguous; the membrane is float32. `backward` computes the membranes anew from the currents, so
that two bytes a number are kept for bfloat16 and not four: these kernels wait for memory, not for arithmetic. Sizes,
time constants and thresholds are arguments at run time: a kernel is compiled once for each T, type and kind of neuron.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BLOCK = 512
CHARGES = {"lif": 0, "plif": 1, "if": 2}
SURROGATES = {"sigmoid": 0, "atan": 1}
# Fused multiplications and additions would round once where SpikingJelly rounds twice.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}


@triton.jit  # type: ignore[untyped-decorator]
def _charged(v, x, leak, CHARGE: tl.constexpr):  # type: ignore[no-untyped-def]
    if CHARGE == 0:
        h = v + tl.math.div_rn(x - v, leak)  # rounded as IEEE 754 has it, unlike `/`
    elif CHARGE == 1:
        h = v + (x - v) * leak
    else:
        h = v + x
    return h


@triton.jit  # type: ignore[untyped-decorator]
def _slope(u, SURROGATE: tl.constexpr):  # type: ignore[no-untyped-def]
    if SURROGATE == 0:
        sigma = 1 / (1 + tl.exp(-4 * u))
        slope = 4 * sigma * (1 - sigma)
    else:
        slope = 1 / (1 + 9.869604401089358 * u * u)  # pi squared
    return slope


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    x_ptr, spikes_ptr, leak, threshold, n, T: tl.constexpr, CHARGE: tl.constexpr, BLOCK: tl.constexpr
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < n
    if CHARGE == 1:
        leak = tl.load(leak)
    v = tl.zeros([BLOCK], tl.float32)
    for t in tl.static_range(T):
        x = tl.load(x_ptr + t * n.to(tl.int64) + place, inside, 0.0).to(tl.float32)
        h = _charged(v, x, leak, CHARGE)
        fires = h >= threshold
        tl.store(spikes_ptr + t * n.to(tl.int64) + place, tl.where(fires, 1.0, 0.0), inside)
        v = tl.where(fires, 0.0, h)


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    gradient_ptr,
    x_ptr,
    dx_ptr,
    drate_ptr,
    leak,
    threshold,
    n,
    T: tl.constexpr,
    CHARGE: tl.constexpr,
    SURROGATE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < n
    if CHARGE == 1:
        leak = tl.load(leak)
    dv = tl.zeros([BLOCK], tl.float32)
    drate = tl.zeros([BLOCK], tl.float32)
    for back in tl.static_range(T):
        t = T - 1 - back
        v = tl.zeros([BLOCK], tl.float32)
        for before in tl.static_range(T - 1 - back):  # anew from rest: these currents are in the cache by now
            x = tl.load(x_ptr + before * n.to(tl.int64) + place, inside, 0.0).to(tl.float32)
            h = _charged(v, x, leak, CHARGE)
            v = tl.where(h >= threshold, 0.0, h)
        x = tl.load(x_ptr + t * n.to(tl.int64) + place, inside, 0.0).to(tl.float32)
        h = _charged(v, x, leak, CHARGE)
        gradient = tl.load(gradient_ptr + t * n.to(tl.int64) + place, inside, 0.0).to(tl.float32)
        dh = gradient * _slope(h - threshold, SURROGATE) + tl.where(h >= threshold, 0.0, dv)
        if CHARGE == 0:
            dx = tl.math.div_rn(dh, leak)
            dv = dh - dx
        elif CHARGE == 1:
            dx = dh * leak
            dv = dh - dx
            drate += dh * (x - v)
        else:
            dx = dh
            dv = dh
        tl.store(dx_ptr + t * n.to(tl.int64) + place, dx, inside)
    if CHARGE == 1:
        tl.store(drate_ptr + tl.program_id(0), tl.sum(drate, 0))


def forward(x_Tn: Tensor, leak: Tensor | float, charge: str, threshold: float, keep: bool) -> tuple[Tensor, None]:
    """Spikes of currents; see `spikformer.spiking`."""
    steps, n = x_Tn.shape
    spikes_Tn = torch.empty_like(x_Tn)
    with _on(x_Tn):
        forward_kernel[(triton.cdiv(n, BLOCK),)](
            x_Tn, spikes_Tn, leak, threshold, n, T=steps, CHARGE=CHARGES[charge], BLOCK=BLOCK, **OPTIONS
        )
    return spikes_Tn, None


def backward(
    gradient_Tn: Tensor,
    x_Tn: Tensor,
    _h_Tn: None,
    leak: Tensor | float,
    charge: str,
    threshold: float,
    surrogate: str,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the currents and of a learned rate."""
    steps, n = x_Tn.shape
    dx_Tn = torch.empty_like(x_Tn)
    programs = triton.cdiv(n, BLOCK)
    drates = torch.empty(programs if charge == "plif" else 1, dtype=torch.float32, device=x_Tn.device)
    with _on(x_Tn):
        backward_kernel[(programs,)](
            gradient_Tn,
            x_Tn,
            dx_Tn,
            drates,
            leak,
            threshold,
            n,
            T=steps,
            CHARGE=CHARGES[charge],
            SURROGATE=SURROGATES[surrogate],
            BLOCK=BLOCK,
            **OPTIONS,
        )
    return dx_Tn, drates.sum() if charge == "plif" else None


def _on(x: Tensor) -> Any:
    """Triton starts kernels on the current device, which need not be that of `x`."""
    return torch.cuda.device_of(x)
