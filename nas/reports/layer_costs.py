"""What each layer of a network costs, by its operations."""

import dataclasses
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from nas.costs import (
    MEASURED,
    TERMS,
    BreakEven,
    Chip,
    ChipCosts,
    Convention,
    Counts,
    MemoryEnergy,
    MemoryModel,
    Operation,
    energy,
    neurobench,
    quantised,
)
from nas.costs import rates as firing
from nas.reports.units import unit_of
from nas.training import Candidate, described, in_si
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError, TrustError
from spikformer.fields import PlainTable


@dataclass(frozen=True)
class Costs:
    """Where the energy of a network goes.

    Attributes:
        name: of the network.
        description: the network in words.
        source: how its spikes are known.
        layers: module path, class of what it is fed, and per sample: dense MACs over all T, mean spikes per number,
            accumulates, multiplications, energy in mJ.
        totals: energy in mJ of the whole network, by convention.
        chip: name of a chip and what its model says, if one was asked for.
        memory: accesses by a model of memory, if asked for.
        sample: what it is fed, in a word: an image or a recording.
        neurobench: NeuroBench's metrics under its names, of counted networks.
        against: the network against its quantised counterpart, where there is one, by arithmetic and with memory.
    """

    name: str
    description: str
    source: str
    convention: Convention
    layers: list[PlainTable]
    totals: dict[str, float]
    chip: tuple[str, ChipCosts] | None = None
    memory: MemoryEnergy | None = None
    against: tuple[BreakEven, ...] = ()
    neurobench: PlainTable | None = None
    sample: str = "image"

    def to_dict(self) -> PlainTable:
        """Plain values; `chip` and `memory` only if asked for, comparisons only with counts."""
        costs = dataclasses.asdict(self.convention.costs)
        asked: PlainTable = {}
        if self.chip is not None:
            asked["chip"] = {"name": self.chip[0]} | dataclasses.asdict(self.chip[1])
        if self.memory is not None:
            layers = {path: accesses.terms for path, accesses in self.memory.layers.items()}
            terms = self.memory.total.terms
            total = {"energy_mj": self.memory.energy_mj, "terms_mj": terms, "layers_mj": layers}
            asked["memory"] = {"model": self.memory.model} | total
        if self.neurobench is not None:
            asked["neurobench"] = self.neurobench
        if self.against:
            asked["against_quantised"] = [each.to_dict() for each in self.against]
        return {
            "name": self.name,
            "description": self.description,
            "convention": self.convention.label,
            "unit_costs": costs,
            "source": self.source,
            "layers": self.layers,
            "energy_mj": self.totals,
        } | asked

    def lines(self) -> list[str]:
        """What stands under the table."""
        lines = [_chip_line(*self.chip)] if self.chip is not None else []
        if self.memory is not None:
            whole, memory_mj = sum(layer["energy_mj"] for layer in self.layers), self.memory.energy_mj
            times = f", {memory_mj / whole:.1f} times the whole network's energy" if whole else ""
            lines.append(
                f"Memory accesses, by {self.memory.model}: {in_si(memory_mj * 1e-3, 'J')}{times}; not in it. "
                f"{_terms_in_words(self.memory)}."
            )
        return lines + [each.line() for each in self.against]

    def tables(self) -> list[Table]:
        """What a terminal shows: the layers, and their memory accesses, if asked for."""
        return [self.table(), *([_memory_table(self.memory, self.sample)] if self.memory is not None else [])]

    def table(self) -> Table:
        """Layers in the order in which they run, and the totals."""
        table = Table(
            title=Text(
                f"{self.name}, {self.source}: per {self.sample} under the convention {self.convention.label}\n"
                f"{self.description}"
            ),
            show_footer=True,
        )
        energies_mj = [layer["energy_mj"] for layer in self.layers]
        whole, unit = sum(energies_mj), unit_of(energies_mj)
        headings = ("dense MACs", "spikes per input", "accumulates", "MACs", "energy", "share")
        table.add_column("layer", footer="whole network")
        table.add_column("fed")
        for heading in headings:
            footer = unit.text(whole) if heading == "energy" else ""
            table.add_column(heading, justify="right", footer=footer)
        for layer, energy_mj in zip(self.layers, energies_mj, strict=True):
            counts = [_count(layer[key]) for key in ("dense_macs", "accumulates", "macs")]
            mean = "" if layer["mean"] is None else f"{layer['mean']:.4f}"
            share = f"{100 * energy_mj / whole:.1f} %" if whole else ""
            table.add_row(
                layer["path"], layer["fed"], counts[0], mean, counts[1], counts[2], unit.text(energy_mj), share
            )
        return table


