"""How fast a machine trains the networks of a space, before any of them was trained."""

import random
from collections.abc import Callable, Sequence

from nas.costs import weighted_macs
from nas.engines import Engine
from nas.spaces import SearchSpace
from nas.training import Pace
from spikformer.config import SpikformerConfig

_DRAWN = 10  # networks that stand for a space; of these, those at the shares below are trained for a few steps
_PROBED = (1 / 6, 1 / 2, 5 / 6)


def drawn(space: SearchSpace, seed: int, allowed: Callable[[SpikformerConfig], bool]) -> list[SpikformerConfig]:
    """Different networks that stand for the space; none where few are allowed."""
    rng = random.Random(seed)
    configs = (space.random(rng) for _ in range(4 * _DRAWN))
    return list({config.config_id: config for config in configs if allowed(config)}.values())[:_DRAWN]


def space_pace(
    networks: Sequence[SpikformerConfig], references: Sequence[SpikformerConfig], share: float, engine: Engine
) -> Pace | None:
    """The mean pace of a search: a + b * MACs, fitted on a small, a middle and a large one of the networks.

    Args:
        networks: see `drawn`.
        share: of all images, those that the references see.

    Returns:
        None where none of them fits into memory.
    """
    sized = sorted(((weighted_macs(config), config) for config in networks), key=lambda pair: pair[0])
    places = sorted({round(share_below * (len(sized) - 1)) for share_below in _PROBED}) if sized else []
    probes = [(sized[i][0], pace) for i in places if (pace := engine.pace(sized[i][1])) is not None]
    if not probes:
        return None
    expected = _mean([macs for macs, _ in sized])
    if references:
        expected = (1 - share) * expected + share * _mean([weighted_macs(config) for config in references])
    return Pace.of_sizes([macs for macs, _ in probes], [pace for _, pace in probes], expected)


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


__all__ = ["drawn", "space_pace"]
