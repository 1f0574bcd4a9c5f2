"""Whether an operation only moves, compares, selects or scales numbers, found out by calling it with others.

No list of names: numbers given to the operation are moved a little, and what moves behind it tells what it does.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.costs.recording import Step, copies

_NUDGE = 1e-9  # at least, to see which results an argument reaches: hardly any order among numbers changes
_STRIDE = 1e-4  # to see whether results follow it in proportion
_ROUNDS = 8  # two arguments of one result are told apart in half of these
_STRAY = 0.02  # share of results at which a jump (rounding, sorting) may happen to lie in between


@dataclass(frozen=True)
class Nature:
    """What an operation does to numbers that depend on the images.

    Attributes:
        is_free: whether each result is one of them, moved, compared, selected or scaled by a constant.
        scales: whether by another factor than 0, 1 and -1.
        is_even: whether by one factor alone.
        chooses: whether what numbers are decides which of them a result is.
        reason: why it is not free; "" if it is.
    """

    is_free: bool
    scales: bool = False
    is_even: bool = True
    chooses: bool = False
    reason: str = ""


_FREE = Nature(True)
_OF_SOME_SIZE = Nature(False, reason="gives a result whose size depends on the images, which counts")


def nature(step: Step) -> Nature:
    """What a step does, whatever it is called."""
    key = _key(step)
    if key is None:
        return _nature(step)
    if key not in _KNOWN:
        _KNOWN[key] = _nature(step)
    return _KNOWN[key]


_KNOWN: dict[str, Nature] = {}  # of operations whose only tensor is moved about: their nature does not depend on it


def _key(step: Step) -> str | None:
    """Of what decides a step's nature; None where other numbers take part."""
    tensors = [i for i, x in enumerate(step.runs[0]) if isinstance(x, Tensor)]
    if len(tensors) != 1 or tensors != step.varying:
        return None
    (x,) = (step.runs[0][i] for i in tensors)
    if not x.is_floating_point():
        return None
    scalars = [None if isinstance(arg, Tensor) else arg for arg in step.runs[0]]
    return f"{step.func} {step.spec} {scalars} {tuple(x.shape)} {x.dtype} {x.stride()} {x.device} {is_mask(x)}"


def _nature(step: Step) -> Nature:
    if step.shape == () and not step.call(copies(step.runs[0])):
        return Nature(False, reason="hands numbers to something that torch does not see")
    if step.name == "view" and _reinterprets(step):
        return Nature(False, reason="reads the bits of a number as another type")
    first, second = (_sizes(step.call(copies(run))) for run in step.runs)
    if first != second:
        return _OF_SOME_SIZE
    varying = step.varying
    codes = [i for i in varying if not step.runs[0][i].is_floating_point()]
    try:
        generic = _structure(step, varying, [])
    except (RuntimeError, TypeError, IndexError):
        if not codes:
            return Nature(False, reason="cannot be called with other numbers")
        return _of_selector(step, varying, codes)
    return generic if generic.is_free else _of_mask(step, varying) or generic


def _of_mask(step: Step, varying: Sequence[int]) -> Nature | None:
    """Free if, with factors of 0, 1 and -1 held, the rest is passed on or stopped, and nothing is added."""
    masks = [i for i in varying if all(is_mask(run[i]) for run in step.runs)]
    held_sets = [held for n in range(1, len(masks) + 1) for held in itertools.combinations(masks, n)]
    for held in held_sets:
        others = [i for i in varying if i not in held]
        if not others:
            continue
        rest = _structure(step, others, held)
        zero = _results(step, {i: torch.zeros_like(step.runs[0][i], dtype=torch.float64) for i in others})
        if rest.is_free and not rest.scales and not any(bool(x.any()) for x in zero):
            return _FREE
    return None


def _structure(step: Step, varying: Sequence[int], held: Sequence[int]) -> Nature:
    """By moving the arguments at `varying` about numbers drawn at random; the others stay as they were."""
    generator = torch.Generator().manual_seed(0)
    points = _points(step, varying, generator)
    both = _reached_twice(step, points, generator)
    # Twice, for numbers so near each other that the first nudge changed their order.
    if bool(both.any()) and bool((both & _reached_twice(step, points, generator)).any()):
        return Nature(False, reason="combines several numbers that depend on the images in one result")
    if _sizes(_results(step, points)) != _sizes(step.call(copies(step.runs[0]))):
        return _OF_SOME_SIZE
    start = _flat(_results(step, points))
    nudges = {i: torch.rand(x.shape, generator=generator, dtype=torch.float64) + 0.5 for i, x in points.items()}
    once, twice = (
        _flat(_results(step, {i: x + n * _STRIDE * nudges[i] for i, x in points.items()})) - start for n in (1, 2)
    )
    moved = once != 0
    chooses = _chooses(step, points, generator)
    if not bool(moved.any()):
        return Nature(True, chooses=chooses)
    rounding = 1e-9 * _STRIDE + 16 * _precision(step)
    bent = moved & ((twice - 2 * once).abs() > rounding * (1 + once.abs() / _STRIDE))
    if bent.sum() > _STRAY * once.numel():
        return Nature(False, reason="is not a multiple of a number that depends on the images")
    slope = _slope(step, points, start)
    scales = (slope - 1).abs() > 1e-6
    is_even = bool(((slope - slope.median()).abs() < 1e-6).float().mean() > 1 - _STRAY) if len(slope) else True
    return Nature(True, bool(scales.sum() > _STRAY * max(1, len(slope))), is_even, chooses)


