"""Which real numbers were multiplied by constants on their way, other than by what belongs to a layer's weights.

A factor behind a convolution or linear layer, such as that of batch norm, is part of its weights: once. Real numbers
that were scaled otherwise must not be added to others: that would be a product with weights which nobody counts.
"""

import math
from collections.abc import Iterable, Mapping

from torch import Tensor
from torch.utils.flop_counter import flop_registry

from nas.costs.free_operations import Constants, Packet, chooses, is_scaling, place, tensors_in


class Scales:
    """By memory, as activations pass; every result replaces what was known of its memory."""

    def __init__(self) -> None:
        # Memory -> the call of a layer (or the one scale behind it) that it comes from, and how many numbers that made.
        self._layers: dict[int, tuple[int, int]] = {}
        self._scaled: set[int] = set()
        self._uneven: set[int] = set()  # of what was scaled, each number by a constant of its own
        self._entered: set[int] = set()  # calls whose result entered a sum or a product
        self._spent: set[int] = set()  # calls whose result was scaled once
        self._calls = 0

    def is_scaled(self, x: Tensor) -> bool:
        """Whether its numbers were multiplied by constants that belong to no layer."""
        return place(x) in self._scaled

    def are_several(self, xs: list[Tensor]) -> bool:
        """Whether one of these, as it enters a sum or a product, was scaled, or its layer's result has another scale.

        From then on each layer's result has the scale with which it entered.
        """
        calls = [self._layers[place(x)][0] for x in xs if place(x) in self._layers]
        several = any(call in self._spent for call in calls)
        self._entered.update(calls)
        return several or any(map(self.is_scaled, xs))

    def note(
        self, packet: Packet, args: tuple[object, ...], kwargs: Mapping[str, object], out: object, constants: Constants
    ) -> None:
        """What an operation that was let pass has made."""
        sources = [x for x in tensors_in((args, kwargs)) if constants.is_activation(x)]
        results = list(tensors_in(out))
        if packet in flop_registry and len(sources) == 1:
            self._set(results, False, (self._next(), results[0].numel()))
        elif packet in flop_registry or not sources:
            self.forget(results)
        elif is_scaling(packet) and len(sources) == 1 and not _signs(args, constants):
            self._note_scaling(sources[0], results, _is_one_number(args, constants))
        elif (
            chooses(packet, 2) and not any(x.is_floating_point() for x in sources) and _other_constants(args, constants)
        ):
            self._set(results, True, None)  # by a condition, between two constants
            self._uneven.update(map(place, results))
        else:  # moved, compared, selected or added
            self._set(results, any(map(self.is_scaled, sources)), self._call_behind(sources))
            are_mixed = len(sources) > 1 and any(map(self.is_scaled, sources))
            if are_mixed or any(place(x) in self._uneven for x in sources):
                self._uneven.update(map(place, results))

    def forget(self, results: Iterable[Tensor]) -> None:
        """Note results that are new."""
        self._set(results, False, None)

    def reason_against(
        self, packet: Packet, args: tuple[object, ...], kwargs: Mapping[str, object], constants: Constants
    ) -> str:
        """Why an operation on numbers that were scaled is not free; "" where it is."""
        sources = [x for x in tensors_in((args, kwargs)) if constants.is_activation(x) and x.is_floating_point()]
        if sources and chooses(packet, 2) and not chooses(packet, 1) and _other_constants(args, constants):
            return "chooses between numbers and a constant, and a chain of such choices computes any function of them"
        if not chooses(packet, len(sources)):
            return ""
        spent = [x for x in sources if self._layers.get(place(x), (0, 0))[0] in self._spent]
        among_several = len(sources) > 1 and (spent or any(map(self.is_scaled, sources)))
        if among_several or any(place(x) in self._uneven for x in sources):
            return (
                "chooses among real numbers that were scaled, each by its own constant: that multiplies. Scale them by "
                "the weights of a layer, or scale what was chosen"
            )
        return ""

    def _note_scaling(self, source: Tensor, results: list[Tensor], is_even: bool) -> None:
        call = self._call_behind([source])
        is_first = call is not None and call[0] not in self._spent | self._entered and results[0].numel() <= call[1]
        if self.is_scaled(source) or call is None or not is_first:
            self._set(results, True, None)
            if not is_even:
                self._uneven.update(map(place, results))
        else:
            self._spent.add(call[0])
            self._set(results, False, (self._next(), call[1]))

    def _set(self, results: Iterable[Tensor], scaled: bool, call: tuple[int, int] | None) -> None:
        for where in map(place, results):
            self._scaled.discard(where)
            self._uneven.discard(where)
            self._layers.pop(where, None)
            if scaled:
                self._scaled.add(where)
            elif call is not None:
                self._layers[where] = call

    def _call_behind(self, sources: list[Tensor]) -> tuple[int, int] | None:
        calls = {self._layers.get(place(x)) for x in sources}
        return calls.pop() if len(calls) == 1 else None

    def _next(self) -> int:
        self._calls += 1
        return self._calls


def _factors(args: tuple[object, ...], constants: Constants) -> list[Tensor]:
    return [x for x in tensors_in(args) if not constants.is_activation(x)]


def _is_one_number(args: tuple[object, ...], constants: Constants) -> bool:
    return all(x.numel() == 1 for x in _factors(args, constants))


def _other_constants(args: tuple[object, ...], constants: Constants) -> bool:
    """Whether a finite constant takes part that is none of 0, 1 and -1, beside a condition."""
    numbers = [x for x in args if isinstance(x, float | int) and not isinstance(x, bool)]
    if any(math.isfinite(x) and x not in (0, 1, -1) for x in numbers):
        return True
    floats = [x for x in _factors(args, constants) if x.is_floating_point() and not x.is_meta]
    return any(bool((x.isfinite() & (x != 0) & (x.abs() != 1)).any()) for x in floats)


def _signs(args: tuple[object, ...], constants: Constants) -> bool:
    """Whether it is multiplied by 0, 1 and -1 alone; waits for the device."""
    if any(isinstance(x, float | int) and not isinstance(x, bool) and abs(x) != 1 for x in args):
        return False
    return all(x.is_meta or bool(((x == 0) | (x.abs() == 1)).all()) for x in _factors(args, constants))


__all__ = ["Scales"]
