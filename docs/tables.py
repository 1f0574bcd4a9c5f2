"""Markdown tables and words for values, which the generated references share."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; a bar within a cell does not end it."""
    lines = [_line(headings), _line(["---"] * len(headings))]
    return lines + [_line([_cell(cell) for cell in row]) for row in rows]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def code(value: object) -> str:
    """A value as it is written in a file or a command."""
    return f"`{value}`"


__all__ = ["code", "table"]
