"""Triton kernels of `spikformer.spiking` for CUDA: all time steps of a neuron in registers, one pass over memory.

Currents are [T, n], contiguous but for a stride of 0 in time that they may have; the membrane is float32. `backward`
computes the membranes anew from the currents, so that two bytes a number are kept for bfloat16 and not four: these
kernels wait for memory, not for arithmetic. Sizes, time constants and thresholds are arguments at run time: a kernel is
compiled once for each T, type and kind of neuron.
"""

# pyrefly: ignore-errors[implicit-any-parameter, unannotated-return]

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BLOCK = 512
CHARGES = {"lif": 0, "plif": 1, "if": 2, "lif by product": 3}
SURROGATES = {"sigmoid": 0, "atan": 1}
# Fused multiplications and additions would round once where SpikingJelly rounds twice.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}


@triton.jit
def _charged(v, x, leak, CHARGE: tl.constexpr):
    if CHARGE == 0:
        h = v + tl.math.div_rn(x - v, leak)  # rounded as IEEE 754 has it, unlike `/`
    elif CHARGE == 2:
        h = v + x
    else:
        h = v + (x - v) * leak
    return h


@triton.jit
def _passed_on(dh, leak, CHARGE: tl.constexpr):
    """Of a charged membrane's gradient, the parts of its current and of the membrane before."""
    if CHARGE == 0:
        dx = tl.math.div_rn(dh, leak)
        dv = dh - dx
    elif CHARGE == 2:
        dx = dh
        dv = dh
    else:
        dx = dh * leak
        dv = dh - dx
    return dx, dv


@triton.jit
def _slope(u, SURROGATE: tl.constexpr):
    if SURROGATE == 0:
        e = tl.exp(-4 * tl.abs(u))  # the slope is even, and so nothing overflows
        slope = 4 * e / ((1 + e) * (1 + e))
    else:
        slope = 1 / (1 + 9.869604401089358 * u * u)  # pi squared
    return slope


