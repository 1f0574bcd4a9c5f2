"""A token mixer of your own in a search, beside attention: tokens see their neighbours by a shift of channels.

    PYTHONPATH=examples python -m nas check-block own_block:Shift    # shapes, gradients and costs, held to the contract
    python examples/own_block.py

A quarter of the channels moves by one token in each direction (Wu et al., "Shift: A Zero FLOP, Zero Parameter
Alternative to Spatial Convolutions", CVPR 2018); a 1 x 1 convolution mixes what has met. Moving costs no operation, so
that all of its energy is that of one convolution. docs/your_own_block.md says what a block promises.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import nas
from spikformer.layers import Unit, conv_bn, fed_by_stream
from spikformer.neurons import neuron

# The space file lies beside this one, where the module of its block is found.
SPACE = Path(__file__).with_suffix(".toml")


class Shift(nn.Module):
    def __init__(self, dim, config):
        super().__init__()
        is_membrane = config.residual == "ms"  # then membrane currents are added, and the neuron stands in front
        self.before = neuron(config) if is_membrane else nn.Identity()
        mixing = conv_bn(dim, dim, fed=fed_by_stream(config))
        self.mixing = mixing if is_membrane else Unit(mixing, config)

    def forward(self, x):  # [T, B, C, H, W] -> [T, B, C, H, W]
        left, right, up, down = self.before(x).chunk(4, dim=2)
        moved = (
            F.pad(left, (0, 1))[..., 1:],
            F.pad(right, (1, 0))[..., :-1],
            F.pad(up, (0, 0, 0, 1))[..., 1:, :],
            F.pad(down, (0, 0, 1, 0))[..., :-1, :],
        )
        return self.mixing(torch.cat(moved, dim=2))


def main():
    study = nas.search(SPACE, trials=6)
    table = study.to_dataframe()
    print(table.groupby("attention")[["search_val_accuracy", "energy_mj", "parameters"]].mean())


if __name__ == "__main__":
    main()
