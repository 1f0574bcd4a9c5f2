"""The cards of exported folders: what a network is, its figures and how they came about, and how to train it."""

import shlex
from pathlib import Path

from nas.bundles import Bundle, TrainingRecipe
from nas.costs import MEASURED, scaling, static_model, target, total_macs
from nas.datasets import GIVEN
from nas.exports.sizing import Size
from nas.exports.transfer import ACCURACY, ENERGY
from nas.full_training import memory
from nas.reports import repeats
from nas.settings import EVENT_DATASETS, TRAINING_RECORDINGS, sample_of
from nas.studies import Study
from nas.training import Candidate, in_si, in_words, provenance
from spikformer import published
from spikformer.config import SpikformerConfig

_IMAGES = TRAINING_RECORDINGS | {"digits": 1_438}  # four fifths of all digits
_ASSUMED_FLOPS = 100e12  # a second; a quarter of what an A100 to H100 promises for bfloat16: an assumption


def predicted(energy_mj: float) -> str:
    """What a card says of an energy that is predicted for a network that was not trained."""
    energy_j = energy_mj * 1e-3
    error = target.PREDICTION_ERROR
    low, middle, high = (in_si(energy_j * factor, "J") for factor in (1 / (1 + error), 1, 1 / (1 - error)))
    return (
        f'Predicted energy of this network: {middle} per image, {low} to {high}, under the convention "measured". Its '
        f"own operations are counted exactly, and each layer is assumed to fire as often as in the proxy. {ENERGY}"
    )


def _rule(size: Size) -> str:
    if size.as_is:
        return "The searched network itself."
    if size.params is None and size.macs is None:
        return "Width and depth are those of the searched network; the stem is one for larger images."
    return (
        "The searched network, scaled to the largest size with at most "
        f"{scaling.in_words(size.params, size.macs)}. "
        f"Depth grows as the square of the width, up to {scaling.MOST_BLOCKS} blocks. Heads, MLP ratio and all else "
        "stay the same."
    )


