"""Do memory and chips rank networks as arithmetic does, and which conclusions about an axis do they turn around?

    python benchmarks/cost_rankings.py TABLE.safetensors
    python benchmarks/cost_rankings.py STUDY --results-dir results
    python benchmarks/cost_rankings.py --random 60 spikformer_tiny

Reads the networks that a table or a study trained in full, at least 60 of them for figures to quote; or draws so many
of a space, with random weights and calibrated batch norm, whose firing rates are not those of training. Prices each
under arithmetic, with every model of memory, on every chip, and as latency on it; prints Kendall's tau between all of
these, and how many networks cost less than their quantised counterparts (those that mask have none), by time steps.
Then it fits the logarithm of each cost by a sum of effects, one for each choice on each axis (least squares), and names
the pairs of choices whose order is another one than under arithmetic.
"""

import argparse
import contextlib
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from header import header, table
from scipy.stats import kendalltau

import nas
from nas import tables
from nas.costs import Counts, OperationCounter, chip, contract, energy, fired, memory, quantised
from nas.costs.counterpart import ann_counterpart
from nas.spaces import load_space
from nas.training import ranking
from spikformer import SpikformerConfig
from spikformer.errors import ConfigError

IMAGES = 16  # on which a random network is counted
AXES = ("residual", "attention", "time_steps")
ARITHMETIC = "arithmetic"
Costs = dict[str, float]
Array = npt.NDArray[np.float64]


Priced = tuple[Counts, Mapping[str, object]]


def drawn(space: str, networks: int) -> list[Priced]:
    """Different networks of a space, with their choices, counted with random weights."""
    loaded, rng = load_space(space), random.Random(0)
    by_id: dict[str, Priced] = {}
    while len(by_id) < networks:
        config = loaded.random(rng)
        if config.config_id not in by_id:
            by_id[config.config_id] = counted(config), loaded.params(config)
    return list(by_id.values())


def counted(config: SpikformerConfig) -> Counts:
    """Over random images."""
    torch.manual_seed(0)
    model, stem = contract.calibrated(config)[0].float(), config.stem
    images = torch.randn(IMAGES, stem.in_channels, stem.image_size, stem.image_size)
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    spikes = fired(config, counter.activity(), {}, IMAGES)
    return Counts(config, counter.operations(), counter.overheads, IMAGES, spikes)


def trained(source: str, results_dir: str) -> list[Priced]:
    """Networks with counts, each with its choices on the axes of its space; equal networks once."""
    if Path(source).is_file():
        loaded = tables.load(source)
        keys = {key.config_id: key for key in reversed(loaded.keys) if key.share == 1.0}
        records = [
            (loaded.candidate(key.config_id, 1.0, key.seed), loaded.choices(key.config_id)) for key in keys.values()
        ]
    else:
        study = nas.load_study(source, results_dir=results_dir)
        choices = {training.trial: training.choices for training in study.trainings}
        by_id = {c.config_id: (c, choices[n]) for n, c in study.candidates.items()}
        records = list(by_id.values())
    return [(c.counts, own) for c, own in records if c.status == "complete" and c.operations]


def costs_of(counts: Counts) -> Costs:
    """Of an image: totals in millijoules, latencies in milliseconds."""
    energy_mj = energy.price(counts.operations, counts.images).energy_mj
    costs = {ARITHMETIC: energy_mj}
    costs |= {f"energy+{name}": energy_mj + memory.load(name).price(counts).energy_mj for name in memory.names()}
    for name in chip.names():
        priced = chip.load(name)(counts)
        costs |= {f"chip:{name}": priced.energy_mj or 0.0, f"chip:{name}, latency": priced.latency_ms or 0.0}
    assert all(costs[name] == ranking.total_mj(name, energy_mj, counts) for name in ranking.NAMED)
    return costs


