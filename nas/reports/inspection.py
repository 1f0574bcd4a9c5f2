"""What a network is made of, and what its layers cost.

Without weights there are parameters and dense operations, and no energy: that needs spikes, so a trained network with
images, the counts in a study's record, or firing rates that the user vouches for.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from nas.costs import (
    MEASURED,
    Chip,
    ChipCosts,
    Convention,
    Operation,
    Overheads,
    Part,
    Rates,
    energy,
    memory_mj,
    parts,
    static_model,
    static_operations,
)
from nas.costs import MODEL as MEMORY_MODEL
from nas.costs import chip as chips
from nas.costs import rates as firing
from nas.datasets import Splits
from nas.datasets import loaders as data
from nas.errors import CostError, DataError, StudyError
from nas.progress import in_si
from nas.settings import DataSettings, Recipe
from nas.spaces import SearchSpace
from nas.studies import Study
from nas.training import Candidate, Normalise, measurement
from nas.typed import hold, hold_value
from spikformer import published
from spikformer.checkpoints import load
from spikformer.config import SpikformerConfig
from spikformer.errors import CheckpointError, ConfigError
from spikformer.fields import PlainTable
from spikformer.fusion import fuse, real_multiplications


@dataclass(frozen=True)
class Inspection:
    """A network and its parts.

    Attributes:
        name: the published name or the file.
        parts: the whole network first, then its modules.
    """

    name: str
    config: SpikformerConfig
    parts: tuple[Part, ...]

    def to_dict(self) -> PlainTable:
        """Plain values; `macs` per image over all time steps, padding included, nothing zero."""
        whole = self.parts[0]
        return {
            "name": self.name,
            "config_id": self.config.config_id,
            "parameters": whole.parameters,
            "macs": whole.dense_macs,
            "config": self.config.to_dict(),
            "parts": [dataclasses.asdict(part) for part in self.parts],
        }

    def lines(self) -> list[str]:
        """What stands under the table: nothing."""
        return []

    def table(self) -> Table:
        """Parts down to the convolutions."""
        title = Text(f"{self.name}: dense MACs per image over T = {self.config.time_steps}")
        table = Table(title=title, title_justify="left")
        table.add_column("part")
        table.add_column("kind")
        table.add_column("parameters", justify="right")
        table.add_column("MACs", justify="right")
        for part in self.parts:
            depth = part.path.count(".") + 1 if part.path else 0
            macs = in_si(part.dense_macs, "").strip() if part.dense_macs else "0"
            table.add_row("  " * depth + (part.path or "whole network"), part.kind, f"{part.parameters:,}", macs)
        return table


@dataclass(frozen=True)
class Costs:
    """Where the energy of a network goes.

    Attributes:
        name: of the network.
        source: how its spikes are known.
        layers: module path, class of what it is fed, and per image: dense MACs over all T, mean spikes per number,
            accumulates, multiplications, energy in mJ.
        totals: energy in mJ of the whole network, by convention.
        chip: name of a chip and what its model says, if one was asked for.
        memory_mj: of memory accesses, if asked for.
    """

    name: str
    source: str
    convention: Convention
    layers: list[PlainTable]
    totals: dict[str, float]
    chip: tuple[str, ChipCosts] | None = None
    memory_mj: float | None = None

    def to_dict(self) -> PlainTable:
        """Plain values; `chip` and `memory_mj` only if asked for."""
        costs = dataclasses.asdict(self.convention.costs)
        asked: PlainTable = {}
        if self.chip is not None:
            asked["chip"] = {"name": self.chip[0]} | dataclasses.asdict(self.chip[1])
        if self.memory_mj is not None:
            asked["memory_mj"] = self.memory_mj
        return {
            "name": self.name,
            "convention": self.convention.label,
            "unit_costs": costs,
            "source": self.source,
            "layers": self.layers,
            "energy_mj": self.totals,
        } | asked

    def lines(self) -> list[str]:
        """What stands under the table."""
        found = [_chip_line(*self.chip)] if self.chip is not None else []
        if self.memory_mj is not None:
            whole = sum(layer["energy_mj"] for layer in self.layers)
            times = f", {self.memory_mj / whole:.1f} times the whole network's energy" if whole else ""
            found.append(f"Memory accesses, by {MEMORY_MODEL}: {in_si(self.memory_mj * 1e-3, 'J')}{times}; not in it.")
        return found

    def table(self) -> Table:
        """Layers in the order in which they run, and the totals."""
        table = Table(
            title=Text(f"{self.name}, {self.source}: an image under the convention {self.convention.label}"),
            show_footer=True,
        )
        whole = sum(layer["energy_mj"] for layer in self.layers)
        headings = ("dense MACs", "spikes a number", "accumulates", "MACs", "energy", "share")
        table.add_column("layer", footer="whole network")
        table.add_column("fed")
        for heading in headings:
            footer = in_si(whole * 1e-3, "J") if heading == "energy" else ""
            table.add_column(heading, justify="right", footer=footer)
        for layer in self.layers:
            counts = [_count(layer[key]) for key in ("dense_macs", "accumulates", "macs")]
            mean = "" if layer["mean"] is None else f"{layer['mean']:.4f}"
            share = f"{100 * layer['energy_mj'] / whole:.1f} %" if whole else ""
            energy_j = in_si(layer["energy_mj"] * 1e-3, "J") if layer["energy_mj"] else "0"
            table.add_row(layer["path"], layer["fed"], counts[0], mean, counts[1], counts[2], energy_j, share)
        return table


def _count(n: float) -> str:
    return in_si(n, "").strip() if n else "0"


def _chip_line(name: str, found: ChipCosts) -> str:
    energy_j = "energy not said" if found.energy_mj is None else in_si(found.energy_mj * 1e-3, "J")
    latency_s = "latency not said" if found.latency_ms is None else in_si(found.latency_ms * 1e-3, "s")
    fit = {None: "fit not said", True: "fits", False: "does not fit"}[found.fits]
    return f'On the chip "{name}": {energy_j}, {latency_s}, {fit}' + (f" ({found.note})." if found.note else ".")


def costs(
    study: Study,
    number: int,
    convention: Convention = MEASURED,
    chip: Chip | None = None,
    *,
    memory: bool = False,
) -> Costs:
    """What each layer of a trial costs; nothing is loaded or run.

    Args:
        chip: a model of a chip, asked too.
        memory: whether memory accesses are estimated too.

    Raises:
        CostError: the model of the chip fails.
        StudyError: no such trial, or one without counts.
    """
    candidate = study.candidate(number)
    if not candidate.is_ranked or not candidate.operations:
        raise StudyError(f"trial {number} of study {study.name} is {candidate.status}: it has no counted operations")
    images = candidate.counted_images
    name = f"{study.name}, trial {number}" + (f", {candidate.reason}" if candidate.status == "stopped" else "")
    found = costs_of(name, candidate, convention)
    return _with_extras(found, candidate.config, candidate.operations, candidate.overheads, images, chip, memory)


def costs_of(name: str, candidate: Candidate, convention: Convention = MEASURED) -> Costs:
    """What each layer of a candidate costs, by the counts in its record."""
    images = candidate.counted_images
    return _costs(name, _counted(images), candidate.operations, images, convention)


def costs_at_rates(
    network: str, given: Rates, convention: Convention = MEASURED, image_size: int | None = None, *, fused: bool = False
) -> Costs:
    """What each layer of a network would cost at firing rates that the user gives.

    Args:
        network, image_size, fused: see `structure`.
        given: see `nas.costs.rates`.

    Raises:
        ConfigError: no such network, or not at that image size.
        CostError: a layer without a rate, or a rate without a layer.
    """
    operations = firing.at(static_operations(_at(_config(network), image_size), fused=fused), given)
    return _costs(_name(network, fused), "at the rates given, not measured", operations, 1, convention)


def costs_on_images(
    folder: str,
    data_dir: str | None,
    convention: Convention = MEASURED,
    chip: Chip | None = None,
    *,
    fused: bool = False,
    memory: bool = False,
) -> Costs:
    """What each layer of an exported folder's trained proxy costs on the search-val images of its study.

    Args:
        folder: as `export` writes it, with `proxy.safetensors`.
        data_dir: where the images are (`nas.datasets.loaders.load`).
        chip, memory: see `costs`.
        fused: count the deployable form.

    Raises:
        CheckpointError: no such folder, or one without trained weights.
        DataError: not the images of its study.
        CostError: the network is silent.
    """
    if not (Path(folder) / "proxy.safetensors").is_file():
        raise CheckpointError(f"{folder} has no proxy.safetensors: without trained weights there are no spikes")
    model = load(folder, "proxy")
    splits = _images(Path(folder), model.config, data_dir)
    form = fuse(model) if fused else model
    found = measurement.measure(form, splits.search_val, Normalise(splits.train))
    if found.silent is not None:
        raise CostError(f"the proxy of {folder} is silent: {found.silent}. It has no energy to speak of")
    name = _name(f"proxy of {folder}", fused)
    priced = _costs(name, _counted(found.images), found.operations, found.images, convention)
    return _with_extras(priced, model.config, found.operations, found.overheads, found.images, chip, memory)


def _counted(images: int) -> str:
    return f"counted on {images} images"


def _with_extras(
    found: Costs,
    config: SpikformerConfig,
    operations: tuple[Operation, ...],
    overheads: Overheads,
    images: int,
    chip: Chip | None,
    memory: bool,
) -> Costs:
    """With a chip's figures and memory accesses, where they were asked for."""
    on_chip = None if chip is None else (chip.name, chip(config, operations, overheads, images))
    accesses_mj = memory_mj(operations, overheads, images, config.time_steps) if memory else None
    return dataclasses.replace(found, chip=on_chip, memory_mj=accesses_mj)