def _requirements(network: SpikformerConfig, own: TrainingRecipe, dataset: str = "") -> str:
    """Size, work, memory: what follows from the network, its recipe and the images that it is trained on."""
    macs, parameters = total_macs(network), sum(p.numel() for p in static_model(network).parameters())
    images = _IMAGES.get(dataset, 1_281_167 if network.stem.image_size > 64 else 50_000)
    flops = 6 * macs * own.all_epochs * images  # forward and backward: three passes of two operations a MAC
    hours = flops / _ASSUMED_FLOPS / 3600
    kept_gb, checkpointed_gb = memory.kept_gb(network, has_frames=dataset in EVENT_DATASETS)
    states_gb = memory.states_gb(parameters, own)
    stem, epochs, sample = network.stem, own.all_epochs, sample_of(dataset)
    rows = {
        _shown(sample): f"{stem.image_size} x {stem.image_size}, {network.head.num_classes} classes",
        "time steps": network.time_steps,
        "blocks x width, by stage": ", ".join(f"{stage.depth} x {stage.embed_dim}" for stage in network.stages),
        "parameters": f"{parameters:,}",
        f"dense MACs per {sample}, all time steps": in_si(macs, "").strip(),
        "GPU memory": f"{states_gb:.1f} GB, and {1000 * kept_gb:.0f} MB for each {sample} that it processes at a time "
        f"({1000 * checkpointed_gb:.0f} MB with `checkpointing=true`)",
        "work of the whole recipe": f"{flops:.1e} FLOP for {images:,} {sample}s and {epochs} epochs: "
        f"{hours:,.0f} hours at {_ASSUMED_FLOPS / 1e12:.0f} TFLOP/s",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""| of the network to train | |
|---|---|
{table}

The memory is estimated on a CPU from what a forward pass in bfloat16 keeps, and the speed is an assumption. Neither
was measured on a GPU. `train --dry-run` measures both on yours."""


def _shown(sample: str) -> str:
    """What networks are shown of images or of recordings."""
    return "frames" if sample == "recording" else f"{sample}s"


def _commands(folder: Path, network: SpikformerConfig, program: str, dataset: str = "") -> str:
    where, place = shlex.quote(str(folder)), "CIFAR" if network.stem.image_size <= 64 else "IMAGENET"
    has_own = dataset in EVENT_DATASETS or (dataset in ("image_folder", GIVEN) and network.stem.image_size <= 64)
    place = "DIR" if has_own else place
    images = "" if dataset in ("digits", "dvs_digits") else f" --data-dir {place}"
    launched = "cli.py" if program.endswith("cli.py") else "-m nas"
    return f"""```
{program} train {where} --dry-run
{program} train {where}{images}
torchrun --nproc-per-node 8 {launched} train {where}{images}
{program} evaluate results/trained/{folder.name}{images}
```"""


def _accuracies(study: Study, number: int, candidate: Candidate) -> str:
    """Rows of the card's table: report-val first, of further seeds where there are any."""
    rows = {"report-val accuracy (not used to choose)": f"{100 * (candidate.report_val_accuracy or 0):.2f} %"}
    confirmed = repeats.read(study, study.candidates, MEASURED).confirmed
    for row in confirmed[confirmed["trial"] == number].to_dict("records"):
        words = f"report-val accuracy, mean of {row['seeds']} further seeds, 95 % (the figure to quote)"
        rows = {words: repeats.interval(row, "report_val")} | rows
    rows["search-val accuracy (the search chose by it)"] = f"{100 * (candidate.search_val_accuracy or 0):.2f} %"
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def card(
    study: Study,
    number: int,
    candidate: Candidate,
    network: SpikformerConfig,
    own: TrainingRecipe,
    folder: Path,
    size: Size,
    has_weights: bool,
    program: str = "python -m nas",
) -> str:
    """What an exported folder is, its figures, how they came about, and how to train and load it."""
    energy = in_si((candidate.energy_mj or 0) * 1e-3, "J")
    transfer = "" if size.as_is else f"\n\n{ACCURACY}"
    foreseen = "" if size.as_is else predicted(target.predicted_energy_mj(candidate.operations, network))
    proxy, pixels = candidate.recipe, candidate.config.stem.image_size
    sample = study.sample
    dataset = str(study.identity.get("data.dataset")) if size.as_is else ""  # else it is trained on ImageNet
    proxy_weights = (
        "`spikformer.load(folder, 'proxy')` gives the proxy with its trained weights."
        if has_weights
        else ("The proxy's weights were not kept, because it had left the front or the study's weights were deleted.")
    )
    return f"""# {in_words(candidate)}

Trial {number} of the study {study.name}; config {candidate.config_id}, seed {candidate.seed}.

**Transfer to full training unverified.** The figures of the proxy are those of a small network after a short training.
They rank candidates against each other. They do not predict the accuracy that this network will reach.{transfer}

| of the proxy | |
|---|---|
{_accuracies(study, number, candidate)}
| energy per {sample}, convention "measured" | {energy} |
| spike operations per {sample} | {in_si(candidate.spike_operations or 0, "").strip()} |
| parameters | {candidate.parameters:,} |

Data: {study.identity.get("data.dataset")}, {_shown(sample)} {pixels} x {pixels}; {candidate.images_seen}
training {sample}s seen in {proxy.epochs} epochs; energy counted exactly on {candidate.counted_images} {sample}s, 45 nm
arithmetic only (Horowitz, ISSCC 2014). {provenance.code_of(candidate.provenance).capitalize()}.

{_rule(size)}

{_requirements(network, own, dataset)}

{foreseen}

## Train

{_commands(folder, network, program, dataset)}

Recipe (`recipe.toml`): {own.source}. Changed: {own.changes}.

## Load

```python
import spikformer

model = spikformer.load({str(folder)!r})  # fresh weights
```

{proxy_weights}
"""


def published_card(bundle: Bundle, folder: Path, program: str) -> str:
    config, own = bundle.config, bundle.recipe
    weights = (
        "The bundle has no weights yet: train it."
        if bundle.weights is None
        else f"Weights: those of {bundle.weights.name}."
    )
    return f"""# {bundle.name}

{_in_print(bundle.name)} {weights}

{_requirements(config, own, bundle.dataset)}

## Train

{_commands(folder, config, program, bundle.dataset)}

Recipe (`recipe.toml`): {own.source}. Changed: {own.changes}.
"""


def _in_print(name: str) -> str:
    """The paper of a network, the accuracy that it prints, and how that came about."""
    if name not in published.names():
        return "The network of a config file."
    return published.figures(name).in_words()


__all__ = ["card", "predicted", "published_card"]
