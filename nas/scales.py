"""Which real numbers were multiplied by constants on their way, other than by what belongs to a layer's weights.

A factor behind a convolution or linear layer, such as that of batch norm, is part of its weights: once. Real numbers
that were scaled otherwise must not be added to others: that would be a product with weights which nobody counts.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from nas.free_operations import Constants, is_scaling, place, tensors_in

_LAYERS = frozenset((torch.ops.aten.convolution, torch.ops.aten.mm, torch.ops.aten.addmm))


class Scales:
    """By memory, as activations pass; every result replaces what was known of its memory."""

    def __init__(self) -> None:
        self._layers: dict[int, int] = {}  # memory -> the call of a layer (or the one scale behind it) it comes from
        self._scaled: set[int] = set()
        self._spent: set[int] = set()  # calls whose result was scaled once
        self._calls = 0

    def is_scaled(self, x: Tensor) -> bool:
        """Whether its numbers were multiplied by constants that belong to no layer."""
        return place(x) in self._scaled

    def note(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, constants: Constants) -> None:
        """What an operation that was let pass has made."""
        sources = [x for x in tensors_in((args, kwargs)) if constants.is_activation(x)]
        results = list(tensors_in(out))
        if packet in _LAYERS and len(sources) == 1:
            self._set(results, False, self._next())
        elif packet in flop_registry or not sources:
            self.forget(results)
        elif is_scaling(packet) and len(sources) == 1:
            self._note_scaling(sources[0], results)
        else:  # moved, compared, selected or added
            self._set(results, any(map(self.is_scaled, sources)), self._call_behind(sources))

    def forget(self, results: Iterable[Tensor]) -> None:
        """Note results that are new."""
        self._set(results, False, None)

    def _note_scaling(self, source: Tensor, results: list[Tensor]) -> None:
        call = self._call_behind([source])
        if self.is_scaled(source) or call is None or call in self._spent:
            self._set(results, True, None)
        else:
            self._spent.add(call)
            self._set(results, False, self._next())

    def _set(self, results: Iterable[Tensor], scaled: bool, call: int | None) -> None:
        for where in map(place, results):
            self._scaled.discard(where)
            self._layers.pop(where, None)
            if scaled:
                self._scaled.add(where)
            elif call is not None:
                self._layers[where] = call

    def _call_behind(self, sources: list[Tensor]) -> int | None:
        calls = {self._layers.get(place(x)) for x in sources}
        return calls.pop() if len(calls) == 1 else None

    def _next(self) -> int:
        self._calls += 1
        return self._calls


__all__ = ["Scales"]
