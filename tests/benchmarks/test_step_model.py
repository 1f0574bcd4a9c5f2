"""The count of a step's kernels, against the network's parts and bytes by hand."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from spikformer import Spikformer
from spikformer.layers import Conv2d
from spikformer.neurons import Neuron

pytest.importorskip("triton", reason="kernels are counted where Triton can be imported")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("step_model")


def count(kernels: list[Any], *names: str) -> int:
    return sum(kernel.name.startswith(names) for kernel in kernels)


def test_every_convolution_and_every_neuron_is_launched_once_each_way(model: Any) -> None:
    config = model.shaped("d128 L2 T2")
    modules = list(Spikformer(config).modules())
    convolutions = sum(isinstance(module, Conv2d) for module in modules)
    neurons = sum(isinstance(module, Neuron) for module in modules)
    spiking, relu = (model.step(config, 4, relu=relu) for relu in (False, True))
    for kernels in (spiking, relu):
        assert count(kernels, "convolution.") == count(kernels, "convolution_backward.") == convolutions
    assert count(spiking, "triton.norm_forward", "triton.forward") == neurons
    assert count(spiking, "triton.norm_backward", "triton.backward") == neurons
    assert count(relu, "relu.") == count(relu, "threshold_backward.") == neurons
    assert count(relu, "triton.") == 0


def test_bytes_of_a_kernel_by_hand(model: Any) -> None:
    """The first block's query at batch 4, T 2.

    8 images of 128 channels on 8 x 8 tokens, bfloat16, in and out; mean, scale and bias of each channel, float32.
    """
    kernels = model.step(model.shaped("d128 L2 T2"), 4, relu=False)
    sizes = [kernel.moved for kernel in kernels if kernel.name == "triton.norm_forward_kernel"]
    assert 2 * (8 * 128 * 8 * 8) * 2 + 3 * 128 * 4 in sizes


def test_what_is_expanded_is_moved_once(model: Any) -> None:
    x = torch.empty(1, 3, 5)
    assert model._numbers(x.expand(4, 3, 5)) == 15
    assert model._numbers(torch.empty(0, 3).expand(0, 3)) == 0


def test_an_operation_moves_arguments_and_results_and_a_view_nothing(model: Any) -> None:
    """[256, 256] of float32: two read and one written, 3 x 256 KiB."""
    with model.FakeTensorMode(), model.Launches() as launches:
        x = torch.empty(256, 256, device=model.DEVICE)
        y = x + x.T.view(256, 256).T
    assert y.shape == x.shape
    assert [kernel.moved for kernel in launches.kernels] == [3 * 256 * 1024]
