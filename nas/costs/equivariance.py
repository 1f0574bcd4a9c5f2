"""Whether a block treats all time steps alike, apart from its neurons.

A neuron adds up what lies along the first axis of its currents, at the price of an update. That axis must be time: if
the time steps of what a block and its neurons return change places, so must those of each neuron's currents and of what
the block returns, and nothing else may happen.
"""

import functools

import torch
from torch import Tensor, nn

from spikformer.neurons import Neuron


def difference_between_steps(block: nn.Module, model: nn.Module, images: Tensor) -> str:
    """Says how a block treats time steps otherwise than one another; "" if it treats all alike.

    Args:
        model: in which it stands: one run on `images` shows what it is given.
    """
    streams: list[Tensor] = []
    hook = block.register_forward_pre_hook(lambda _m, inputs: streams.append(inputs[0].detach().clone()))
    with torch.no_grad():
        model(images)
    hook.remove()
    if not streams:  # it is not run
        return ""
    stream_T = streams[0]
    straight = torch.arange(len(stream_T), device=stream_T.device)
    before = _run(block, stream_T, straight)
    for order in (straight.roll(1), straight.flip(0)):
        after = _run(block, stream_T[order], order)
        if len(before) != len(after):
            return "what runs depends on the order of time steps"
        for name, x_T, y_T in ((name, x_T, y_T) for (name, x_T), (_, y_T) in zip(before, after, strict=True)):
            if len(x_T) != len(order) or x_T.shape != y_T.shape or not torch.allclose(x_T[order], y_T, atol=1e-9):
                return f"if time steps change places, {name} changes otherwise: its first axis is not time alone"
    return ""


def _run(block: nn.Module, stream_T: Tensor, order_T: Tensor) -> list[tuple[str, Tensor]]:
    """Currents of the neurons and what is returned, where the neurons' spikes are drawn and put into an order."""
    seen: list[tuple[str, Tensor]] = []

    def replace(path: str, neuron: nn.Module, inputs: tuple[Tensor, ...], _out: Tensor) -> Tensor:
        assert isinstance(neuron, Neuron)
        currents_T: Tensor = inputs[0]
        seen.append((f"what {path or 'the neuron'} is given", currents_T.detach().clone()))
        spikes_T = _drawn(neuron, currents_T.shape, len(seen)).to(currents_T)
        return spikes_T[order_T] if len(spikes_T) == len(order_T) else spikes_T

    neurons = [(path, module) for path, module in block.named_modules() if isinstance(module, Neuron)]
    hooks = [neuron.register_forward_hook(functools.partial(replace, path)) for path, neuron in neurons]
    try:
        with torch.no_grad():
            out_T: Tensor = block(stream_T)
    finally:
        for hook in hooks:
            hook.remove()
    return [*seen, ("what it returns", out_T)]


def _drawn(neuron: Neuron, shape: torch.Size, seed: int) -> Tensor:
    """Spikes of the neuron's class."""
    generator = torch.Generator().manual_seed(seed)
    lowest = -1 if neuron.spikes.kind in ("ternary", "signed") else 0
    highest = 1 if neuron.spikes.is_unit else 3
    return torch.randint(lowest, highest + 1, shape, generator=generator) * neuron.spikes.quantum


__all__ = ["difference_between_steps"]
