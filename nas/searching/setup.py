"""What a search begins with: arguments that make sense, and a study that was made with the same ones."""

import dataclasses
import importlib.metadata
import json
import typing
from typing import Any

import torch

from nas.costs import IMAGE_SIZE
from nas.errors import StudyError
from nas.searching.budget import Budget
from nas.searching.proposals import SAMPLERS
from nas.settings import Constraints, Recipe
from nas.spaces import SearchSpace
from nas.studies import Study
from nas.training import EnergyOf
from spikformer.fields import nearest
from spikformer.identity import VERSION as IDS


def check(
    trials: int | None,
    budget: str | None,
    patience: int | None,
    sampler: str,
    seed: int,
    energy_of: str,
    target_image_size: int,
) -> None:
    if trials is None and budget is None:
        raise StudyError("how long to search? Give --trials, a number of networks, or --budget, such as 2M or 8h")
    for name, count in (("trials", trials), ("patience", patience)):
        if count is not None and count < 1:
            raise StudyError(f"{name} {count} must be at least 1")
    if budget is not None:
        Budget.parse(budget)
    if sampler not in SAMPLERS:
        raise StudyError(f'sampler "{sampler}" is unknown. {nearest(sampler, SAMPLERS)}')
    if not 0 <= seed < 2**32:
        raise StudyError(f"seed {seed} must be between 0 and {2**32 - 1}")
    if energy_of not in typing.get_args(EnergyOf):
        raise StudyError(f'energy_of "{energy_of}" is unknown. Use proxy or target')
    if target_image_size < 32 or target_image_size % 32:
        raise StudyError(f"target_image_size {target_image_size} must be a multiple of 32, such as {IMAGE_SIZE}")


def check_engine(engine: str, address: str | None) -> None:
    if engine not in ("local", "ray"):
        raise StudyError(f'engine "{engine}" is unknown. Use local or ray')
    if address is not None and engine != "ray":
        raise StudyError(f"address {address} is that of a Ray cluster. Give --engine ray with it")


def constraints_of(space: SearchSpace, given: Constraints | None) -> Constraints:
    named = {name: limit for name, limit in dataclasses.asdict(given or Constraints()).items() if limit is not None}
    return dataclasses.replace(space.constraints, **named)


def recipe_of(space: SearchSpace, epochs: int | None, train_images: int | None) -> Recipe:
    for name, value, low in (("epochs", epochs, 1), ("train_images", train_images, 1)):
        if value is not None and value < low:
            raise StudyError(f"{name} {value} must be at least {low}")
    changed: dict[str, Any] = {"epochs": epochs, "train_images": train_images}
    return dataclasses.replace(space.recipe, **{key: value for key, value in changed.items() if value is not None})


def device_of(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise StudyError(f'device "{name}" is unknown. Use auto, cpu, cuda or cuda:1')
    visible = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= visible:
        raise StudyError(f'device "{name}" is not there: torch sees {visible} CUDA devices. Use cpu or auto')
    return device


def places_of(device: str, workers: int, per_gpu: int) -> list[str]:
    """Where each of so many processes trains: spread evenly over the GPUs that `device` allows.

    Raises:
        StudyError: they do not fit there.
    """
    for name, count in (("workers", workers), ("per_gpu", per_gpu)):
        if count < 1:
            raise StudyError(f"{name} {count} must be at least 1")
    chosen = device_of(device)
    if chosen.type == "cpu":
        return ["cpu"] * workers
    one = device not in ("auto", "cuda")
    gpus = [str(chosen)] if one else [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if workers > per_gpu * len(gpus):
        raise StudyError(
            f"{workers} workers do not fit on {len(gpus)} GPUs with {per_gpu} on each. Give fewer --workers, or more "
            f"--per-gpu"
        )
    return [gpus[i % len(gpus)] for i in range(workers)]


def identity_of(
    space: SearchSpace, fingerprint: str, seed: int, energy_of: EnergyOf, image_size: int
) -> dict[str, Any]:
    """What results depend on, flat, so that a difference can be named; as JSON has it."""
    flat: dict[str, Any] = {"data.images": fingerprint, "seed": seed}
    for section, values in space.identity().items():
        flat |= {f"{section}.{key}": value for key, value in values.items()}
    flat |= {"energy_of": energy_of} if energy_of != "proxy" else {}  # the usual leaves no trace,
    flat |= {"target_image_size": image_size} if image_size != IMAGE_SIZE else {}  # as ever
    return dict(json.loads(json.dumps(flat)))


def check_identity(study: Study, identity: dict[str, Any]) -> None:
    """Raises StudyError unless a search may go on with a study; one that has not begun takes these settings."""
    identity = identity | {"ids": IDS}
    if not study.identity:
        study.optuna.set_user_attr("identity", identity)
        return
    if study.identity.get("ids") != IDS:  # before ids had a version, a study did not say so
        raise StudyError(
            f"study {study.name} names its networks by ids of another version of this program: a search would train "
            f"them again under new ids. Go on with that version, or start a new study with --study NAME. `report`, "
            f"`confirm`, `inspect` and `export` read the study as it is"
        )
    stored = study.identity
    changed = [key for key in sorted({*stored, *identity}) if stored.get(key) != identity.get(key)]
    if changed:
        listed = "; ".join(f"{key} {_short(stored.get(key))} -> {_short(identity.get(key))}" for key in changed[:3])
        raise StudyError(
            f"study {study.name} was made with other settings ({listed}). Its results would not compare. "
            f"Restore the settings, or start a new study with --study NAME"
        )


def torch_versions(study: Study) -> str | None:
    """That its networks were trained with other versions of torch than this one, in words.

    These draw the first weights otherwise (torch 2.11 and 2.14 do), so that equal seeds give other networks.
    """
    ours = importlib.metadata.version("torch")
    versions = {str(c.provenance.get("versions", {}).get("torch", ours)) for c in study.candidates.values()}
    others = sorted(versions - {ours})
    if not others:
        return None
    return (
        f"Study {study.name} has networks trained with torch {', '.join(others)}; this is torch {ours}. The same seed "
        f"may give different initial weights in another version, so treat a difference between versions like a "
        f"difference between seeds."
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = [
    "check",
    "check_engine",
    "check_identity",
    "constraints_of",
    "device_of",
    "identity_of",
    "places_of",
    "recipe_of",
    "torch_versions",
]