@triton.jit(do_not_specialize=["x_step"])
def forward_kernel(
    x_ptr, spikes_ptr, leak, threshold, n, x_step, T: tl.constexpr, CHARGE: tl.constexpr, BLOCK: tl.constexpr
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < n
    if CHARGE == 1:
        leak = tl.load(leak)
    v = tl.zeros([BLOCK], tl.float32)
    for t in tl.static_range(T):
        x = tl.load(x_ptr + t * x_step.to(tl.int64) + place, inside, 0.0).to(tl.float32)
        h = _charged(v, x, leak, CHARGE)
        fires = h >= threshold
        tl.store(spikes_ptr + t * n.to(tl.int64) + place, tl.where(fires, 1.0, 0.0), inside)
        v = tl.where(fires, 0.0, h)


@triton.jit(do_not_specialize=["x_step"])
def backward_kernel(
    gradient_ptr,
    x_ptr,
    dx_ptr,
    drate_ptr,
    leak,
    threshold,
    n,
    x_step,
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
            x = tl.load(x_ptr + before * x_step.to(tl.int64) + place, inside, 0.0).to(tl.float32)
            h = _charged(v, x, leak, CHARGE)
            v = tl.where(h >= threshold, 0.0, h)
        x = tl.load(x_ptr + t * x_step.to(tl.int64) + place, inside, 0.0).to(tl.float32)
        h = _charged(v, x, leak, CHARGE)
        gradient = tl.load(gradient_ptr + t * n.to(tl.int64) + place, inside, 0.0).to(tl.float32)
        dh = gradient * _slope(h - threshold, SURROGATE) + tl.where(h >= threshold, 0.0, dv)
        dx, dv = _passed_on(dh, leak, CHARGE)
        if CHARGE == 1:
            drate += dh * (x - v)
        tl.store(dx_ptr + t * n.to(tl.int64) + place, dx, inside)
    if CHARGE == 1:
        tl.store(drate_ptr + tl.program_id(0), tl.sum(drate, 0))


def charged_by(charge: str, leak: Tensor | float) -> tuple[int, Tensor | float]:
    """How the kernels charge a membrane, and the number that they do it with.

    To divide by a power of two is to multiply by its reciprocal, bit for bit, in a tenth of the instructions; every
    published network has tau = 2.
    """
    if charge == "lif" and isinstance(leak, float) and math.frexp(leak)[0] == 0.5:
        return CHARGES["lif by product"], 1 / leak
    return CHARGES[charge], leak


def forward(x_Tn: Tensor, leak: Tensor | float, charge: str, threshold: float, keep: bool) -> tuple[Tensor, None]:
    """Spikes of currents; see `spikformer.spiking`."""
    steps, n = x_Tn.shape
    spikes_Tn = torch.empty_like(x_Tn, memory_format=torch.contiguous_format)
    code, number = charged_by(charge, leak)
    with _on(x_Tn):
        forward_kernel[(triton.cdiv(n, BLOCK),)](
            x_Tn, spikes_Tn, number, threshold, n, x_Tn.stride(0), T=steps, CHARGE=code, BLOCK=BLOCK, **OPTIONS
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
    dx_Tn = torch.empty_like(x_Tn, memory_format=torch.contiguous_format)
    code, number = charged_by(charge, leak)
    programs = triton.cdiv(n, BLOCK)
    drates = torch.empty(programs if charge == "plif" else 1, dtype=torch.float32, device=x_Tn.device)
    with _on(x_Tn):
        backward_kernel[(programs,)](
            gradient_Tn,
            x_Tn,
            dx_Tn,
            drates,
            number,
            threshold,
            n,
            x_Tn.stride(0),
            T=steps,
            CHARGE=code,
            SURROGATE=SURROGATES[surrogate],
            BLOCK=BLOCK,
            **OPTIONS,
        )
    return dx_Tn, drates.sum() if charge == "plif" else None


def _on(x: Tensor) -> torch.cuda.device_of:
    """Triton starts kernels on the current device, which need not be that of `x`."""
    return torch.cuda.device_of(x)


# Batch norm and neuron in one. A program takes a tile of PLACES (image and pixel) by CHANNELS through all time steps.


@triton.jit
def _tile(places, channels, pixels, pixel_stride, channel_stride, PLACES: tl.constexpr, CHANNELS: tl.constexpr):
    """Offsets of a tile [PLACES, CHANNELS] within a time step, what of it exists, and its channels."""
    place = tl.program_id(0).to(tl.int64) * PLACES + tl.arange(0, PLACES)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    in_image = (place // pixels) * (pixels * channels) + (place % pixels) * pixel_stride
    offset = in_image[:, None] + (channel * channel_stride)[None, :]
    return offset, (place < places)[:, None] & (channel < channels)[None, :], channel


@triton.jit
def _of_channel(pointer, channel, channels, beyond=0.0):
    return tl.load(pointer + channel, channel < channels, beyond)[None, :]


@triton.jit
def statistics_kernel(
    y_ptr,
    means_ptr,
    squares_ptr,
    places,
    channels,
    pixels,
    pixel_stride,
    channel_stride,
    T: tl.constexpr,
    PLACES: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Each tile's mean a channel and its sum of squared deviations from that mean."""
    offset, inside, channel = _tile(places, channels, pixels, pixel_stride, channel_stride, PLACES, CHANNELS)
    step = places.to(tl.int64) * channels
    count = T * tl.minimum(PLACES, places - tl.program_id(0) * PLACES)
    total = tl.zeros([PLACES, CHANNELS], tl.float32)
    for t in tl.static_range(T):
        total += tl.load(y_ptr + t * step + offset, inside, 0.0).to(tl.float32)
    mean = tl.sum(total, 0) / count
    squares = tl.zeros([PLACES, CHANNELS], tl.float32)
    for t in tl.static_range(T):
        y = tl.load(y_ptr + t * step + offset, inside, 0.0).to(tl.float32)
        squares += tl.where(inside, (y - mean[None, :]) * (y - mean[None, :]), 0.0)
    partial = tl.program_id(0) * channels + channel
    tl.store(means_ptr + partial, mean, channel < channels)
    tl.store(squares_ptr + partial, tl.sum(squares, 0), channel < channels)


@triton.jit
def norm_forward_kernel(
    y_ptr,
    spikes_ptr,
    mean_ptr,
    scale_ptr,
    bias_ptr,
    leak,
    threshold,
    places,
    channels,
    pixels,
    pixel_stride,
    channel_stride,
    T: tl.constexpr,
    CHARGE: tl.constexpr,
    PLACES: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    offset, inside, channel = _tile(places, channels, pixels, pixel_stride, channel_stride, PLACES, CHANNELS)
    step = places.to(tl.int64) * channels
    mean = _of_channel(mean_ptr, channel, channels)
    scale = _of_channel(scale_ptr, channel, channels)
    bias = _of_channel(bias_ptr, channel, channels)
    v = tl.zeros([PLACES, CHANNELS], tl.float32)
    for t in tl.static_range(T):
        y = tl.load(y_ptr + t * step + offset, inside, 0.0).to(tl.float32)
        h = _charged(v, (y - mean) * scale + bias, leak, CHARGE)
        fires = h >= threshold
        tl.store(spikes_ptr + t * step + offset, tl.where(fires, 1.0, 0.0), inside)
        v = tl.where(fires, 0.0, h)


@triton.jit
def norm_backward_kernel(
    gradient_ptr,
    y_ptr,
    dz_ptr,
    sums_ptr,
    products_ptr,
    mean_ptr,
    scale_ptr,
    bias_ptr,
    leak,
    threshold,
    places,
    channels,
    pixels,
    pixel_stride,
    channel_stride,
    T: tl.constexpr,
    CHARGE: tl.constexpr,
    SURROGATE: tl.constexpr,
    PLACES: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Gradients of the normalised numbers z, and each tile's sums a channel of dz and of dz (y - mean)."""
    offset, inside, channel = _tile(places, channels, pixels, pixel_stride, channel_stride, PLACES, CHANNELS)
    step = places.to(tl.int64) * channels
    mean = _of_channel(mean_ptr, channel, channels)
    scale = _of_channel(scale_ptr, channel, channels)
    bias = _of_channel(bias_ptr, channel, channels)
    dv = tl.zeros([PLACES, CHANNELS], tl.float32)
    sums = tl.zeros([PLACES, CHANNELS], tl.float32)
    products = tl.zeros([PLACES, CHANNELS], tl.float32)
    for back in tl.static_range(T):
        v = tl.zeros([PLACES, CHANNELS], tl.float32)
        for before in tl.static_range(T - 1 - back):
            y = tl.load(y_ptr + before * step + offset, inside, 0.0).to(tl.float32)
            h = _charged(v, (y - mean) * scale + bias, leak, CHARGE)
            v = tl.where(h >= threshold, 0.0, h)
        here = (T - 1 - back) * step + offset
        deviation = tl.load(y_ptr + here, inside, 0.0).to(tl.float32) - mean
        h = _charged(v, deviation * scale + bias, leak, CHARGE)
        gradient = tl.load(gradient_ptr + here, inside, 0.0).to(tl.float32)
        dh = gradient * _slope(h - threshold, SURROGATE) + tl.where(h >= threshold, 0.0, dv)
        dz, dv = _passed_on(dh, leak, CHARGE)
        tl.store(dz_ptr + here, dz, inside)
        sums += dz
        products += dz * deviation
    partial = tl.program_id(0) * channels + channel
    tl.store(sums_ptr + partial, tl.sum(sums, 0), channel < channels)
    tl.store(products_ptr + partial, tl.sum(products, 0), channel < channels)


@triton.jit
def norm_finish_kernel(
    dz_ptr,
    y_ptr,
    dy_ptr,
    mean_ptr,
    scale_ptr,
    sum_ptr,
    product_ptr,
    deviation_ptr,
    share,
    places,
    channels,
    pixels,
    pixel_stride,
    channel_stride,
    T: tl.constexpr,
    PLACES: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """dy = scale (dz - share sum - share product / deviation^2 (y - mean)): the rest of batch norm's backward."""
    offset, inside, channel = _tile(places, channels, pixels, pixel_stride, channel_stride, PLACES, CHANNELS)
    step = places.to(tl.int64) * channels
    mean = _of_channel(mean_ptr, channel, channels)
    scale = _of_channel(scale_ptr, channel, channels)
    deviation = _of_channel(deviation_ptr, channel, channels, 1.0)
    shared = share * _of_channel(sum_ptr, channel, channels)
    slope = tl.math.div_rn(share * _of_channel(product_ptr, channel, channels), deviation * deviation)
    for t in tl.static_range(T):
        y = tl.load(y_ptr + t * step + offset, inside, 0.0).to(tl.float32)
        dz = tl.load(dz_ptr + t * step + offset, inside, 0.0).to(tl.float32)
        tl.store(dy_ptr + t * step + offset, scale * (dz - shared - slope * (y - mean)), inside)


class Tiling:
    """How [T*B, C, H, W], in the order of NCHW or of channels_last, is cut into tiles.

    Attributes:
        grid: programs along places and along channels.
        sizes: arguments of every kernel.
        constants: the same, known when it is compiled.
    """

    def __init__(self, y_nCHW: Tensor, time_steps: int) -> None:
        n, channels, height, width = y_nCHW.shape
        pixels, places = height * width, n // time_steps * height * width
        self.channels_last = y_nCHW.is_contiguous(memory_format=torch.channels_last) and not y_nCHW.is_contiguous()
        wide = 64 if self.channels_last else 1  # neighbours in memory are channels, or pixels
        self.grid = (triton.cdiv(places, BLOCK // wide), triton.cdiv(channels, wide))
        strides = (channels, 1) if self.channels_last else (1, pixels)
        self.sizes = (places, channels, pixels, *strides)
        self.constants = {"T": time_steps, "PLACES": BLOCK // wide, "CHANNELS": wide, **OPTIONS}
        self._count = time_steps * places
        self._missing = time_steps * (self.grid[0] * (BLOCK // wide) - places)  # in the last tile

    def partials(self, like: Tensor) -> Tensor:
        """Room for two numbers a channel from each program along places, [2, P, C]."""
        return torch.empty(2, self.grid[0], like.shape[1], dtype=torch.float32, device=like.device)

    def combined(self, means_PC: Tensor, squares_PC: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance a channel from each tile's (Chan, Golub and LeVeque, 1983)."""
        if not self._missing:  # equal tiles: the variance of their means and the mean of their variances
            between_C, mean_C = torch.var_mean(means_PC, 0, correction=0)
            return mean_C, torch.add(between_C, squares_PC.sum(0), alpha=1 / self._count)
        whole = (self._count + self._missing) / self.grid[0]
        mean_C = (whole * means_PC.sum(0) - self._missing * means_PC[-1]) / self._count
        apart_PC = (means_PC - mean_C).square()
        between_C = whole * apart_PC.sum(0) - self._missing * apart_PC[-1]
        return mean_C, (squares_PC.sum(0) + between_C) / self._count


def statistics(y_nCHW: Tensor, time_steps: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance a channel, [C], float32, of numbers that are dense in memory."""
    tiling = Tiling(y_nCHW, time_steps)
    means_PC, squares_PC = tiling.partials(y_nCHW)
    with _on(y_nCHW):
        statistics_kernel[tiling.grid](y_nCHW, means_PC, squares_PC, *tiling.sizes, **tiling.constants)
    return tiling.combined(means_PC, squares_PC)


def norm_forward(
    y_nCHW: Tensor,
    mean_C: Tensor,
    scale_C: Tensor,
    bias_C: Tensor,
    time_steps: int,
    tau: float,
    charge: str,
    threshold: float,
) -> Tensor:
    """Spikes of (y - mean) scale + bias, time in front of the batch: [T*B, C, H, W], in the layout of y."""
    tiling = Tiling(y_nCHW, time_steps)
    spikes_nCHW = torch.empty_like(y_nCHW)
    code, leak = charged_by(charge, tau)
    numbers = (mean_C, scale_C, bias_C, leak, threshold)
    with _on(y_nCHW):
        norm_forward_kernel[tiling.grid](y_nCHW, spikes_nCHW, *numbers, *tiling.sizes, CHARGE=code, **tiling.constants)
    return spikes_nCHW


def norm_backward(
    gradient_nCHW: Tensor,
    y_nCHW: Tensor,
    mean_C: Tensor,
    scale_C: Tensor,
    bias_C: Tensor,
    time_steps: int,
    tau: float,
    charge: str,
    threshold: float,
    surrogate: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients dz of the normalised numbers, and sums a channel of dz and of dz (y - mean)."""
    tiling = Tiling(y_nCHW, time_steps)
    dz_nCHW = torch.empty_like(y_nCHW)
    partials_2PC = tiling.partials(y_nCHW)
    code, leak = charged_by(charge, tau)
    numbers = (mean_C, scale_C, bias_C, leak, threshold)
    with _on(y_nCHW):
        norm_backward_kernel[tiling.grid](
            gradient_nCHW,
            y_nCHW,
            dz_nCHW,
            *partials_2PC,
            *numbers,
            *tiling.sizes,
            CHARGE=code,
            SURROGATE=SURROGATES[surrogate],
            **tiling.constants,
        )
    sum_C, product_C = partials_2PC.sum(1)
    return dz_nCHW, sum_C, product_C


def norm_finish(
    dz_nCHW: Tensor,
    y_nCHW: Tensor,
    mean_C: Tensor,
    scale_C: Tensor,
    sum_C: Tensor,
    product_C: Tensor,
    deviation_C: Tensor,
    share: float,
    time_steps: int,
) -> Tensor:
    """Gradient of y: scale (dz - share sum - share product / deviation^2 (y - mean)).

    Args:
        share: one number's of a channel's, where the statistics are the batch's; 0 where they are constants.
    """
    tiling = Tiling(y_nCHW, time_steps)
    dy_nCHW = torch.empty_like(y_nCHW)
    numbers = (mean_C, scale_C, sum_C, product_C, deviation_C, share)
    with _on(y_nCHW):
        norm_finish_kernel[tiling.grid](dz_nCHW, y_nCHW, dy_nCHW, *numbers, *tiling.sizes, **tiling.constants)
    return dy_nCHW