def _slope(step: Step, points: dict[int, Tensor], start: Tensor) -> Tensor:
    """By how much results move for what their argument does, where they move."""
    moved = _flat(_results(step, {i: x + _STRIDE for i, x in points.items()})) - start
    slope = (moved / _STRIDE).abs()
    return slope[slope > 1e-6]


def _chooses(step: Step, points: dict[int, Tensor], generator: torch.Generator) -> bool:
    """Whether a result follows one number among these, and another among others."""
    others = _points(step, list(points), generator)
    nudge = max(_NUDGE, 64 * _precision(step))
    for _ in range(_ROUNDS):
        halves = {i: (torch.rand(x.shape, generator=generator) < 0.5).double() for i, x in points.items()}
        here = _moved(step, points, {i: nudge * half for i, half in halves.items()})
        there = _moved(step, others, {i: nudge * (1 - half) for i, half in halves.items()})
        if here.shape != there.shape or bool((here & there).any()):
            return True
    return False


def _moved(step: Step, points: dict[int, Tensor], nudges: dict[int, Tensor]) -> Tensor:
    start = _flat(_results(step, points))
    return _flat(_results(step, {i: x + nudges[i] for i, x in points.items()})) != start


def _reached_twice(step: Step, points: dict[int, Tensor], generator: torch.Generator) -> Tensor:
    """Results, flat, that move with each of two disjoint halves of the arguments."""
    start = _flat(_results(step, points))
    both = torch.zeros(start.shape, dtype=torch.bool)
    nudge = max(_NUDGE, 64 * _precision(step))
    for _ in range(_ROUNDS):
        halves = {i: torch.rand(x.shape, generator=generator) < 0.5 for i, x in points.items()}
        first = _flat(_results(step, {i: x + nudge * halves[i] for i, x in points.items()}))
        second = _flat(_results(step, {i: x + nudge * ~halves[i] for i, x in points.items()}))
        both |= (first != start) & (second != start)
    return both


def _points(step: Step, varying: Sequence[int], generator: torch.Generator) -> dict[int, Tensor]:
    """Numbers for these arguments; positive ones where others have no result, as in a logarithm."""
    shapes = {i: step.runs[0][i].shape for i in varying}
    points = {i: torch.randn(shape, generator=generator, dtype=torch.float64) for i, shape in shapes.items()}
    if not bool(_flat(_results(step, points)).isfinite().all()):
        points = {i: torch.rand(s, generator=generator, dtype=torch.float64) + 0.5 for i, s in shapes.items()}
    return points


def _results(step: Step, replaced: dict[int, Tensor]) -> list[Tensor]:
    flat = copies(step.runs[0])
    for i, x in replaced.items():
        flat[i] = x.to(flat[i].device, copy=True)
    with torch.no_grad():
        return step.call(flat)


def _sizes(results: list[Tensor]) -> list[torch.Size]:
    return [x.shape for x in results]


def _with_truth(step: Step, truths: Sequence[int], value: bool) -> list[Tensor]:
    flat = copies(step.runs[0])
    for i in truths:
        flat[i] = torch.full_like(flat[i], value)
    return step.call(flat)


def _precision(step: Step) -> float:
    """Of the coarsest results."""
    floats = [x.dtype for x in step.call(copies(step.runs[0])) if x.is_floating_point()]
    return max((torch.finfo(dtype).eps for dtype in floats), default=0.0)


def _flat(results: list[Tensor]) -> Tensor:
    parts = [torch.view_as_real(x) if x.is_complex() else x for x in results]
    return torch.cat([x.detach().cpu().double().flatten() for x in parts])


def is_mask(x: Tensor) -> bool:
    """Whether all numbers are 0, 1 or -1."""
    return x.dtype == torch.bool or bool(((x == 0) | (x.abs() == 1)).all())


def _reinterprets(step: Step) -> bool:
    source = step.runs[0][0]
    return any(out.dtype != source.dtype for out in step.call(copies(step.runs[0])))


def _of_selector(step: Step, varying: Sequence[int], codes: Sequence[int]) -> Nature:
    """Truth values and indices, which cannot be moved a little: what they select is one of the numbers given."""
    truths = [i for i in codes if step.runs[0][i].dtype == torch.bool]
    if truths and _sizes(_with_truth(step, truths, True)) != _sizes(_with_truth(step, truths, False)):
        return _OF_SOME_SIZE
    floats = [i for i in varying if i not in codes]
    if floats and not (of_floats := _structure(step, floats, codes)).is_free:
        return of_floats
    if all(step.runs[0][i].dtype == torch.bool for i in codes):
        return _FREE
    if "bitwise" in step.name or "shift" in step.name:
        return Nature(False, reason="computes with the bits of whole numbers")
    if all(map(is_mask, step.call(copies(step.runs[0])))):
        return _FREE
    return _FREE if _selects(step, codes) else Nature(False, reason="looks results up in a table of constants")


def _selects(step: Step, codes: Sequence[int]) -> bool:
    """Whether, by these indices, only spikes are found and numbers that depend on the images."""
    first, second = step.runs
    sources = [i for i, x in enumerate(first) if isinstance(x, Tensor) and i not in codes]
    varies = {i: ((first[i] != second[i]) | (first[i] == 0) | (first[i].abs() == 1)).to(first[i]) for i in sources}
    return bool(sources) and all(bool((x == 1).all()) for x in _results(step, varies))


__all__ = ["Nature", "is_mask", "nature"]
