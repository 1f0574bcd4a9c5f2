"""Where the numbers of a record come from: which were scaled by constants on their way, and which are positions.

Behind a layer one scale is part of its weights. Real numbers that were scaled otherwise must not be added to,
multiplied by, or chosen among others: that would be a product that nobody counts. Positions (of a
maximum, in an order) may select; as numbers they count.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from nas.costs.probing import Nature, is_mask
from nas.costs.recording import Step, copies


class Origins:
    """By step, as a record is gone through.

    Attributes:
        _layers: of what only was moved, compared or selected since, the layer (or the one scale behind it) by its step.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._layers: dict[int, int] = {}
        self._scaled: set[int] = set()
        self._uneven: set[int] = set()
        self._spent: set[int] = set()
        self._entered: set[int] = set()  # layers whose result entered a sum or a product
        self._positions: set[int] = set()

    def are_several(self, numbers: Sequence[int]) -> bool:
        """Whether one of what these steps wrote was scaled, or its layer's result has another scale.

        From then on each layer's result has the scale with which it is taken here.
        """
        layers = {self._layers[number] for number in numbers if number in self._layers}
        several = bool(layers & self._spent) or bool(set(numbers) & self._scaled)
        self._entered |= layers
        return several

    def note_layer(self, number: int) -> None:
        """A layer, or a product."""
        self._layers[number] = number

    def note_free(self, number: int, nature: Nature) -> str:
        """A step that is free by its own nature. Returns why it is not, by where its numbers come from; "" if it is."""
        step = self._steps[number]
        numbers = [i for i in step.varying if step.runs[0][i].is_floating_point()]
        floats = [i for i in numbers if not _is_mask(step, i)]
        sources = {step.writers[i] for i in floats}
        scaled, uneven = bool(sources & self._scaled), bool(sources & self._uneven)
        by_codes = len(numbers) < len(step.varying)
        if (scaled and len(numbers) > 1 and (nature.chooses or by_codes)) or (uneven and nature.chooses):
            return "chooses among real numbers that were scaled, each by its own constant: that multiplies"
        if step.shape and by_codes and not _only_selects(step, step.varying):
            if numbers:
                return "chooses between numbers and a constant, and a chain of such choices computes any function"
            self._scaled.add(number)  # one of two constants, by a condition
            self._uneven.add(number)
        if scaled:
            self._scaled.add(number)
        if uneven or (scaled and len(floats) > 1):
            self._uneven.add(number)
        self._follow_layer(number, nature, sources)
        return self._follow_positions(number, nature)

    def _follow_layer(self, number: int, nature: Nature, sources: set[int]) -> None:
        layers = {self._layers.get(source) for source in sources}
        layer = layers.pop() if len(layers) == 1 else None
        if not nature.scales:
            if layer is not None and number not in self._scaled:
                self._layers[number] = layer
            return
        if layer is None or layer in self._spent | self._entered or number in self._scaled or self._grew(layer, number):
            self._scaled.add(number)
            if not nature.is_even:
                self._uneven.add(number)
        else:
            self._spent.add(layer)
            self._layers[number] = number

    def _grew(self, layer: int, number: int) -> bool:
        """Whether there are more numbers than the layer made, so that some have several scales."""
        size = torch.Size(self._steps[number].shape).numel()
        return size > torch.Size(self._steps[layer].shape).numel()

    def _follow_positions(self, number: int, nature: Nature) -> str:
        step = self._steps[number]
        first = step.runs[0]
        whole = [i for i in step.varying if not first[i].is_floating_point() and first[i].dtype != torch.bool]
        integers = [out for out in step.call(copies(first)) if out.dtype in _WHOLE]
        if integers and len(whole) < len(step.varying) and not _is_rounding(step, integers):
            self._positions.add(number)
        if not any(step.writers[i] in self._positions for i in whole):
            return ""
        results = step.call(copies(first))
        if all(out.dtype in _WHOLE for out in results) and not nature.chooses and not nature.scales:
            self._positions.add(number)
            return ""
        is_selector = len(step.varying) > len(whole) or any(
            isinstance(x, Tensor) and i not in whole for i, x in enumerate(first)
        )
        is_bool = all(out.dtype == torch.bool for out in results)
        if is_bool or (is_selector and step.shape and _only_selects(step, range(len(first)))):
            return ""
        return "makes numbers of positions, as of a rank, which counts"


_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _is_mask(step: Step, place: int) -> bool:
    return all(is_mask(run[place]) for run in step.runs)


def _is_rounding(step: Step, integers: list[Tensor]) -> bool:
    """Whether whole numbers are those next to real ones."""
    reals = [step.runs[0][i] for i in step.varying if step.runs[0][i].is_floating_point()]
    return any(x.shape == y.shape and bool(((x - y).abs() <= 1).all()) for x in reals for y in integers)


def _only_selects(step: Step, places: Iterable[int]) -> bool:
    """Whether each result is one of the real numbers given in these places, a spike, or a whole number."""
    arguments = [step.runs[0][i] for i in places]
    sources = [x.flatten().double().cpu() for x in arguments if isinstance(x, Tensor) and x.dtype not in _WHOLE]
    spikes = torch.tensor([0.0, 1.0, -1.0, math.inf, -math.inf], dtype=torch.float64)
    reals = [out for out in step.call(copies(step.runs[0])) if out.is_floating_point()]
    results = torch.cat([spikes, *(out.flatten().double().cpu() for out in reals)])
    return bool(torch.isin(results, torch.cat([*sources, spikes])).all())


__all__ = ["Origins"]
