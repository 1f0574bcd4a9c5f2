"""Triton's kernels in its interpreter, on the CPU, against PyTorch's operations: `TRITON_INTERPRET=1 python -m ...`.

A program of its own, because Triton reads that variable when it is imported. With the word `all` neurons run in every
combination of size, number type, charge and surrogate; without it in every seventh of these, among which
all of each is seen. Batch norms run likewise, in every third combination.
"""

import contextlib
import copy
import itertools
import sys
from typing import Any, get_args
from unittest import mock

import torch
from torch import Tensor, nn

from spikformer import spiking, spiking_kernels
from spikformer.layers import Unit, conv_bn
from spikformer.operands import REAL
from tests.helpers import small_config

CHARGES: tuple[spiking.Charge, ...] = get_args(spiking.Charge)
SURROGATES: tuple[spiking.Surrogate, ...] = get_args(spiking.Surrogate)
# The interpreter cuts bfloat16 off instead of rounding it: up to 2^-7 of a number.
TOLERANCE = {torch.float32: 5e-7, torch.bfloat16: 2**-7, torch.float16: 1e-3}


def main() -> None:
    torch.manual_seed(0)
    neurons()
    norms()
    units()
    assert spiking._kernels_agree(torch.device("cpu"))
    with mock.patch.object(spiking, "normed", side_effect=lambda y, *_rest: y * 0 + 1):
        assert not spiking._kernels_agree(torch.device("cpu"))


def neurons() -> None:
    """`spiking_kernels.forward` and `backward`."""
    sizes = ((1, 700), (2, 40), (4, 700))  # less than a block of the kernel, and more than one
    cases = list(itertools.product(sizes, spiking_kernels.DTYPES, CHARGES, SURROGATES))
    step = 1 if "all" in sys.argv else 7  # which divides none of the four counts, so that all of each is seen
    for (time_steps, n), dtype, charge, surrogate in cases[::step]:
        case = f"T={time_steps}, n={n}, {dtype}, {charge}, {surrogate}"
        x = (2 * torch.randn(time_steps, n)).to(dtype)
        gradient = torch.randn(time_steps, n).to(dtype)
        leak = torch.tensor(0.37) if charge == "plif" else 1.37 if charge == "lif" else 1.0
        neuron(x, gradient, leak, charge, surrogate, case)
        neuron(x[:1].expand(time_steps, -1), gradient, leak, charge, surrogate, f"one step for all, {case}")
        if charge == "lif":
            by_product(x, gradient, surrogate, case)


def neuron(
    x: Tensor, gradient: Tensor, leak: Tensor | float, charge: spiking.Charge, surrogate: spiking.Surrogate, case: str
) -> None:
    """Against PyTorch's operations."""
    spikes, _ = spiking_kernels.forward(x, leak, charge, 0.31, True)
    expected, h = spiking._eager_forward(x, leak, charge, 0.31, True)
    assert torch.equal(spikes, expected), case
    assert 0 < spikes.float().mean() < 1, case

    dx, drate = spiking_kernels.backward(gradient, x, None, leak, charge, 0.31, surrogate)
    expected_dx, expected_drate = spiking._eager_backward(gradient, x, h, leak, charge, 0.31, surrogate)
    error = (dx.double() - expected_dx.double()).norm() / expected_dx.double().norm()
    assert error < TOLERANCE[x.dtype], f"{case}: {error}"
    assert (drate is None) == (charge != "plif")
    if drate is not None:
        torch.testing.assert_close(drate, expected_drate, rtol=1e-4, atol=1e-5)


def by_product(x: Tensor, gradient: Tensor, surrogate: spiking.Surrogate, case: str) -> None:
    """Of a power of two, dividing and multiplying by its reciprocal give the same, bit for bit."""
    for tau in (1.0, 2.0, 4.0):
        assert spiking_kernels.charged_by("lif", tau)[0] == spiking_kernels.CHARGES["lif by product"]
        results = []
        for divides in (False, True):
            with mock.patch.object(spiking_kernels, "charged_by", _divided) if divides else contextlib.nullcontext():
                spikes, _ = spiking_kernels.forward(x, tau, "lif", 0.31, True)
                results.append((spikes, spiking_kernels.backward(gradient, x, None, tau, "lif", 0.31, surrogate)[0]))
        assert torch.equal(results[0][0], results[1][0]), case
        assert torch.equal(results[0][1], results[1][1]), case