def _count(n: float) -> str:
    return in_si(n, "").strip() if n else "0"


def _memory_table(memory: MemoryEnergy, sample: str) -> Table:
    """Memory accesses by layer and by what is accessed, in the order in which layers run, and the totals."""
    total, rows = memory.total, memory.layers
    unit = unit_of([accesses.total for accesses in rows.values()])
    shown = [name for name in TERMS if total.terms[name]]
    table = Table(title=Text(f"Memory accesses, by {memory.model}: per {sample}"), show_footer=True)
    table.add_column("layer", footer="whole network")
    for name in shown:
        table.add_column(name, justify="right", footer=unit.text(total.terms[name]))
    for path, accesses in rows.items():
        table.add_row(path, *(unit.text(accesses.terms[name]) if accesses.terms[name] else "" for name in shown))
    return table


def _terms_in_words(memory: MemoryEnergy) -> str:
    """ "weights 61 %, potentials 20 %, ..."; what nothing accesses is left out."""
    total, terms = memory.energy_mj, sorted(memory.total.terms.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in terms if value)


def _chip_line(name: str, costs: ChipCosts) -> str:
    energy_j = "energy not said" if costs.energy_mj is None else in_si(costs.energy_mj * 1e-3, "J")
    latency_s = "latency not said" if costs.latency_ms is None else in_si(costs.latency_ms * 1e-3, "s")
    fit = {None: "fit not said", True: "fits", False: "does not fit"}[costs.fits]
    return f'On the chip "{name}": {energy_j}, {latency_s}, {fit}' + (f" ({costs.note})." if costs.note else ".")


def costs_of(name: str, candidate: Candidate, convention: Convention = MEASURED, sample: str = "image") -> Costs:
    """What each layer of a candidate costs, by the counts in its record."""
    counted = candidate.counted_images
    source = counted_on(counted, sample)
    return priced(name, candidate.config, source, candidate.operations, counted, convention, sample)


def with_hardware(costs: Costs, counts: Counts, chip: Chip | None = None, memory: MemoryModel | None = None) -> Costs:
    """Costs with those on a chip and of memory, where they are asked for, and with those of the quantised counterpart.

    Raises:
        CostError: the model of the chip fails.
    """
    on_chip = None if chip is None else (chip.name, chip(counts))
    accesses = memory.price(counts) if memory is not None else None
    against = comparisons(counts, costs.convention, memory)
    return dataclasses.replace(
        costs, chip=on_chip, memory=accesses, against=against, neurobench=neurobench.metrics(counts)
    )


def comparisons(counts: Counts, convention: Convention, memory: MemoryModel | None) -> tuple[BreakEven, ...]:
    """A network against its quantised counterpart by arithmetic, and with memory too; empty where there is none."""
    try:
        models = [None] if memory is None else [None, memory]
        return tuple(quantised.compare(counts, convention, model) for model in models)
    except (ConfigError, TrustError):  # no counterpart, or a record that only code of others could complete
        return ()


def priced(
    name: str,
    config: SpikformerConfig,
    source: str,
    operations: tuple[Operation, ...],
    images: int,
    convention: Convention,
    sample: str = "image",
) -> Costs:
    return Costs(
        name,
        described(config),
        source,
        convention,
        [_layer(op, images, convention) for op in operations],
        {name: energy.price(operations, images, energy.convention(name)).energy_mj for name in energy.names()},
        sample=sample,
    )


def _layer(op: Operation, images: int, convention: Convention) -> PlainTable:
    priced = energy.price([op], images, convention)
    return {
        "path": firing.label(op),
        "fed": " x ".join(operand.kind for operand in op.operands),
        "dense_macs": 0 if op.kind == "sum" else op.dense * op.repeats / images,
        "mean": None if op.kind == "product" or op.is_real else op.spikes / op.values,
        "accumulates": priced.spike_operations,
        "macs": priced.real_macs,
        "energy_mj": priced.energy_mj,
    }


def counted_on(samples: int, sample: str) -> str:
    return f"counted on {samples} {sample}s"


__all__ = ["Costs", "comparisons", "costs_of", "counted_on", "priced", "with_hardware"]
