"""How `--help` looks: commands grouped by the road from a space to a trained network, and examples under each."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from nas.commands import following

# Where each command belongs. A command that is in none of them fails a test.
ROAD = {
    "Search": ("spaces", "search", "studies", "validate-proxy"),
    "Understand": ("report", "confirm", "inspect"),
    "Export and train": ("export", "train", "evaluate", "shrink"),
    "Check": ("doctor", "check-block"),
}


class Command(click.Command):
    """A command whose help ends with examples.

    Args:
        examples: command lines without the program's name.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{following.program(here=False)} {example}\n")


class Group(click.Group):
    """A group whose help lists the commands by the road, none of their sentences cut off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in ROAD.items():
            with formatter.section(title):
                formatter.write_dl([(name, _first_sentence(self.commands[name])) for name in names])


def _first_sentence(command: click.Command) -> str:
    return command.get_short_help_str(limit=1000)


def command(name: str | None = None, *, examples: Sequence[str]) -> Callable[[Callable[..., Any]], Command]:
    """As `click.command`, of the class above."""
    return click.command(name, cls=Command, examples=examples)


__all__ = ["ROAD", "Command", "Group", "command"]
