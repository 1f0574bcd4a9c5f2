"""The first convolution of a static image: once for all time steps, in one layout, with the statistics of T copies."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikformer import Spikformer, spiking
from spikformer.config import SpikformerConfig
from spikformer.layers import Conv2d, folded
from spikformer.neurons import neuron
from spikformer.operands import REAL
from spikformer.stems import ImageEncoding, PatchStage
from tests.helpers import small_config

STEPS = 4


def encoding_of(*, pool: bool = False, momentum: float | None = 0.25) -> ImageEncoding:
    torch.manual_seed(0)
    encoding = ImageEncoding(Conv2d(3, 6, 3, fed=REAL), STEPS, pool=pool)
    encoding.norm.momentum = momentum
    with torch.no_grad():
        encoding.norm.weight.uniform_(0.5, 2)
        encoding.norm.bias.uniform_(-1, 1)
    return encoding


def images_of(device: torch.device, count: int = 2) -> Tensor:
    return 3 * torch.randn(1, count, 3, 6, 6, generator=torch.Generator().manual_seed(1)).to(device) + 1


@pytest.mark.parametrize("momentum", [0.25, None])
@pytest.mark.parametrize("pool", [False, True])
def test_it_is_batch_norm_over_copies(pool: bool, momentum: float | None, device: torch.device) -> None:
    """torch's own batch norm over T copies, written out: results, gradients, and running statistics of two batches."""
    encoding, plain = (encoding_of(pool=pool, momentum=momentum).double().to(device) for _ in range(2))
    for count in (2, 3):
        images = images_of(device, count).double()
        found = encoding(images)
        current = plain.conv(images[0])
        copies = plain.norm(torch.cat([current] * STEPS))
        copies = nn.functional.max_pool2d(copies, 3, stride=2, padding=1) if pool else copies
        expected = copies.unflatten(0, (STEPS, count))
        torch.testing.assert_close(found, expected)
        weight = torch.randn_like(expected)
        (found * weight).sum().backward()
        (expected * weight).sum().backward()
    torch.testing.assert_close(dict(encoding.named_buffers()), dict(plain.named_buffers()), rtol=1e-12, atol=0)
    for (name, parameter), other in zip(encoding.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, msg=name)


def test_norms_of_several_processes_see_the_copies(device: torch.device) -> None:
    """They know how many values there are in all; here one stands in that is none of torch's own class."""

    class Team(nn.BatchNorm2d):
        pass

    encoding, plain = encoding_of().to(device), encoding_of().to(device)
    encoding.norm.__class__ = Team
    found = encoding(images_of(device))
    torch.testing.assert_close(found, plain(images_of(device)))
    torch.testing.assert_close(dict(encoding.named_buffers()), dict(plain.named_buffers()), rtol=1e-6, atol=0)


def test_time_steps_share_their_memory_and_channels_stay_last(device: torch.device) -> None:
    encoding = encoding_of().to(device).to(memory_format=torch.channels_last)
    images = images_of(device)[0].contiguous(memory_format=torch.channels_last)[None]
    current = encoding(images)
    assert current.stride(0) == 0
    assert current[0].is_contiguous(memory_format=torch.channels_last)
    assert folded(current).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(folded(current), current.flatten(0, 1))


@pytest.mark.parametrize("residual", ["sew", "ms"])
@pytest.mark.parametrize("order", ["before_neuron", "after_neuron"])
@pytest.mark.parametrize("pooled", [False, True])
def test_no_layer_of_a_stem_loses_channels_last(residual: str, order: str, pooled: bool, device: torch.device) -> None:
    config = small_config(residual, time_steps=STEPS, image_size=16, pool=(pooled, False, True, True))
    values = config.to_dict()
    values["stem"]["pool_order"] = order
    model = Spikformer(SpikformerConfig.from_dict(values)).to(device)
    lost: list[str] = []

    def watch(path: str) -> Any:
        def see(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].flatten(0, -4) if inputs[0].dim() == 4 or inputs[0].stride(0) else inputs[0][0]
            if not x.is_contiguous(memory_format=torch.channels_last):
                lost.append(path)

        return see

    for path, module in model.stem.named_modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | PatchStage):
            module.register_forward_pre_hook(watch(path))
    model(torch.rand(2, 3, 16, 16, device=device).contiguous(memory_format=torch.channels_last))
    assert lost == []


@pytest.mark.parametrize("kind", ["lif", "plif", "if", "ternary", "psn", "multispike"])
def test_a_neuron_reads_one_step_for_all(kind: str, device: torch.device) -> None:
    """Spikes, and gradients of the currents and of its parameters, as of copies."""
    config = small_config(neuron=kind, time_steps=STEPS)
    layer = neuron(config).to(device)
    current = torch.randn(1, 2, 5, 4, 3, generator=torch.Generator().manual_seed(0)).to(device)
    gradient = torch.randn(STEPS, 2, 5, 4, 3, generator=torch.Generator().manual_seed(1)).to(device)
    results = []
    for shared in (True, False):
        x = current.clone().requires_grad_()
        x_T = x.expand(STEPS, -1, -1, -1, -1)
        spikes = layer(x_T if shared else x_T.clone())
        results.append([spikes, *torch.autograd.grad(spikes, [x, *layer.parameters()], gradient)])
    assert 0 < results[0][0].mean() < 1
    assert torch.equal(results[0][0], results[1][0])
    for found, expected in zip(results[0][1:], results[1][1:], strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.exhaustive
def test_compiled_neurons_read_one_step_for_all_without_compiling_anew() -> None:
    """By the number of compilations; the eager result is the expected one."""
    counts = torch._dynamo.utils.counters["stats"]
    current = torch.randn(1, 40, 7, generator=torch.Generator().manual_seed(0))
    layer = neuron(small_config(time_steps=STEPS))
    expected = layer(current.expand(STEPS, -1, -1))
    before = spiking.in_use()
    spiking.use("compiled")
    try:
        torch._dynamo.reset()
        layer(current.repeat(STEPS, 1, 1))
        compiled = counts["unique_graphs"]
        found = layer(current.expand(STEPS, -1, -1))
    finally:
        spiking.use(before)
    assert torch.equal(found, expected)
    assert counts["unique_graphs"] == compiled
