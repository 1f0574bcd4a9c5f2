"""Damage of files: images, tar files, checkpoints and weights."""

import copy
import io
import json
import pickle
import random
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from PIL import Image

from tests import pictures

Damage = Callable[[Path], object]


def _encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _png(width: int, height: int) -> bytes:
    """The beginning of a file that says how large its image is."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))


BROKEN: dict[str, bytes] = {
    "an empty image": b"",
    "no image": b"no image at all",
    "a cut image": _encoded(pictures.image(1, 0), "JPEG")[:200],
    "the head of an image": _encoded(pictures.image(1, 0), "PNG")[:40],
    "16 bits": _encoded(Image.new("I;16", (20, 20)), "PNG"),
    "a bomb": _png(100_000, 100_000),
    "no pixels": _png(0, 0),
}
"""Files that no reader of images takes."""


def removed(path: Path) -> None:
    """Take a file or a folder away."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def added(tar: Path, image: bytes, label: bytes | None) -> None:
    """Put another sample into a shard; without a label where there is none."""
    with tarfile.open(tar, "a") as archive:
        for name, content in (("more.jpg", image), ("more.cls", label)):
            if content is not None:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _bytes(place: str, edit: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / place).write_bytes(edit((folder / place).read_bytes()))


def bytewise(place: str, generator: random.Random) -> dict[str, Damage]:
    """Damage that needs no knowledge of what a file holds."""
    noise = generator.randbytes(4000)
    damages = {
        "empty": _bytes(place, lambda _content: b""),
        "noise": _bytes(place, lambda _content: noise),
        "text": _bytes(place, lambda _content: b"no file of ours\n"),
        "NULs": _bytes(place, lambda content: bytes(len(content))),
        "noise at its head": _bytes(place, lambda content: noise[:64] + content[64:]),
    }
    for eighth in range(1, 8):
        damages[f"{eighth} eighths of it"] = _bytes(place, lambda c, n=eighth: c[: n * len(c) // 8])
    return damages


class _Runs:
    """A value whose reading would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1 + 1",)


def checkpoint_damages(place: str, generator: random.Random) -> dict[str, Damage]:
    """Damage of a checkpoint of a full training."""

    def edited(edit: Callable[[dict[str, Any]], object]) -> Damage:
        def damage(folder: Path) -> None:
            document = torch.load(folder / place, weights_only=True)
            edit(document)
            torch.save(document, folder / place)

        return damage

    def put(key: str, value: object) -> Damage:
        return edited(lambda document: document.update({key: copy.deepcopy(value)}))

    damages = bytewise(place, generator)
    damages["a pickle"] = _bytes(place, lambda _content: pickle.dumps({"format": 1}))
    damages["code"] = put("classes", [_Runs()])
    damages["a list"] = lambda folder: torch.save([1], folder / place)
    for key in ("format", "config", "recipe", "steps", "model", "optimizer", "classes", "images"):
        damages[f"no {key}"] = edited(lambda document, k=key: document.pop(k))
    wrong: tuple[tuple[str, object], ...] = (
        *(("format", 99), ("config", {"stages": 3}), ("config", 3), ("recipe", {"nope": 1}), ("steps", "x")),
        *(("steps", -5), ("model", 3), ("model", {}), ("model", {"a": 1}), ("optimizer", []), ("classes", 3)),
        *(("images", 3), ("sums", 3), ("nope", 1)),
    )
    damages |= {f"{key} {str(value)[:12]}": put(key, value) for key, value in wrong}
    damages["a tensor less"] = edited(lambda document: document["model"].popitem())
    damages["a tensor of another shape"] = edited(
        lambda document: document["model"].update({next(iter(document["model"])): torch.zeros(3)})
    )
    return damages


def weight_damages(place: str, generator: random.Random) -> dict[str, Damage]:
    """Damage of weights in a bundle, each with the recorded sum, which notices it, and without."""

    def edited(edit: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
        def damage(folder: Path) -> None:
            tensors = safetensors.torch.load_file(folder / place)
            edit(tensors)
            safetensors.torch.save_file(tensors, folder / place)

        return damage

    damages = bytewise(place, generator)
    damages["a long header"] = _bytes(place, lambda content: struct.pack("<Q", 2**60) + content[8:])
    damages["a tensor less"] = edited(lambda tensors: tensors.popitem())
    damages["a tensor more"] = edited(lambda tensors: tensors.update(more=torch.zeros(3)))
    damages["another shape"] = edited(lambda tensors: tensors.update({next(iter(tensors)): torch.zeros(3)}))

    def without_sum(damage: Damage) -> Damage:
        def both(folder: Path) -> None:
            damage(folder)
            config = (folder / place).parent / "config.json"
            document = json.loads(config.read_text())
            document.pop("sha256")
            config.write_text(json.dumps(document))

        return both

    return damages | {f"{name}, no sum": without_sum(damage) for name, damage in damages.items()}


__all__ = ["BROKEN", "added", "bytewise", "checkpoint_damages", "removed", "weight_damages"]