def _images(folder: Path, config: SpikformerConfig, data_dir: str | None) -> Splits:
    """The splits of the study that a folder was exported from."""
    try:
        recorded = dict(json.loads((folder / "config.json").read_text())["data"])
        seed, wanted, train_images = (recorded.pop(key) for key in ("seed", "images", "train_images"))
        settings = DataSettings(**recorded | {"classes": tuple(recorded.get("classes", ()))})
        hold(settings)
        hold_value("seed", seed, int)
        hold_value("train_images", train_images, int)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{folder}/config.json does not say on which images it was measured: {error}") from None
    recipe = Recipe(train_images=train_images)
    splits = data.load(SearchSpace(folder.name, config.to_dict(), (), {}, settings, recipe), data_dir, seed)
    if splits.fingerprint != wanted:
        raise DataError(f"{folder} was measured on the images {wanted}, these are {splits.fingerprint}. Give others")
    return splits


def _name(network: str, fused: bool) -> str:
    return f"{network}, deployable form" if fused else network


def _costs(name: str, source: str, operations: tuple[Operation, ...], images: int, convention: Convention) -> Costs:
    return Costs(
        name,
        source,
        convention,
        [_layer(op, images, convention) for op in operations],
        {name: energy.price(operations, images, energy.convention(name)).energy_mj for name in energy.names()},
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


def not_spike_driven(network: str, image_size: int | None = None) -> list[str]:
    """What still multiplies by real numbers in the deployable form of a network: "path: reason" each.

    Raises:
        ConfigError: no such network, or not at that image size.
    """
    return real_multiplications(static_model(_at(_config(network), image_size), fused=True))


def inspect(
    network: str | Study,
    trial: int | None = None,
    *,
    image_size: int | None = None,
    fused: bool = False,
    rates: str | None = None,
    data_dir: str | None = None,
    convention: str = "measured",
    unit_costs: str = "45nm_fp32",
    chip: str | None = None,
    memory: bool = False,
) -> Inspection | Costs:
    """The structure of a network, or what each of its layers costs.

    Costs are those of a study's trial, those counted on images, or those at given firing rates; without any of them
    the structure is told.

    Args:
        network: a study, of which `trial` names the network; else see `structure`.
        rates: firing rates (`nas.costs.rates.read`).
        data_dir: images on which an exported folder's proxy is counted.
        convention, unit_costs: name of the energy convention, and energy per operation.
        chip, memory: see `costs`.

    Raises:
        StudyError: no such trial, or a study without one.
        ConfigError, CostError: see `structure`, `costs_on_images` and `costs_at_rates`.
    """
    chosen, model = energy.convention(convention, unit_costs), None if chip is None else chips.load(chip)
    if isinstance(network, Study):
        if trial is None:
            raise StudyError(f"study {network.name} has many networks. Give the number of a trial")
        return costs(network, trial, chosen, model, memory=memory)
    if data_dir is not None:
        return costs_on_images(network, data_dir, chosen, model, fused=fused, memory=memory)
    if rates is not None:
        return costs_at_rates(network, firing.read(rates), chosen, image_size, fused=fused)
    return structure(network, image_size, fused=fused)


def structure(network: str, image_size: int | None = None, *, fused: bool = False) -> Inspection:
    """Take a published network, a config file or an exported folder apart.

    Args:
        network: a name from `spikformer.published.names()`, a JSON file as `SpikformerConfig.to_dict` or
            `export` writes it, or an exported folder.
        image_size: in pixels, instead of the config's.
        fused: its deployable form.

    Raises:
        ConfigError: no such network, or not at that image size.
    """
    config = _at(_config(network), image_size)
    return Inspection(_name(network, fused), config, tuple(parts(static_model(config, fused=fused))))


def _at(config: SpikformerConfig, image_size: int | None) -> SpikformerConfig:
    if image_size is None:
        return config
    return dataclasses.replace(config, stem=dataclasses.replace(config.stem, image_size=image_size))


def _config(network: str) -> SpikformerConfig:
    path = Path(network)
    if path.is_dir():
        path = path / "config.json"
    if path.suffix != ".json" and not path.is_file():
        return published.config(network)
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no JSON: {error}") from None
    if isinstance(document, dict) and "network" in document:
        document = document["network"]
    try:
        return SpikformerConfig.from_dict(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