def effects(costs: Array, choices: Sequence[Mapping[str, object]]) -> dict[str, dict[object, float]]:
    """By axis and choice: the factor that it puts on the cost, beside the first choice of the axis."""
    axes = {axis: sorted({own[axis] for own in choices if axis in own}, key=str) for axis in choices[0]}
    columns = [(axis, choice) for axis, of_axis in axes.items() for choice in of_axis[1:]]
    design = np.array([[1.0, *(float(own.get(a) == c) for a, c in columns)] for own in choices])
    weights = np.linalg.lstsq(design, np.log10(costs), rcond=None)[0][1:]
    fitted = {axis: {of_axis[0]: 1.0} for axis, of_axis in axes.items()}
    for (axis, choice), weight in zip(columns, weights, strict=True):
        fitted[axis][choice] = 10 ** float(weight)
    return fitted


def flips(all_costs: Sequence[Costs], choices: Sequence[Mapping[str, object]]) -> list[str]:
    """Sentences: the pairs of choices of which another one costs less than under arithmetic."""
    by_rule = {rule: effects(np.array([c[rule] for c in all_costs]), choices) for rule in all_costs[0]}
    sentences = []
    for axis in (axis for axis in AXES if axis in choices[0]):
        for one, other in itertools.combinations(by_rule[ARITHMETIC][axis], 2):
            ratios = {rule: of[axis][other] / of[axis][one] for rule, of in by_rule.items()}
            turned = [f"{rule} {r:.2f}" for rule, r in ratios.items() if (r > 1) != (ratios[ARITHMETIC] > 1)]
            told = f"{axis} {other} costs {ratios[ARITHMETIC]:.2f} times {one} by arithmetic"
            sentences.append(f"{told}; other way round: {', '.join(turned)}" if turned else f"{told}; so by all")
    return sentences


def taus(all_costs: Sequence[Costs]) -> list[tuple[str, ...]]:
    """Kendall's tau between all rules, as rows of a table."""
    rules = list(all_costs[0])
    values = {rule: [costs[rule] for costs in all_costs] for rule in rules}
    rows = [("", *(str(i + 1) for i in range(len(rules))))]
    for i, rule in enumerate(rules):
        cells = [f"{kendalltau(values[rule], values[other]).statistic:.2f}" for other in rules[: i + 1]]
        rows.append((f"{i + 1} {rule}", *cells, *[""] * (len(rules) - i - 1)))
    return rows


def paying(networks: Sequence[Priced]) -> list[tuple[str, ...]]:
    """How many networks cost less than their quantised counterparts, by T, as rows of a table."""
    by_steps: dict[int, list[Counts]] = {}
    for counts, _ in networks:
        with contextlib.suppress(ConfigError):
            ann_counterpart(counts.config)
            by_steps.setdefault(counts.time_steps, []).append(counts)
    rows = [("cost less than their counterpart", *(f"T = {steps}" for steps in sorted(by_steps)))]
    for name in ("", *memory.names()):
        model = memory.load(name) if name else None
        cells = []
        for _, of_steps in sorted(by_steps.items()):
            compared = [quantised.compare(counts, memory=model) for counts in of_steps]
            cells.append(f"{sum(each.pays for each in compared)} of {len(compared)}")
        rows.append((f"energy+{name}" if name else ARITHMETIC, *cells))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="file of a table, name of a study, or with --random of a space")
    parser.add_argument("--random", type=int, metavar="N", help="draw N networks of the space instead")
    parser.add_argument("--results-dir", default="results", help="directory that holds the study")
    arguments = parser.parse_args()
    if arguments.random is not None:
        networks = drawn(arguments.source, arguments.random)
    else:
        networks = trained(arguments.source, arguments.results_dir)
    all_costs = [costs_of(counts) for counts, _ in networks]
    asked = f"--random {arguments.random} " if arguments.random is not None else ""
    print(header(f"python benchmarks/cost_rankings.py {asked}{Path(arguments.source).name}"))
    kind = "trained in full" if arguments.random is None else "with random weights"
    print(f"networks  {len(networks)}, {kind}\n")
    print(table(taus(all_costs)))
    shares = {name: [c[name] / c[ARITHMETIC] for c in all_costs] for name in all_costs[0] if name.startswith("energy+")}
    print(
        "\nwith memory, times arithmetic (geometric mean): "
        + ", ".join(f"{name} {math.exp(math.fsum(map(math.log, of)) / len(of)):.1f}" for name, of in shares.items())
    )
    print()
    print(table(paying(networks)))
    print()
    print("\n".join(flips(all_costs, [own for _, own in networks])))


if __name__ == "__main__":
    main()
