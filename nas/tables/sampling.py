"""Which networks of a space a table trains, and in which order: one that does not depend on how many there will be."""

import json
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from nas import files
from nas.errors import TableError
from nas.spaces import SearchSpace
from spikformer.config import SpikformerConfig

BLOCK = 2048  # networks of a space too large to list that are sorted by cost at a time
_TRIES = 50  # draws for each of them, before the space is taken to hold no more
_SEED = 0  # of the sample, whatever the seed of the split: tables of one space hold the same networks
OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


class Macs:
    """MACs of networks, which take a minute to count for a thousand of them; those that were counted lie in a file.

    Those of convolutions and linear layers, as `nas.costs.weighted_macs` counts them: it takes a quarter of the time of
    an exact count, and a third of cost is no finer.
    """

    def __init__(self, path: Path | None = None, on_progress: OnProgress = lambda _what, _done, _total: None) -> None:
        self._path, self._on_progress = path, on_progress
        self._known: dict[str, int] = _read(path) if path is not None else {}

    def of(self, configs: list[SpikformerConfig]) -> list[int]:
        """Of each of them, per image over all T, padding included."""
        lacking = [config for config in configs if config.config_id not in self._known]
        try:
            for number, config in enumerate(lacking, start=1):
                self._known[config.config_id] = _macs(config)
                self._on_progress("counting operations", number, len(lacking))
        finally:  # also when it is interrupted
            if lacking and self._path is not None:
                text = json.dumps(self._known, indent=0, sort_keys=True)
                files.write(self._path, lambda partial: partial.write_text(text))
        return [self._known[config.config_id] for config in configs]


def _read(path: Path) -> dict[str, int]:
    """What the file holds; nothing where it is missing or damaged, because all of it can be counted again."""
    try:
        values = json.loads(path.read_text())
        return {str(identity): int(macs) for identity, macs in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _macs(config: SpikformerConfig) -> int:
    from nas.costs import weighted_macs  # torch, only now

    return weighted_macs(config)


def networks(space: SearchSpace, count: int, macs: Macs) -> list[SpikformerConfig]:
    """The first `count` of the space's sample.

    Raises:
        TableError: the space has fewer networks.
    """
    chosen = list(islice(sample(space, macs), count))
    if len(chosen) < count:
        raise TableError(
            f"space {space.name} has {len(chosen)} networks, but --networks asks for {count}. Ask for fewer"
        )
    return chosen


def sample(space: SearchSpace, macs: Macs) -> Iterator[SpikformerConfig]:
    """Different networks, in turns from the cheap, the middle and the dear third.

    The pool is the whole space where it is small enough to be listed, else blocks of 2,048 networks drawn at random.
    """
    for number, pool in enumerate(_blocks(space)):
        by_id = {config.config_id: config for config in pool}
        sized = sorted(zip(macs.of(list(by_id.values())), by_id, strict=True))
        rng = random.Random(f"{_SEED} {number}")
        thirds = []
        for part in np.array_split(np.arange(len(sized)), 3):
            third = [sized[i][1] for i in part]
            rng.shuffle(third)
            thirds.append(third)
        for place in range(max(map(len, thirds))):
            yield from (by_id[third[place]] for third in thirds if place < len(third))


def _blocks(space: SearchSpace) -> Iterator[list[SpikformerConfig]]:
    if space.listable:
        yield list({config.config_id: config for config in space.configs()}.values())
        return
    rng, known = random.Random(_SEED), set[str]()
    while True:
        block: dict[str, SpikformerConfig] = {}
        for _ in range(_TRIES * BLOCK):
            if len(block) == BLOCK:
                break
            config = space.random(rng)
            if config.config_id not in known:
                block.setdefault(config.config_id, config)
        known |= block.keys()
        if not block:
            return
        yield list(block.values())


__all__ = ["BLOCK", "Macs", "networks", "sample"]
