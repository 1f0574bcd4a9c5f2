"""Frames of events, moved about while training: all T frames of a recording alike, each recording on its own.

Pixels are moved whole, to the nearest place, and counts stay whole numbers; what comes from beyond the border is 0.
Every recording is mirrored with probability 1/2, unless the kind says otherwise, and moved in one way, which is drawn:

    event_wide   nothing, a shear, a shift along x, a shift along y, a rotation, or a cutout, each as often. A shear
                 moves rows by up to 0.3 of their distance from the centre; a shift goes by up to 5 pixels in 128, but
                 at least by up to one; a rotation turns by up to 30 degrees; a cutout sets a square of 0.1 to 11 % of
                 the area to 0, all of it inside. The event code of Spikformer, Spikingformer, QKFormer and Max-Former
                 has this under the name of SNNAugmentWide, after Li et al., "Neuromorphic Data Augmentation for
                 Training Spiking Neural Networks", ECCV 2022. There, strengths are one of 31 levels, and a shift is 5
                 pixels at any size; here they are drawn from all between.
    event_roll   a roll by up to a third of the side along x and y, where what leaves on one side enters on the other; a
                 rotation by up to 30 degrees; or a cutout: a square of a third of the side, its centre at any pixel.
                 From the event code of SpikingResformer (Shi et al., CVPR 2024).
    shift        a shift along x and y by up to one pixel in 16, never mirrored
    shift_flip   by up to one in 8, and mirrored

"event_wide_unmirrored" and "event_roll_unmirrored" do not mirror: digits, letters, and gestures of the left or right
arm become others in a mirror.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_UNMIRRORED = "_unmirrored"
_SHEAR = 0.3
_ROTATION = math.radians(30)
_SHIFT = 5 / 128  # of the side
_CUT_AREA = (0.001, 0.11)  # of the area
_THIRD = 3


@dataclass(frozen=True)
class _Move:
    """How each of B recordings is moved; every field is [B].

    Attributes:
        angle: rotation about the centre, in radians.
        shear: pixels along x for each pixel of distance from the centre along y.
        down, right: whole pixels.
        cut_top, cut_left, cut_side: the square that is set to 0, in whole pixels.
    """

    angle: Tensor
    shear: Tensor
    down: Tensor
    right: Tensor
    cut_top: Tensor
    cut_left: Tensor
    cut_side: Tensor


def moved(frames: Tensor, kind: str, random: torch.Generator) -> Tensor:
    """Frames, moved recording by recording in one gather of fixed shape, without a look at any value.

    Args:
        frames: [B, T, C, H, W], H = W, uint8.
        kind: of `Recipe.augment`, once it is settled; not "none".

    Returns:
        The same shape and type.
    """
    side = frames.shape[-1]
    # float64, so that no place is rounded to another pixel on another device.
    draws = torch.rand(5, len(frames), generator=random, device=frames.device, dtype=torch.float64)
    move = _MOVES[kind.removesuffix(_UNMIRRORED)](draws[1:], side)
    mirrors = kind != "shift" and not kind.endswith(_UNMIRRORED)
    mirrored_B = draws[0] < (0.5 if mirrors else 0.0)
    source_BHW, is_inside_BHW = _source(move, mirrored_B, side, wraps=kind.startswith("event_roll"))
    index = source_BHW.flatten(1)[:, None, None].expand(*frames.shape[:3], -1)
    gathered = frames.flatten(3).gather(3, index).unflatten(3, (side, side))
    moved_BTCHW: Tensor = gathered * is_inside_BHW[:, None, None]
    return moved_BTCHW


def _source(move: _Move, mirrored_B: Tensor, side: int, *, wraps: bool) -> tuple[Tensor, Tensor]:
    """For each pixel, the flat number of the one that moves there, and whether there is one: [B, H, W] both.

    Args:
        wraps: whether what is shifted over the border enters on the other side.
    """
    places = torch.arange(side, device=mirrored_B.device)
    row_H, column_W = places[None, :, None], places[None, None, :]
    down, right, angle, shear = (x[:, None, None] for x in (move.down, move.right, move.angle, move.shear))
    y_BH, x_BW = row_H - down, column_W - right
    if wraps:
        y_BH, x_BW = y_BH % side, x_BW % side
    centre = (side - 1) / 2
    y_BH, x_BW = y_BH - centre, x_BW - centre
    y_BHW = (angle.cos() * y_BH - angle.sin() * x_BW + centre).round().long()
    x_BHW = (angle.sin() * y_BH + angle.cos() * x_BW + shear * y_BH + centre).round().long()
    top, left, cut = (x[:, None, None] for x in (move.cut_top, move.cut_left, move.cut_side))
    is_cut = (row_H >= top) & (row_H < top + cut) & (column_W >= left) & (column_W < left + cut)
    is_inside = (y_BHW >= 0) & (y_BHW < side) & (x_BHW >= 0) & (x_BHW < side) & ~is_cut
    y_BHW, x_BHW = y_BHW.clamp(0, side - 1), x_BHW.clamp(0, side - 1)
    x_BHW = torch.where(mirrored_B[:, None, None], side - 1 - x_BHW, x_BHW)
    return y_BHW * side + x_BHW, is_inside


def _wide(draws: Tensor, side: int) -> _Move:
    """See the module.

    Args:
        draws: [4, B], from 0 to below 1.
    """
    which, first, second, third = draws
    shears, shifts_right, shifts_down, rotates, cuts = (_is(which, 6, number) for number in range(1, 6))
    shift = _whole(first, max(1, round(_SHIFT * side)))
    least, most = _CUT_AREA
    cut_side = cuts * (side * (least + (most - least) * first).sqrt()).round()
    return _Move(
        angle=rotates * _signed(first, _ROTATION),
        shear=shears * _signed(first, _SHEAR),
        down=shifts_down * shift,
        right=shifts_right * shift,
        cut_top=(second * (side - cut_side + 1)).floor(),
        cut_left=(third * (side - cut_side + 1)).floor(),
        cut_side=cut_side,
    )


def _roll(draws: Tensor, side: int) -> _Move:
    which, first, second, _ = draws
    rolls, rotates, cuts = (_is(which, 3, number) for number in range(3))
    half = side // _THIRD // 2
    return _Move(
        angle=rotates * _signed(first, _ROTATION),
        shear=torch.zeros_like(first),
        down=rolls * _whole(first, side // _THIRD),
        right=rolls * _whole(second, side // _THIRD),
        cut_top=(first * side).floor() - half,
        cut_left=(second * side).floor() - half,
        cut_side=cuts * 2.0 * half,
    )


def _shift(draws: Tensor, side: int, share: int) -> _Move:
    _, first, second, _ = draws
    none, reach = torch.zeros_like(first), max(1, side // share)
    return _Move(none, none, _whole(first, reach), _whole(second, reach), none, none, none)


def _is(which: Tensor, ways: int, number: int) -> Tensor:
    """Whether so many equally likely ways came to be the one of a number."""
    return (which * ways).floor() == number


def _whole(draw: Tensor, reach: int) -> Tensor:
    """A whole number from -reach to reach."""
    return (draw * (2 * reach + 1)).floor() - reach


def _signed(draw: Tensor, most: float) -> Tensor:
    """A number from -most to most."""
    return (2 * draw - 1) * most


_MOVES: Mapping[str, Callable[[Tensor, int], _Move]] = {
    "event_wide": _wide,
    "event_roll": _roll,
    "shift": lambda draws, side: _shift(draws, side, 16),
    "shift_flip": lambda draws, side: _shift(draws, side, 8),
}
KINDS = tuple(name + suffix for name in ("event_wide", "event_roll") for suffix in ("", _UNMIRRORED))
"""Augmentations that frames alone have."""

__all__ = ["KINDS", "moved"]
