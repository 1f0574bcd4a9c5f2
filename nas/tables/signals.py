"""Zero-cost signals: what one batch says of a network before it is trained.

The network has the weights of a training with seed 0, is in train mode, and sees 64 images or recordings of the train
split without augmentation. L is the cross-entropy of that batch with the recipe's label smoothing, g its gradient by
all weights.

    gradient_l1   sum of |g|
    gradient_l2   square root of the sum of g^2, the gradient norm of Abdelfattah et al., "Zero-Cost Proxies for
                  Lightweight NAS", ICLR 2021
    parameters    number of weights
    macs          dense multiplications of an image over all T, padding included (`nas.costs.multiplications`)
    spikes        spikes of all neurons over all T, per image
    firing_rate   the same per neuron and time step
    naswot        log |det K|, K the sum over neuron layers and time steps of the kernel of Hamming distances between
                  the codes of the images (`nas.tables.codes`; Mellor et al., ICML 2021, with spikes in place of active
                  ReLUs)
    sahd          the same with distances scaled by sparsity (Kim et al., ECCV 2022)
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.costs import multiplications, static_operations
from nas.datasets import Split, Splits
from nas.settings import Recipe
from nas.tables import codes
from nas.tables.contents import SIGNALS, Signals
from nas.training import exact, network_input
from spikformer.config import SpikformerConfig
from spikformer.model import Spikformer
from spikformer.neurons import Neuron

BATCH = 64


def batch_of(train: Split, count: int = BATCH) -> Split:
    """The same images for every network: `count` of the train split, drawn with a fixed generator."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    return train.take(order[:count].numpy())


class Probe:
    """The batch that all networks see.

    Args:
        device: on which networks are probed.
    """

    def __init__(self, splits: Splits, recipe: Recipe, device: torch.device) -> None:
        self._splits, self._labels = splits, batch_of(splits.train).labels.to(device)
        self._inputs: dict[tuple[int, int], Tensor] = {}  # by time steps and channels, which frames of events are for
        self._smoothing, self._device = recipe.label_smoothing, device

    def signals(self, config: SpikformerConfig, seed: int = 0) -> Signals:
        """Every signal of a network, by name. The random state of the process stays as it is."""
        with torch.random.fork_rng(devices=[]), exact():
            torch.manual_seed(seed)
            model = Spikformer(config).to(self._device).train()
            fired = _Fired(model)
            with fired:
                logits = model(self._input_of(model)).float()
            F.cross_entropy(logits, self._labels, label_smoothing=self._smoothing).backward()
        gradients = [p.grad.double() for p in model.parameters() if p.grad is not None]
        values = (
            sum(float(g.abs().sum()) for g in gradients),
            math.sqrt(sum(float((g * g).sum()) for g in gradients)),
            sum(p.numel() for p in model.parameters()),
            multiplications(static_operations(config)),
            fired.spikes / len(self._labels),
            fired.spikes / fired.places,
            codes.log_determinant(fired.hamming),
            codes.log_determinant(fired.sparsity_aware),
        )
        return dict(zip(SIGNALS, map(float, values), strict=True))

    def _input_of(self, model: Spikformer) -> Tensor:
        config = model.config
        key = (config.time_steps if self._splits.frames is not None else 1, config.stem.in_channels)
        if key not in self._inputs:
            train = self._splits.at(config.time_steps).train
            self._inputs[key] = network_input(train, model)(batch_of(train).images).to(self._device)
        return self._inputs[key]


class _Fired:
    """Sums spikes and kernels of all neuron layers during a forward pass.

    Attributes:
        spikes: all of them, over images, neurons and time steps; `places` is how many there could be.
        hamming, sparsity_aware: [B, B], summed over layers and time steps.
    """

    def __init__(self, model: nn.Module) -> None:
        self.spikes, self.places = 0.0, 0
        self.hamming, self.sparsity_aware = torch.zeros(()), torch.zeros(())
        self._hooks = [m.register_forward_hook(self._see) for m in model.modules() if isinstance(m, Neuron)]

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _see(self, neuron: nn.Module, _inputs: object, out_TB: Tensor) -> None:
        assert isinstance(neuron, Neuron)
        spikes_TB = out_TB.detach().abs() / neuron.spikes.quantum
        self.spikes += float(spikes_TB.sum(dtype=torch.float64))
        self.places += spikes_TB.numel()
        for spikes_B in spikes_TB:
            codes_BN = (spikes_B.flatten(1) > 0).double()
            self.hamming = self.hamming + codes.hamming_kernel(codes_BN).cpu()
            self.sparsity_aware = self.sparsity_aware + codes.sparsity_aware_kernel(codes_BN).cpu()


__all__ = ["BATCH", "Probe", "batch_of"]
