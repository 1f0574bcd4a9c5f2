"""Choices of networks as numbers, which a surrogate measures distances in."""

from collections.abc import Mapping, Sequence

import numpy as np

from nas.searchers.surrogate import Array, Flags
from nas.spaces import Choice


class Encoder:
    """Choices as levels: numbers of three choices or more are ordinal, 0 to 1 by rank; all else are categories."""

    def __init__(self, axes: Mapping[str, Sequence[Choice]]) -> None:
        self.ordinal_D: Flags = np.array([_is_ordinal(choices) for choices in axes.values()], dtype=bool)
        self._levels = {
            name: {repr(c): i / (len(choices) - 1) if ordinal else float(i) for i, c in enumerate(choices)}
            for (name, choices), ordinal in zip(axes.items(), self.ordinal_D, strict=True)
        }

    def features(self, params: Sequence[Mapping[str, Choice]]) -> Array:
        """(N, D); -1 for an axis that a network does not have."""
        return np.array([self._of(choices) for choices in params])

    def _of(self, params: Mapping[str, Choice]) -> list[float]:
        return [levels[repr(params[name])] if name in params else -1.0 for name, levels in self._levels.items()]


def _is_ordinal(choices: Sequence[Choice]) -> bool:
    return len(choices) > 2 and all(isinstance(c, int | float) and not isinstance(c, bool) for c in choices)


__all__ = ["Encoder"]
