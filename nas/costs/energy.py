"""Energy of counted operations under named conventions: pure functions of the whole numbers in a record.

There is no energy without a convention: papers and tools differ by a factor of two on the same network. All
are arithmetic in a named process, not measurements of a chip. `docs/costs.md` says which reproduces what.

    measured         what is executed, to the last spike; the search ranks by it
    measured_single  the same, but a number of several spikes costs one accumulate
    measured_mac     the same, but it costs a multiplication, as where inputs must be 0 and 1
    paper            rate x dense operations, padding included, first convolution at every step as dense
                     multiplications, head left out (Zhou et al., Spikformer, ICLR 2023, eq. 11 and its table)
    paper_strict     the same, but a layer fed anything but 0 and 1 costs dense multiplications
                     (Zhou et al., Spikingformer, 2023, its comparison with Spikformer)

The first convolution of a network that is fed frames of events reads counts, and each convention prices them as it
prices any number of several spikes:

    measured         an accumulate for each event at every place where it meets a weight: a count of 3 is 3 of them
    measured_single  one accumulate for each count that is not 0
    measured_mac     one multiplication for each count that is not 0: exactly what Yao et al. (Attention Spiking Neural
                     Networks, 2022, table S1) estimate by the share of pixels that are not 0
    paper            mean count x dense accumulates. The papers of Spikformer print no energy of an event network, and
                     it is unknown what they would take for its first layer
    paper_strict     dense multiplications, as Spikingformer's script has the first convolution of every network

SpikingResformer's code leaves the first layer out; no convention here does.

Behind a name, "+" adds and "-" leaves out: "paper+head+bias" is Spikingformer's own table, "measured+repeat"
counts the first convolution of a static image at each of the T steps.
"""

import dataclasses
import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nas.costs.operations import Operation, Overheads
from nas.errors import CostError
from spikformer.fields import nearest


@dataclass(frozen=True)
class UnitCosts:
    """The energy of one operation, in picojoules.

    Attributes:
        name: name of the preset, or of the file that it was read from.
        source: publication or data sheet of the figures.
        pj_per_ac: energy of an accumulate, which is one addition.
        pj_per_mac: energy of a multiplication with its addition.
    """

    name: str
    source: str
    pj_per_ac: float
    pj_per_mac: float


_HOROWITZ = 'Horowitz, "Computing\'s Energy Problem", ISSCC 2014: 45 nm, 0.9 V'
PRESETS = {
    costs.name: costs
    for costs in (
        UnitCosts("45nm_fp32", f"{_HOROWITZ}, 32-bit floating point: add 0.9, multiply 3.7", 0.9, 4.6),
        UnitCosts("45nm_fp16", f"{_HOROWITZ}, 16-bit floating point: add 0.4, multiply 1.1", 0.4, 1.5),
        UnitCosts("45nm_int32", f"{_HOROWITZ}, 32-bit integer: add 0.1, multiply 3.1", 0.1, 3.2),
        UnitCosts("45nm_int8", f"{_HOROWITZ}, 8-bit integer: add 0.03, multiply 0.2", 0.03, 0.23),
    )
}


@dataclass(frozen=True)
class Convention:
    """What counts as an operation, and how often.

    Attributes:
        name: full name with variants. Figures under different names cannot be compared.
        exact: whether spikes that met a weight are counted. If not, rate x dense operations are, as if spikes were
            spread evenly.
        counts: what a number of several spikes costs where it meets a weight: an accumulate for each ("events"),
            one in all ("single"), or a multiplication ("mac").
        repeat: whether the first convolution of a static image counts at each of the T steps.
        head: whether the classifier counts.
        bias: whether additions of a bias count, as further operations of their layer.
        costs: energy per operation.
    """

    name: str
    exact: bool
    counts: Literal["events", "single", "mac"]
    repeat: bool
    head: bool
    bias: bool = False
    costs: UnitCosts = PRESETS["45nm_fp32"]

    @property
    def label(self) -> str:
        """Name, and unit costs where they are not the usual ones."""
        usual = self.costs == PRESETS["45nm_fp32"]
        return self.name if usual else f"{self.name}, {self.costs.name}"


_CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("measured", exact=True, counts="events", repeat=False, head=True),
        Convention("measured_single", exact=True, counts="single", repeat=False, head=True),
        Convention("measured_mac", exact=True, counts="mac", repeat=False, head=True),
        Convention("paper", exact=False, counts="events", repeat=True, head=False),
        Convention("paper_strict", exact=False, counts="mac", repeat=True, head=False),
    )
}
MEASURED = _CONVENTIONS["measured"]
_VARIANTS = ("repeat", "head", "bias")


def names() -> list[str]:
    """Of the conventions, without their variants."""
    return list(_CONVENTIONS)


