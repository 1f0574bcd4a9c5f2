"""What other programs said of small networks (`benchmarks/cost_oracles.py`), as counts of ours."""

import json
import math
from typing import Any

from nas.costs.accesses import Counts, Fired
from nas.costs.operations import Operation, Overheads
from spikformer.operands import BINARY, REAL
from tests.facts import DATA
from tests.helpers import small_config


def cases(name: str) -> list[dict[str, Any]]:
    """The networks of an oracle, with what it said."""
    facts: dict[str, Any] = json.loads((DATA / "cost_oracles" / f"{name}.json").read_text())
    return [case | {"images": facts["images"]} for case in facts["cases"]]


def counts_of(case: dict[str, Any], *, repeats: bool = True) -> Counts:
    """A case as a record would hold it.

    Args:
        repeats: whether an image that is shown at every step is computed once; else at every step.
    """
    steps, layers = case["time_steps"], case["layers"]
    updates = [case["images"] * steps * math.prod(layer["outputs"]) for layer in layers]
    return Counts(
        small_config(time_steps=steps),
        tuple(_operation(i, layer, steps, repeats=repeats) for i, layer in enumerate(layers)),
        Overheads(neuron_updates=sum(updates)),
        case["images"],
        {f"neuron{i}": Fired(n, layer["sent"]) for i, (n, layer) in enumerate(zip(updates, layers, strict=True))},
    )


def _operation(i: int, layer: dict[str, Any], steps: int, *, repeats: bool) -> Operation:
    shown = 1 if layer["binary"] or repeats else steps
    results = layer["values"] * math.prod(layer["outputs"]) // math.prod(layer["inputs"])
    kernel = {"kernel": layer["kernel"]} if "kernel" in layer else {}
    met = shown * layer["nonzero"]
    return Operation(
        path=f"layer{i}",
        index=0,
        kind="weight",
        operands=(BINARY if layer["binary"] else REAL,),
        geometry={"input": layer["inputs"], "output": layer["outputs"]} | kernel,
        repeats=1 if layer["binary"] or not repeats else steps,
        calls=1,
        dense=shown * layer["dense"],
        valid=shown * layer["valid"],
        biases=shown * results if layer["bias"] else 0,
        values=shown * layer["values"],
        spikes=layer["nonzero_values"] if layer["binary"] else 0,
        nonzero=met,
        multiplicity=met if layer["binary"] else 0,
        events=met if layer["binary"] else 0,
    )
