"""The layers of one network and what each costs, wherever the network is known from.

Without weights there are parameters and dense operations, and no energy: that needs spikes, so a trained network with
images, the counts in a study's record, or firing rates that the user vouches for.
"""

import dataclasses
import json
from pathlib import Path

from nas.bundles import bundle as bundles
from nas.costs import MEASURED, Chip, Convention, MemoryModel, Rates, energy, static_operations
from nas.costs import chip as chips
from nas.costs import memory as memories
from nas.costs import rates as firing
from nas.datasets import Splits
from nas.datasets import loaders as data
from nas.errors import CostError, DataError, StudyError
from nas.reports.layer_costs import Costs, costs_of, counted_on, priced, with_hardware
from nas.reports.structure import Inspection, config_at, in_form, structure
from nas.settings import DataSettings, Recipe
from nas.spaces import SearchSpace
from nas.studies import Study
from nas.training import measurement, network_input
from nas.typed import hold_value
from spikformer.checkpoints import load
from spikformer.config import SpikformerConfig
from spikformer.errors import CheckpointError
from spikformer.fusion import fuse


def costs(
    study: Study,
    number: int,
    convention: Convention = MEASURED,
    chip: Chip | None = None,
    memory: MemoryModel | None = None,
) -> Costs:
    """What each layer of a trial costs; nothing is loaded or run.

    Args:
        chip: a model of a chip, asked too.
        memory: a model of memory, asked too.

    Raises:
        CostError: the model of the chip fails.
        StudyError: no such trial, or one without counts.
    """
    candidate = study.candidate(number)
    if not candidate.is_ranked or not candidate.operations:
        raise StudyError(
            f"trial {number} of study {study.name} is {candidate.status} and has no counted operations. Give "
            "another trial"
        )
    name = f"{study.name}, trial {number}" + (f", {candidate.reason}" if candidate.status == "stopped" else "")
    layers = costs_of(name, candidate, convention, study.sample)
    return with_hardware(layers, candidate.counts, chip, memory)


def costs_at_rates(
    network: str, rates: Rates, convention: Convention = MEASURED, image_size: int | None = None, *, fused: bool = False
) -> Costs:
    """What each layer of a network would cost at firing rates that the user gives.

    Args:
        network, image_size, fused: see `structure`.
        rates: see `nas.costs.rates`.

    Raises:
        ConfigError: no such network, or not at that image size.
        CostError: a layer without a rate, or a rate without a layer.
    """
    config = config_at(network, image_size)
    if config.stem.in_channels == 2:
        raise CostError(
            f"{network} takes frames of events, and no firing rate tells how many events its first layer is fed. Give "
            "--trial with a study, or --data-dir with a bundle"
        )
    operations = firing.at(static_operations(config, fused=fused), rates)
    return priced(in_form(network, fused), config, "at the rates given, not measured", operations, 1, convention)