def _divided(charge: str, leak: Tensor | float) -> tuple[int, Tensor | float]:
    return spiking_kernels.CHARGES[charge], leak


def norms() -> None:
    """`spiking.normed` against batch norm and then a neuron, in float32, by autograd."""
    cases = list(itertools.product((1, 4), (torch.float32, torch.bfloat16), (False, True)))
    for time_steps, dtype, channels_last in cases[:: 1 if "all" in sys.argv else 3]:  # all of each is seen here, too
        compare_norm(time_steps, dtype, channels_last, True, "lif")
        compare_norm(time_steps, dtype, channels_last, True, "lif", ragged=False)
        compare_norm(time_steps, dtype, channels_last, False, "lif" if channels_last else "if")


def compare_norm(
    time_steps: int, dtype: torch.dtype, channels_last: bool, training: bool, charge: Any, ragged: bool = True
) -> None:
    case = f"T={time_steps}, {dtype}, channels_last={channels_last}, training={training}, {charge}, ragged={ragged}"
    batch, channels, *image = (2, 70, 3, 3) if channels_last else (60, 3, 3, 5)  # more than one tile
    if not ragged:
        batch, image = (4, [2, 8]) if channels_last else (64, [4, 8])
    norm = nn.BatchNorm2d(channels).train(training)
    with torch.no_grad():
        for numbers, least, most in ((norm.weight, 0.5, 2), (norm.bias, -1, 1)):
            numbers.uniform_(least, most)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.uniform_(0, 2)
        norm.running_var.uniform_(4, 9)
    other = copy.deepcopy(norm)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    y = (3 * torch.randn(time_steps * batch, channels, *image) + 1).to(dtype, memory_format=layout)
    gradient = torch.randn_like(y)

    def expected_of(y: Tensor) -> Tensor:
        z = other(y.float()).unflatten(0, (time_steps, batch))
        fired = spiking.lif(z, 1.37, 0.31, "sigmoid") if charge == "lif" else spiking.if_(z, 0.31, "sigmoid")
        return fired.flatten(0, 1).to(dtype)

    one, two = y.clone().requires_grad_(), y.clone().requires_grad_()
    spikes = spiking.normed(one, norm, time_steps, 1.37, charge, 0.31, "sigmoid")
    expected = expected_of(two)
    assert torch.equal(spikes, expected), case
    assert spikes.stride() == y.stride()
    assert 0.05 < spikes.float().mean() < 0.95
    spikes.backward(gradient)
    expected.backward(gradient)
    assert one.grad is not None
    assert two.grad is not None
    close(one.grad, two.grad, 5e-6 if dtype == torch.float32 else 1e-2, case)
    for (name, parameter), wanted in zip(norm.named_parameters(), other.parameters(), strict=True):
        assert parameter.grad is not None
        assert wanted.grad is not None
        close(parameter.grad, wanted.grad, 2e-5, f"{name}, {case}")
    torch.testing.assert_close(dict(norm.named_buffers()), dict(other.named_buffers()), rtol=1e-6, atol=1e-6)


def close(found: Tensor, expected: Tensor, tolerance: float, case: str) -> None:
    error = (found.double() - expected.double()).norm() / expected.double().norm()
    assert error < tolerance, f"{case}: {error}"


def units() -> None:
    """A layer takes the fused kernel when told that there is one, and not while a hook watches what it would skip."""
    unit = Unit(conv_bn(3, 5, 3, fed=REAL), small_config("sew"))
    x = torch.randn(2, 3, 3, 4, 4)
    expected = copy.deepcopy(unit)(x)
    with (
        mock.patch.object(spiking, "fuses_norm", return_value=True),
        mock.patch.object(spiking, "normed", wraps=spiking.normed) as normed,
    ):
        assert torch.equal(copy.deepcopy(unit)(x), expected)
        assert normed.call_count == 1
        for path in ("conv", "conv.norm", "neuron"):
            watched, seen = copy.deepcopy(unit), mock.Mock(return_value=None)
            watched.get_submodule(path).register_forward_hook(seen)
            assert torch.equal(watched(x), expected)
            assert (normed.call_count, seen.call_count) == (1, 1), path


if __name__ == "__main__":
    main()
