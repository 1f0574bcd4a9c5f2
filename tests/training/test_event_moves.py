"""Frames of events, moved about: each way against a loop over recordings and pixels with plain indexing."""

import cmath
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nas.training import event_moves
from nas.training.augmentation import augment

SIDE = 16
WAYS = {
    "event_wide": ("nothing", "shear", "shift_x", "shift_y", "rotation", "cutout"),
    "event_roll": ("roll", "rotation", "cutout_third"),
    "shift": ("shift",),
    "shift_flip": ("shift",),
}


def _frames(count: int, side: int = SIDE) -> Tensor:
    """[count, 3, 2, side, side] counts of events; few are 0, so that none moves unseen."""
    generator = torch.Generator().manual_seed(1)
    rates = torch.full((count, 3, 2, side, side), 4.0)
    return torch.poisson(rates, generator=generator).to(torch.uint8)


def _reach(kind: str, side: int) -> int:
    return {"event_wide": max(1, round(5 * side / 128)), "shift": side // 16, "shift_flip": side // 8}[kind]


def _one_by_one(frames: Tensor, kind: str, draws: list[list[float]]) -> tuple[list[Tensor], list[tuple[str, bool]]]:
    """Each recording moved by the definition of its way: for each pixel, where it comes from.

    Returns:
        The recordings; the way of each, and whether it is mirrored.
    """
    base = kind.removesuffix("_unmirrored")
    mirrors = kind != "shift" and base == kind
    results, ways = [], []
    for frame, (mirror, which, a, b, c) in zip(frames, draws, strict=True):
        way = WAYS[base][int(which * len(WAYS[base]))]
        mirrored = mirrors and mirror < 0.5
        source = torch.flip(frame, (-1,)) if mirrored else frame
        results.append(_moved(source, way, base, a, b, c))
        ways.append((way, mirrored))
    return results, ways


def _moved(frame: Tensor, way: str, kind: str, a: float, b: float, c: float) -> Tensor:
    side, centre = frame.shape[-1], (frame.shape[-1] - 1) / 2
    if way == "roll":
        reach = int(side / 3)
        dy, dx = math.floor(a * (2 * reach + 1)) - reach, math.floor(b * (2 * reach + 1)) - reach
        return torch.roll(frame, (dy, dx), (-2, -1))
    if way.startswith("cutout"):
        return _cut(frame, way, a, b, c)
    moved, pixels = np.zeros_like(frame.numpy()), frame.numpy()
    for y in range(side):
        for x in range(side):
            row, column = _origin(y - centre, x - centre, way, kind, side, a, b)
            i, j = round(row + centre), round(column + centre)
            if 0 <= i < side and 0 <= j < side:
                moved[..., y, x] = pixels[..., i, j]
    return torch.from_numpy(moved)


def _origin(y: float, x: float, way: str, kind: str, side: int, a: float, b: float) -> tuple[float, float]:
    """Where the pixel at a place comes from, both seen from the centre."""
    strength = 2 * a - 1
    if way == "rotation":
        turned = complex(x, y) * cmath.exp(-1j * strength * math.pi / 6)
        return turned.imag, turned.real
    if way == "shear":
        return y, x + 0.3 * strength * y
    if way in ("shift", "shift_x", "shift_y"):
        reach = _reach(kind, side)
        first, second = (math.floor(u * (2 * reach + 1)) - reach for u in (a, b))
        return {"shift": (y - first, x - second), "shift_x": (y, x - first), "shift_y": (y - first, x)}[way]
    return y, x


def _cut(frame: Tensor, way: str, a: float, b: float, c: float) -> Tensor:
    cut, side = frame.clone(), frame.shape[-1]
    if way == "cutout":
        length = round(math.sqrt((0.001 + (0.11 - 0.001) * a) * side * side))
        top, left = math.floor(b * (side - length + 1)), math.floor(c * (side - length + 1))
        assert top + length <= side
        assert left + length <= side
        cut[..., top : top + length, left : left + length] = 0
    else:
        half, y, x = int(side / 3) // 2, math.floor(a * side), math.floor(b * side)
        cut[..., max(0, y - half) : y + half, max(0, x - half) : x + half] = 0
    return cut


@pytest.mark.parametrize("side", [SIDE, 25])
@pytest.mark.parametrize("kind", ["shift", "shift_flip", *event_moves.KINDS])
def test_each_way_by_a_loop_over_recordings_and_pixels(kind: str, side: int, device: torch.device) -> None:
    count = 30
    frames, chosen = _frames(count + 5, side), torch.arange(count).flip(0)
    generator = torch.Generator(device).manual_seed(0)
    draws = torch.rand(5, count, dtype=torch.float64, generator=generator, device=device)
    generator.manual_seed(0)
    found = augment(frames.to(device), chosen.to(device), kind, generator).cpu()
    expected, ways = _one_by_one(frames[chosen], kind, draws.T.tolist())
    assert found.dtype == torch.uint8
    for result, one, way in zip(found, expected, ways, strict=True):
        assert torch.equal(result, one), way
    assert {way for way, _ in ways} == set(WAYS[kind.removesuffix("_unmirrored")])
    mirrors = kind != "shift" and not kind.endswith("_unmirrored")
    assert {mirrored for _, mirrored in ways} == ({False, True} if mirrors else {False})


def test_a_pixel_of_128_moves_by_up_to_five() -> None:
    """One event in the middle of 200 recordings, which rotations and shears leave there; a cutout may take it."""
    frames = torch.zeros(1, 1, 1, 128, 128, dtype=torch.uint8)
    frames[..., 64, 64] = 7
    random = torch.Generator().manual_seed(0)
    found = augment(frames, torch.zeros(200, dtype=torch.int64), "event_wide_unmirrored", random)
    places = found.nonzero()
    assert places[:, 3].sub(64).abs().max() == 5
    assert places[:, 4].sub(64).abs().max() == 5
    assert found.sum() > 7 * 180
    assert set(found.unique().tolist()) == {0, 7}


class _Ran(TorchDispatchMode):
    """Names of the operations that ran, each with the shapes of its results."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.names.append(f"{func} {getattr(out, 'shape', '')}")
        return out


@pytest.mark.parametrize("kind", ["shift", "shift_flip", *event_moves.KINDS])
def test_what_runs_does_not_depend_on_any_value(kind: str) -> None:
    """Neither operations nor shapes, and no value is read: what is captured holds for every later batch."""
    ran = []
    for seed, frames in enumerate((_frames(4), torch.zeros(4, 3, 2, SIDE, SIDE, dtype=torch.uint8))):
        with _Ran() as mode:
            event_moves.moved(frames, kind, torch.Generator().manual_seed(seed))
        ran.append(mode.names)
    assert ran[0] == ran[1]
    assert not any(word in name for name in ran[0] for word in ("_local_scalar_dense", "nonzero", "masked_select"))