def convention(name: str = "measured", costs: str = "45nm_fp32") -> Convention:
    """The convention of a name such as "paper+head+bias".

    Args:
        costs: a preset, or a TOML file with `source`, `pj_per_ac` and `pj_per_mac`.

    Raises:
        CostError: no such convention, variant or preset; a file that says something else.
    """
    base, *variants = re.split(r"(?=[+-])", name)
    if base not in _CONVENTIONS:
        raise CostError(f'no convention is named "{base}". {nearest(base, _CONVENTIONS)}')
    changes: dict[str, Any] = {}
    for variant in variants:
        if variant[1:] not in _VARIANTS:
            raise CostError(f'"{variant}" is not a variant of a convention. {nearest(variant[1:], _VARIANTS)}')
        changes[variant[1:]] = variant[0] == "+"
    return dataclasses.replace(_CONVENTIONS[base], name=name, costs=unit_costs(costs), **changes)


def unit_costs(name_or_path: str) -> UnitCosts:
    """A preset, or a file of one's own.

    Raises:
        CostError: neither, or a file without the three values.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise CostError(
            f'no unit costs are named "{name_or_path}". {nearest(name_or_path, PRESETS)} Or give a .toml file'
        )
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
    except OSError as error:
        raise CostError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CostError(f"{path} is not valid TOML: {error}") from None
    kinds = {"source": str, "pj_per_ac": float, "pj_per_mac": float}
    values = {key: float(v) if type(v) is int and kinds.get(key) is float else v for key, v in values.items()}
    if values.keys() != kinds.keys() or any(type(values[key]) is not kind for key, kind in kinds.items()):
        raise CostError(f'{path} must give source = "...", pj_per_ac and pj_per_mac as numbers, and nothing else')
    if not all(0 < values[key] < math.inf for key in ("pj_per_ac", "pj_per_mac")):
        raise CostError(
            f"{path}: pj_per_ac {values['pj_per_ac']} and pj_per_mac {values['pj_per_mac']} must be positive"
        )
    return UnitCosts(path.stem, **values)


@dataclass(frozen=True)
class Energy:
    """Of one image, under a convention.

    Attributes:
        spike_operations: accumulates caused by spikes (SOPs).
        real_macs: multiplications, each with its addition.
    """

    convention: Convention
    spike_operations: float
    real_macs: float

    @property
    def energy_mj(self) -> float:
        costs = self.convention.costs
        return (costs.pj_per_ac * self.spike_operations + costs.pj_per_mac * self.real_macs) * 1e-9


def price(operations: Iterable[Operation], images: int, convention: Convention = MEASURED) -> Energy:
    """Accumulates and multiplications of one image.

    Args:
        operations: counted over `images` images.

    Raises:
        CostError: nothing was counted.
    """
    work = [_work(op, convention) for op in operations]
    if not work or images < 1:
        raise CostError("energies need counted operations or firing rates. Measure the network, or give rates")
    return Energy(convention, math.fsum(ac for ac, _ in work) / images, math.fsum(mac for _, mac in work) / images)


def by_layer(operations: Iterable[Operation], images: int, convention: Convention = MEASURED) -> dict[str, float]:
    """Energy of one image in millijoules, by module path."""
    energies_mj: dict[str, float] = {}
    for op in operations:
        energies_mj[op.path] = energies_mj.get(op.path, 0.0) + price([op], images, convention).energy_mj
    return energies_mj


def overheads_mj(overheads: Overheads, images: int, costs: UnitCosts = MEASURED.costs) -> float:
    """What the headline leaves out, in millijoules an image: an audit line, never summed into it.

    A multiplication with its addition for each neuron update, an addition for each residual one and for each
    comparison of a pool.
    """
    additions = overheads.residual_additions + overheads.pool_comparisons
    pj = costs.pj_per_mac * overheads.neuron_updates + costs.pj_per_ac * additions
    return pj / images * 1e-9


def _work(op: Operation, convention: Convention) -> tuple[float, float]:
    """Accumulates and multiplications, over all images."""
    if not convention.head and op.path.split(".")[0] == "head":
        return 0.0, 0.0
    times = op.repeats if convention.repeat else 1
    dense = op.dense + (op.biases if convention.bias else 0)
    biases = op.biases if convention.bias else 0
    several = op.kind == "weight" and not op.operands[0].is_unit and not op.is_real
    if op.is_real or (several and convention.counts == "mac"):
        whole = op.kind == "weight" and not convention.exact
        return 0.0, float(times * (dense if whole else op.nonzero + biases))
    if op.kind != "weight":
        return float(times * op.events), 0.0
    met = op.nonzero if convention.counts == "single" else op.events
    if convention.exact:
        return float(times * (met + biases)), 0.0
    return times * dense * op.spikes / op.values, 0.0


__all__ = [
    "MEASURED",
    "PRESETS",
    "Convention",
    "Energy",
    "UnitCosts",
    "by_layer",
    "convention",
    "names",
    "overheads_mj",
    "price",
    "unit_costs",
]
