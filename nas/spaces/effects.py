"""Fields without effect: an axis along one would search networks that are all equal."""

from collections.abc import Iterable, Sequence

from nas.spaces.paths import covers, paths_in, read
from nas.spaces.space import Axis
from spikformer.config import READS
from spikformer.fields import PlainTable

_ALWAYS = {  # what every kind of a part reads, and what decides on more than its own part
    "neuron": {"kind", "threshold"},
    "stem": {"kind", "image_size", "in_channels", "position", "shortcut"},
    "down": {"kind"},
    "mixer": {"kind"},
    "mlp": {"kind"},
}


def reason_against(axis: Axis, axes: Sequence[Axis], base: PlainTable) -> str | None:
    """Why an axis changes no network of the space; None where it changes some.

    Args:
        axes: all of the space: they may give a part a kind that reads the field.
    """
    patterns = {pattern for assigned in axis.assignments.values() for pattern in assigned}
    fields = [path for path in paths_in(base) if any(covers(pattern, path) for pattern in patterns)]
    unread = [path for path in fields if not _is_read(path, axes, base)]
    if not fields or len(unread) < len(fields):
        return None
    owner, name = _owner(unread[0])
    kinds = ", ".join(f'"{kind}"' for kind in sorted(_kinds(owner, axes, base)))
    readers = ", ".join(f'"{kind}"' for kind, reads in READS[_part(owner)].items() if name in reads)
    return f"changes no network: {owner}.kind is {kinds} in this space, and {name} is read by {readers} only"


def _is_read(path: str, axes: Sequence[Axis], base: PlainTable) -> bool:
    owner, name = _owner(path)
    part = _part(owner)
    if part not in READS or name in _ALWAYS[part] or not name:
        return True
    kinds = _kinds(owner, axes, base)
    return any(":" in kind or name in READS[part].get(kind, ()) for kind in kinds)


def _owner(path: str) -> tuple[str, str]:
    """The part of a config that a field belongs to, and the field: "stem", "chain" of "stem.chain.0.width"."""
    head, chain, _ = path.partition(".chain")
    owner, _, name = (head + chain).rpartition(".")
    return owner, name


def _part(owner: str) -> str:
    """Its name in `READS`."""
    name = owner.rpartition(".")[2]
    return "mixer" if name == "local" else name


def _kinds(owner: str, axes: Iterable[Axis], base: PlainTable) -> set[str]:
    """All that a part may be."""
    path = f"{owner}.kind"
    kinds = {str(kind) for kind in read(base, path)}
    for axis in axes:
        for assigned in axis.assignments.values():
            kinds |= {str(value) for pattern, value in assigned.items() if covers(pattern, path.replace("*", "0"))}
    return kinds


__all__ = ["reason_against"]
