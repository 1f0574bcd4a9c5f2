"""What the networks of a study cost on hardware of your own: a function of the counts in their records.

    python examples/own_data.py           # or any other search
    python examples/own_cost_model.py     # the latest study, priced by `board`
    PYTHONPATH=examples python -m nas report --chip own_cost_model:board

Nothing is trained again. docs/costs.md explains the counts, and how to price operations without a model of a chip
(`--unit-costs my_chip.toml`).
"""

import sys
from pathlib import Path

import nas
from nas.costs import ChipCosts

PJ_PER_ADDITION, NS_PER_ADDITION = 2.0, 1.0  # an assumption: replace them by what you measured
ADDERS = 64  # that work side by side in each layer
MEMORY_BYTES = 2**20  # weights of one byte each


def board(config, operations, overheads, images):
    """An imagined board: 64 adders of 1 GHz a layer, 2 pJ an addition, and 1 MiB of weights."""
    additions = [op.nonzero if op.is_real else op.events for op in operations]  # sums over all images and time steps
    return ChipCosts(
        energy_mj=PJ_PER_ADDITION * sum(additions) / images * 1e-9,
        latency_ms=NS_PER_ADDITION
        * max(additions)
        / ADDERS
        / images
        * 1e-6,  # layers are a pipeline: the slowest counts
        fits=sum(op.weights for op in operations) <= MEMORY_BYTES,
    )


def main():
    sys.path.insert(0, str(Path(__file__).parent))  # where "own_cost_model" is found by its name
    table = nas.load_study().to_dataframe(chip="own_cost_model:board")
    print(table[["network", "energy_mj", "chip_energy_mj", "chip_latency_ms", "chip_fits"]].to_string())


if __name__ == "__main__":
    main()
