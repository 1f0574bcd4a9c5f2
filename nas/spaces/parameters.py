"""Names of the parameters that a sampler is asked for.

A parameter is named after its axis. Where earlier choices rule some of its choices out, the name carries those that
remain, `num_heads{1,2}`: Optuna wants fixed choices under a name.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def parameter_name(axis: str, choices: Sequence[object], valid: Sequence[object]) -> str:
    """The name under which a choice among `valid` is asked for, of all `choices` of an axis."""
    return axis if len(valid) == len(choices) else f"{axis}{{{','.join(map(str, valid))}}}"


def axis_of(parameter: str) -> str:
    """The axis that a parameter belongs to."""
    return parameter.split("{")[0]


def by_axis(params: Mapping[str, _T]) -> dict[str, _T]:
    """Choices by axis instead of by parameter."""
    return {axis_of(name): choice for name, choice in params.items()}


__all__ = ["axis_of", "by_axis", "parameter_name"]
