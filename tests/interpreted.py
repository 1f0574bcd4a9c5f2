"""Triton's kernels in its interpreter, on the CPU, against PyTorch's operations: `TRITON_INTERPRET=1 python -m ...`.

A program of its own, because Triton reads that variable when it is imported.
"""

import itertools

import torch

from spikformer import spiking, spiking_kernels

# The interpreter cuts bfloat16 off instead of rounding it: up to 2^-7 of a number.
TOLERANCE = {torch.float32: 5e-7, torch.bfloat16: 2**-7, torch.float16: 1e-3}


def main() -> None:
    torch.manual_seed(0)
    cases = itertools.product((1, 2, 4), (3, 700), spiking_kernels.DTYPES, ("lif", "plif", "if"), ("sigmoid", "atan"))
    for time_steps, n, dtype, charge, surrogate in cases:
        case = f"T={time_steps}, n={n}, {dtype}, {charge}, {surrogate}"
        x = (2 * torch.randn(time_steps, n)).to(dtype)
        gradient = torch.randn(time_steps, n).to(dtype)
        leak = {"lif": 1.37, "plif": torch.tensor(0.37), "if": 1.0}[charge]

        spikes, _ = spiking_kernels.forward(x, leak, charge, 0.31, True)
        expected, h = spiking._eager_forward(x, leak, charge, 0.31, True)
        assert torch.equal(spikes, expected), case
        assert 0 < spikes.float().mean() < 1 or n == 3, case

        dx, drate = spiking_kernels.backward(gradient, x, None, leak, charge, 0.31, surrogate)
        expected_dx, expected_drate = spiking._eager_backward(gradient, x, h, leak, charge, 0.31, surrogate)
        error = (dx.double() - expected_dx.double()).norm() / expected_dx.double().norm()
        assert error < TOLERANCE[dtype], f"{case}: {error}"
        assert (drate is None) == (charge != "plif")
        if drate is not None:
            torch.testing.assert_close(drate, expected_drate, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
