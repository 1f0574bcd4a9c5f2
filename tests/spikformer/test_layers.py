"""What every part is built from: convolutions whose gradients are those of a plain sum."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# For a process of its own: where the library writes beyond its memory, it dies, and checks of the allocator see it.
_GRADIENTS = """
import torch
from spikformer.layers import Conv2d
from spikformer.operands import REAL
torch.manual_seed(0)
for channels in (1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17):
    for stride in (1, 2, 4):
        conv = Conv2d(channels, 9, 1, fed=REAL, stride=stride).to(memory_format=torch.channels_last)
        x = torch.randn(32, channels, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
        for _ in range(20):
            conv.zero_grad()
            y = conv(x)
            gradient = torch.randn_like(y)
            y.backward(gradient)
        seen = x.detach()[:, :, ::stride, ::stride]
        torch.testing.assert_close(y, torch.einsum("oi,nihw->nohw", conv.weight.flatten(1), seen), atol=1e-5, rtol=1e-5)
        expected = torch.einsum("nohw,nihw->oi", gradient, seen)
        torch.testing.assert_close(conv.weight.grad.flatten(1), expected, atol=1e-3, rtol=1e-4)
        assert channels == 1 or y.is_contiguous(memory_format=torch.channels_last)
print("all right")
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("threads", [1, 2])
def test_strided_1x1_convolutions_of_few_channels_have_the_right_gradient(threads: int) -> None:
    """Where channels lie next to each other oneDNN writes beyond its memory, seen as a death or a wrong gradient."""
    done = subprocess.run(
        [sys.executable, "-c", _GRADIENTS],
        cwd=ROOT,
        env={"OMP_NUM_THREADS": str(threads), "MALLOC_CHECK_": "3", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == "all right\n", done.stderr[-500:]
