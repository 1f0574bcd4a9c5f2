"""From a candidate to a folder that can be trained in full."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from nas import constraints, files, pareto, target
from nas.candidate import Candidate
from nas.errors import OutputError, StudyError
from nas.progress import in_si, in_words
from nas.study import Study

PICKS = ("front", "knee", "accuracy", "energy")
_FILES = ("config.json", "card.md", "proxy.safetensors")


def pick(study: Study, which: str = "front") -> dict[int, Candidate]:
    """The candidates that a word or a trial number names, by trial number.

    Args:
        which: "front"; "accuracy" or "energy", the front's best in that; "knee", where more energy begins to
            buy little; or the number of a complete trial.

    Raises:
        StudyError: no such pick.
    """
    front = study.front()
    if which.isascii() and which.isdecimal():
        candidate = study.candidate(int(which))
        if candidate.status != "complete":
            state = f"is {candidate.status} ({candidate.reason})"
            raise StudyError(f"trial {which} of study {study.name} {state}. Use one of {', '.join(PICKS)} or a number")
        return {int(which): candidate}
    if which not in PICKS:
        raise StudyError(f'pick "{which}" is unknown. Use one of {", ".join(PICKS)} or the number of a trial')
    if not front:
        kept = constraints.in_words(study.constraints)
        which_one = f"complete candidate that keeps {kept}" if kept else "complete candidate to export"
        raise StudyError(f"study {study.name} has no {which_one}. Run the search on")
    if which == "front":
        return front
    numbers = list(front)
    energies = [c.ranked_mj(study.energy_of) or math.inf for c in front.values()]
    points = [(c.search_val_accuracy or 0.0, math.log10(mj)) for c, mj in zip(front.values(), energies, strict=True)]
    number = numbers[{"energy": 0, "accuracy": -1, "knee": pareto.knee(points)}[which]]
    return {number: front[number]}


def export(study: Study, which: str = "front", out: str | Path | None = None) -> list[Path]:
    """Write a folder for each picked candidate; returns the folders.

    Args:
        which: see `pick`.
        out: the folders lie in it; `results/<study>/exports` by default.

    Raises:
        StudyError: nothing to export under that name.
        OutputError: a folder that cannot be written, or that holds files of others.
    """
    place = Path(out) if out is not None else study.folder / "exports"
    return [_export(study, number, candidate, place) for number, candidate in pick(study, which).items()]


def _export(study: Study, number: int, candidate: Candidate, place: Path) -> Path:
    folder = place / f"{study.name}-trial{number}"
    foreign = {path.name for path in folder.iterdir()} - set(_FILES) if folder.is_dir() else set()
    if foreign:
        raise OutputError(
            f"{folder} holds {', '.join(sorted(foreign))}, which export did not write. Give another --out"
        )
    weights = study.weights(candidate)
    network = target.for_imagenet(candidate.config, study.target_image_size)

    def fill(partial: Path) -> None:
        partial.mkdir(parents=True)
        document = {"network": network.to_dict(), "proxy": candidate.config.to_dict(), "data": _data(study)}
        (partial / "config.json").write_text(json.dumps(document, indent=2) + "\n")
        if weights.exists():
            shutil.copyfile(weights, partial / "proxy.safetensors")
        (partial / "card.md").write_text(card(study, number, candidate, weights.exists()))

    return files.write(folder, fill)


def _data(study: Study) -> dict[str, Any]:
    """Which images the proxy was trained and measured on, and how they were cut."""
    identity = study.identity
    cut = {key.removeprefix("data."): value for key, value in identity.items() if key.startswith("data.")}
    return cut | {"train_images": identity["recipe.train_images"], "seed": identity["seed"]}


def _predicted(candidate: Candidate) -> str:
    if candidate.energy_target_mj is None:
        return ""
    energy_j, error = candidate.energy_target_mj * 1e-3, target.PREDICTION_ERROR
    low, middle, high = (in_si(energy_j * factor, "J") for factor in (1 / (1 + error), 1, 1 / (1 - error)))
    return (
        f'Predicted for the network here: {middle} an image, {low} to {high}, convention "measured": its own '
        "operations, exactly, if each layer is as busy as the proxy's. The interval is "
        f"{100 * error:.0f} %, the error of such a prediction on the one network whose rates on ImageNet are known, "
        "where it was too low (`benchmarks/target_energy.py`); for another network it may be wider."
    )


def card(study: Study, number: int, candidate: Candidate, has_weights: bool) -> str:
    """What an exported folder is, its figures, how they came about, and how to load it."""
    energy = in_si((candidate.energy_mj or 0) * 1e-3, "J")
    recipe, size, pixels = candidate.recipe, candidate.config.stem.image_size, study.target_image_size
    kept = (
        "`spikformer.load(folder, 'proxy')` gives the proxy with its trained weights."
        if has_weights
        else ("The proxy's weights were not kept: it had left the front, or the study's weights were deleted.")
    )
    return f"""# {in_words(candidate)}

Trial {number} of the study {study.name}; config {candidate.config_id}, seed {candidate.seed}.

**Transfer to ImageNet unverified.** The figures below are those of a small proxy after a short training. They
rank candidates against each other; they do not predict what this network reaches on ImageNet.

| of the proxy | |
|---|---|
| search-val accuracy (the search chose by it) | {100 * (candidate.search_val_accuracy or 0):.2f} % |
| report-val accuracy (not used to choose) | {100 * (candidate.report_val_accuracy or 0):.2f} % |
| energy per image, convention "measured" | {energy} |
| spike operations per image | {in_si(candidate.spike_operations or 0, "").strip()} |
| parameters | {candidate.parameters:,} |

{_predicted(candidate)}

Data: {study.identity.get("data.dataset")}, images {size} x {size}; {candidate.images_seen}
training images seen in {recipe.epochs} epochs; energy counted exactly on {candidate.counted_images} images, 45 nm
arithmetic only (Horowitz, ISSCC 2014). Commit {candidate.provenance["commit"]}.

## Load

```python
import spikformer

model = spikformer.load("{study.name}-trial{number}")  # {pixels} x {pixels}, 1000 classes, fresh weights
```

{kept}
"""


__all__ = ["PICKS", "card", "export", "pick"]
