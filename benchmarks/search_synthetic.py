"""A made-up conditional space with two objectives, where true values are known.

11 to 18 axes are active, of 27: one to three stages, each with a depth, a mixer and what only that mixer has; a leak
only for neurons that leak. Accuracy saturates with size and time steps and has interactions; energy multiplies. A
short training reads an accuracy that is lower, noisier and flatters small networks, as real ones do.
"""

import functools
import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence

from nas.searchers.networks import Network
from nas.searchers.observations import Observation
from nas.spaces import Choice
from nas.stats import pareto

Suggest = Callable[[str, list[Choice]], Choice]
_MIXERS: dict[str, tuple[str, list[Choice]]] = {
    "ssa": ("heads", [1, 2, 4, 8]),
    "sdsa": ("shift", ["none", "head", "token"]),
    "qk": ("mode", ["token", "channel"]),
    "conv": ("kernel", [3, 5, 7]),
}
_ALWAYS: dict[str, list[Choice]] = {
    "stages": [1, 2, 3],
    "width": [64, 96, 128, 192, 256],
    "time_steps": [1, 2, 4, 6],
    "mlp_ratio": [1, 2, 4],
    "neuron": ["if", "lif", "plif"],
    "threshold": [0.5, 0.75, 1.0, 1.5],
    "residual": ["sew", "ms", "cml"],
    "stem": ["early", "late", "hybrid"],
}
_REFERENCE = (0.70, math.log10(30.0))
_NOISE = {0.05: (0.020, 0.13), 0.25: (0.010, 0.05), 1.0: (0.003, 0.01)}  # of accuracy and of log10 energy


class Conditional:
    """As a problem for the methods: a space, what trainings read, and true scores."""

    name = "synthetic-conditional"

    def __init__(self) -> None:
        self.axes: dict[str, Sequence[Choice]] = dict(_ALWAYS) | {"leak": [1.5, 2.0, 3.0, 5.0]}
        for stage in range(3):
            self.axes[f"depth {stage}"] = [1, 2, 3, 4]
            self.axes[f"mixer {stage}"] = list(_MIXERS)
            self.axes |= {f"{setting} {stage}": choices for setting, choices in _MIXERS.values()}

    def sample(self, suggest: Suggest) -> Network:
        params = {name: suggest(name, list(choices)) for name, choices in _ALWAYS.items()}
        if params["neuron"] != "if":
            params["leak"] = suggest("leak", list(self.axes["leak"]))
        for stage in range(int(params["stages"])):
            for part in ("depth", "mixer"):
                params[f"{part} {stage}"] = suggest(f"{part} {stage}", list(self.axes[f"{part} {stage}"]))
            setting, choices = _MIXERS[str(params[f"mixer {stage}"])]
            params[f"{setting} {stage}"] = suggest(f"{setting} {stage}", choices)
        return Network(json.dumps(params, sort_keys=True), params)

    def every(self) -> Sequence[Mapping[str, Choice]]:
        return ()  # too many to go through

    def draw(self, rng: random.Random) -> Mapping[str, Choice]:
        return self.sample(lambda _name, choices: rng.choice(choices)).params

    def at(self, params: Mapping[str, Choice]) -> Network:
        """The network with these choices; what a change has made active takes its first choice."""
        return self.sample(lambda name, choices: params.get(name, choices[0]))

    def read(self, network: Network, share: float, seed: int) -> Observation:
        accuracy, log10_energy = _truth(network.identity)
        rng = random.Random(f"{seed} {network.identity} {share}")
        spread, energy_spread = _NOISE[share]
        behind = -math.log(share) * (0.05 + 0.02 * (log10_energy - 0.5) + 0.03 * _own(network.identity, "slow"))
        return Observation(
            min(max(accuracy - behind + rng.gauss(0, spread), 0.1), 0.999),
            log10_energy + rng.gauss(0, energy_spread),
            0,
        )

    def score(self, trained: Sequence[str], seed: int) -> dict[str, float]:
        """Of the true values of what the noisy ones of full trainings would choose."""
        seen = [self.read(Network(i, json.loads(i)), 1.0, seed) for i in trained]
        shown = pareto.front([(r.accuracy, r.log10_energy) for r in seen])
        return {"hv0": pareto.hypervolume([_truth(trained[k]) for k in shown], _REFERENCE) / self.best}

    @functools.cached_property
    def best(self) -> float:
        """What the best of 60,000 random networks dominate."""
        rng = random.Random(0)
        return pareto.hypervolume([_truth(self.at(self.draw(rng)).identity) for _ in range(60000)], _REFERENCE)


def _own(identity: str, what: str) -> float:
    """A number between -1 and 1 that is a network's own."""
    digest = hashlib.sha256(f"{what} {identity}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**31 - 1


@functools.lru_cache(maxsize=200_000)
def _truth(identity: str) -> tuple[float, float]:
    """(accuracy, log10 of energy) of a full training."""
    p = json.loads(identity)
    size, quality = 0.0, 0.0
    for stage in range(p["stages"]):
        mixer, depth = p[f"mixer {stage}"], p[f"depth {stage}"]
        size += depth * (p["width"] / 64) ** 2 * 2**stage * (1 + p["mlp_ratio"] / 2) * (0.7 if mixer == "qk" else 1)
        quality += {"ssa": 0.010, "sdsa": 0.004, "qk": 0.007, "conv": 0.012 - 0.010 * stage}[mixer]
        quality -= 0.004 * (depth > 2) * (p["neuron"] == "if")
        setting = p[f"{_MIXERS[mixer][0]} {stage}"]
        quality += {4: 0.003, 8: 0.002, "head": 0.003, "channel": 0.002, 5: 0.002}.get(setting, 0.0)
    quality += {"sew": 0.0, "ms": 0.008, "cml": 0.004}[p["residual"]] + {"early": -0.01, "late": 0.004, "hybrid": 0.0}[
        p["stem"]
    ]
    quality -= 0.02 * (p["threshold"] - {"if": 1.0, "lif": 0.75, "plif": 0.6}[p["neuron"]]) ** 2 / 0.25
    quality -= 0.01 * abs(math.log(p.get("leak", 2.0) / 2.0)) * (p["time_steps"] > 2)
    quality += 0.004 * _own(identity, "accuracy")
    accuracy = 0.96 - 0.16 * (1 + size) ** -0.35 - 0.06 * p["time_steps"] ** -0.9 + quality - 0.02
    rate = 0.25 * p["threshold"] ** -0.6 * {"if": 1.2, "lif": 0.9, "plif": 1.0}[p["neuron"]]
    rate *= {"sew": 1.25, "ms": 0.9, "cml": 1.0}[p["residual"]] * (1 + 0.08 * _own(identity, "energy"))
    stem = {"early": 1.0, "late": 2.5, "hybrid": 1.6}[p["stem"]]
    return accuracy, math.log10(0.15 * (size + stem) * p["time_steps"] * rate)