def costs_on_images(
    folder: str,
    data_dir: str | None,
    convention: Convention = MEASURED,
    chip: Chip | None = None,
    *,
    fused: bool = False,
    memory: MemoryModel | None = None,
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
        raise CheckpointError(
            f"{folder} has no proxy.safetensors, whose trained weights counting spikes needs. Give firing rates instead"
        )
    model = load(folder, "proxy")
    splits = _images(Path(folder), model.config, data_dir)
    form = fuse(model) if fused else model
    counts = measurement.measure(form, splits.search_val, network_input(splits.train, model))
    if counts.silent is not None:
        raise CostError(f"the proxy of {folder} is silent: {counts.silent}. Its energy means nothing")
    name = in_form(f"proxy of {folder}", fused)
    sample = "recording" if splits.frames is not None else "image"
    source = counted_on(counts.images, sample)
    layers = priced(name, model.config, source, counts.operations, counts.images, convention, sample)
    return with_hardware(layers, measurement.counts_of(model.config, counts), chip, memory)


def costs_with_weights(
    network: str,
    weights: str,
    data_dir: str | None,
    convention: Convention = MEASURED,
    chip: Chip | None = None,
    *,
    fused: bool = False,
    memory: MemoryModel | None = None,
) -> Costs:
    """What each layer of a network costs with the weights that its authors released, on test images.

    Args:
        network: a published name, or a JSON file with the network's config.
        weights: the released file (`spikformer.checkpoints.load_official`).
        data_dir: where the images are (`nas.datasets.sources`).
        chip, memory: see `costs`.
        fused: count the deployable form.

    Raises:
        CheckpointError: weights that cannot be read, or of another network.
        DataError: no images, or of other classes.
        CostError: the network is silent.
    """
    from nas.full_training import evaluation  # timm, only now

    config, counts = evaluation.counted(network, data_dir, weights, fused=fused)
    if counts.silent is not None:
        raise CostError(f"{network} with {weights} is silent: {counts.silent}. Its energy means nothing")
    name = in_form(f"{network} with {weights}", fused)
    layers = priced(name, config, counted_on(counts.images, "image"), counts.operations, counts.images, convention)
    return with_hardware(layers, measurement.counts_of(config, counts), chip, memory)


def _structure_with_weights(network: str, weights: str, *, fused: bool) -> Inspection:
    """The parts of a network into which released weights fit."""
    bundles.read(network, weights=weights).model()
    note = f"{weights} holds all weights of {network}, and no others that its authors' code uses"
    return dataclasses.replace(structure(network, fused=fused), note=note)


def _images(folder: Path, config: SpikformerConfig, data_dir: str | None) -> Splits:
    """The splits of the study that a folder was exported from."""
    try:
        recorded = dict(json.loads((folder / "config.json").read_text())["data"])
        seed, fingerprint, train_images = (recorded.pop(key) for key in ("seed", "images", "train_images"))
        settings = DataSettings.of(recorded)
        hold_value("seed", seed, int)
        hold_value("train_images", train_images, int)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{folder}/config.json does not say on which images it was measured: {error}") from None
    recipe = Recipe(train_images=train_images)
    splits = data.load(SearchSpace(folder.name, config.to_dict(), (), {}, settings, recipe), data_dir, seed)
    if splits.fingerprint != fingerprint:
        raise DataError(
            f"{folder} was measured on the images {fingerprint}, but the given images are {splits.fingerprint}. Give "
            "the images of the search"
        )
    return splits


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
    memory: str | None = None,
    weights: str | None = None,
) -> Inspection | Costs:
    """The structure of a network, or what each of its layers costs.

    Costs are those of a study's trial, those counted on images, or those at given firing rates; without any of them
    the structure is told.

    Args:
        network: a study, of which `trial` names the network; else see `structure`.
        rates: firing rates (`nas.costs.rates.read`).
        data_dir: images on which an exported folder's proxy is counted, or a network with released weights.
        weights: file that the authors of the network released.
        convention, unit_costs: name of the energy convention, and energy per operation.
        chip, memory: names of a model of a chip and of a model of memory, asked too.

    Raises:
        StudyError: no such trial, or a study without one.
        ConfigError, CostError: see `structure`, `costs_on_images` and `costs_at_rates`.
    """
    chosen, model = energy.convention(convention, unit_costs), None if chip is None else chips.load(chip)
    accesses = None if memory is None else memories.load(memory)
    if isinstance(network, Study):
        if trial is None:
            raise StudyError(f"study {network.name} has many networks. Give the number of a trial: trial=N")
        return costs(network, trial, chosen, model, accesses)
    if weights is not None and data_dir is not None:
        return costs_with_weights(network, weights, data_dir, chosen, model, fused=fused, memory=accesses)
    if weights is not None:
        return _structure_with_weights(network, weights, fused=fused)
    if data_dir is not None:
        return costs_on_images(network, data_dir, chosen, model, fused=fused, memory=accesses)
    if rates is not None:
        return costs_at_rates(network, firing.read(rates), chosen, image_size, fused=fused)
    return structure(network, image_size, fused=fused)


__all__ = ["costs", "costs_at_rates", "costs_on_images", "costs_with_weights", "inspect"]
