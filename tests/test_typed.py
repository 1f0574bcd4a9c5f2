"""Types of values from files: each kind of declaration that records have."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from nas.typed import hold, hold_value


@dataclass(frozen=True)
class Part:
    """Fields as records declare them."""

    count: int = 1
    share: float = 0.5
    name: str = "a"
    limit: float | None = None
    kind: Literal["x", "y"] = "x"
    rungs: tuple[float, ...] = (0.5, 1)
    rates: dict[str, float] | None = None


@pytest.mark.parametrize("values", [{}, {"share": 1}, {"limit": 3}, {"rungs": ()}, {"rates": {"a": 1, "b": 0.5}}])
def test_values_of_the_declared_types_are_held(values: dict[str, Any]) -> None:
    hold(Part(**values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": "abc"}, "\"count\" is 'abc', but must be a whole number"),
        ({"count": 1.0}, '"count" is 1.0, but must be a whole number'),
        ({"count": True}, '"count" is True, but must be a whole number'),
        ({"share": None}, '"share" is None, but must be a number'),
        ({"share": False}, '"share" is False, but must be a number'),
        ({"name": ["a"]}, "\"name\" is .'a'., but must be a text"),
        ({"limit": "3"}, '"limit" is .3., but must be float | None'),
        ({"kind": "z"}, '"kind" is .z.'),
        ({"kind": []}, r'"kind" is \[\]'),
        ({"rungs": [1.0]}, r'"rungs" is \[1\.0\]'),
        ({"rungs": (1.0, "a")}, '"rungs" is'),
        ({"rates": {"a": "b"}}, '"rates" is'),
        ({"rates": {1: 1}}, '"rates" is'),
        ({"name": 7 * "x", "count": list(range(99))}, r'"count" is \[0, 1, .*\.\.\., but must be a whole number'),
    ],
)
def test_a_value_of_another_type_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message.replace(" | ", r" \| ")):
        hold(Part(**values))


def test_a_single_value_is_held_too() -> None:
    hold_value("scores", [1, 0.5], list[float])
    with pytest.raises(TypeError, match='"scores" is'):
        hold_value("scores", (1,), list[float])
