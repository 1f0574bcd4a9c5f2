"""Would another way to count energy, or a chip, rank networks otherwise?

Random networks of a shipped space, half of each residual and equally many of each attention, with random
weights and calibrated batch norm; each is counted once and priced under every convention. Random weights:
the sizes of the effects are indicative, their directions follow from the definitions.
"""

import importlib
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from header import header, note, table
from scipy.stats import kendalltau

from nas.costs import Counts, chip, contract, energy, fired
from nas.costs.counter import OperationCounter
from nas.spaces import load_space
from spikformer import Spikformer, SpikformerConfig

NETWORKS = 60
SPACE = "spikformer_tiny"
IMAGES = 16
RESIDUALS, ATTENTIONS = ("sew", "ms"), ("ssa", "sdsa", "qkta", "qkca")
MEASURED = "measured"
SPIKINGJELLY, CHIP_ENERGY = "SpikingJelly, 4.6 MAC + 0.9 AC", "chip loihi, energy"
ENERGIES = (*energy.names(), SPIKINGJELLY, CHIP_ENERGY)


@dataclass(frozen=True)
class Network:
    """Its costs of one image, by rule: energies in millijoules, latency in milliseconds, the others as they are."""

    residual: str
    costs: dict[str, float]


def configs(rng: random.Random) -> list[SpikformerConfig]:
    """Different networks of the space, as many of each residual, and of each attention."""
    found: dict[str, SpikformerConfig] = {}
    source = load_space(SPACE)
    while len(found) < NETWORKS:
        wanted = RESIDUALS[len(found) % 2], ATTENTIONS[len(found) // 2 % 4]
        config = source.random(rng)
        if (config.residual, config.stages[0].mixer.kind) == wanted:
            found.setdefault(config.config_id, config)
    return list(found.values())


def network(config: SpikformerConfig) -> Network:
    model, _ = contract.calibrated(config)
    model = model.float()
    stem = config.stem
    images = torch.randn(IMAGES, stem.in_channels, stem.image_size, stem.image_size)
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    operations = counter.operations()
    costs = {name: energy.price(operations, IMAGES, energy.convention(name)).energy_mj for name in energy.names()}
    costs[SPIKINGJELLY] = _spikingjelly_mj(model, images)
    spikes = fired(config, counter.activity(), {}, IMAGES)
    on_chip = chip.load("loihi")(Counts(config, operations, counter.overheads, IMAGES, spikes))
    costs[CHIP_ENERGY] = on_chip.energy_mj or 0.0
    costs["chip loihi, latency"] = on_chip.latency_ms or 0.0
    costs["dense MACs"] = sum(op.dense * op.repeats for op in operations if op.kind != "sum") / IMAGES
    costs["parameters"] = sum(p.numel() for p in model.parameters())
    return Network(config.residual, costs)


def _spikingjelly_mj(model: Spikformer, images: torch.Tensor) -> float:
    library = importlib.import_module("spikingjelly.activation_based.op_counter")
    macs, accumulates = library.MACCounter(), library.ACCounter()
    with torch.no_grad(), library.DispatchCounterMode([macs, accumulates], strict=False):
        model(images)
    return float(4.6 * macs.get_total() + 0.9 * accumulates.get_total()) / len(images) * 1e-9


def flipped(networks: Sequence[Network], rule: str) -> float:
    """Share of the pairs of a sew and an ms network that the rule orders otherwise than `measured`."""
    sew, ms = ([n.costs for n in networks if n.residual == residual] for residual in RESIDUALS)
    flips = [(a[rule] - b[rule]) * (a[MEASURED] - b[MEASURED]) < 0 for a in sew for b in ms]
    return sum(flips) / len(flips)


def compare(networks: Sequence[Network]) -> str:
    rows = [("rule", "Kendall tau", "sew-ms pairs flipped", "sew / measured", "ms / measured")]
    for rule in networks[0].costs:
        tau = kendalltau([n.costs[MEASURED] for n in networks], [n.costs[rule] for n in networks]).statistic
        ratios = [
            f"{statistics.mean(n.costs[rule] / n.costs[MEASURED] for n in networks if n.residual == residual):.2f}"
            if rule in ENERGIES
            else "-"
            for residual in RESIDUALS
        ]
        rows.append((rule, f"{tau:.3f}", f"{flipped(networks, rule):.1%}", *ratios))
    return table(rows)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(header("python benchmarks/conventions.py"))
    networks = []
    for i, config in enumerate(configs(random.Random(0))):
        note(f"network {i + 1} of {NETWORKS}")
        networks.append(network(config))
    print(f"\n{NETWORKS} networks of the space {SPACE}, random weights, calibrated, {IMAGES} random images each,")
    print(f"against the energy under the convention {MEASURED}\n")
    print(compare(networks))


if __name__ == "__main__":
    main()
