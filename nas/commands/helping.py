"""How `--help` looks: commands grouped by the road from a space to a trained network, and examples under each."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from nas.commands import following

# Where each command belongs. A command that is in none of them fails a test.
ROAD = {
    "Search": ("spaces", "search", "studies", "validate-proxy", "table"),
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


class Commands(click.Group):
    """A command with commands of its own, such as `table run`; each is a `Command`."""

    def command(self, name: str | None = None, *, examples: Sequence[str]) -> Callable[[Callable[..., Any]], Command]:  # pyrefly: ignore[bad-override]  # every command of ours has examples
        """As `click.Group.command`."""

        def decorate(function: Callable[..., Any]) -> Command:
            made = command(name, examples=examples)(function)
            self.add_command(made)
            return made

        return decorate

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are used."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_sentence(of)) for name, of in self.commands.items()])


def _first_sentence(command: click.Command) -> str:
    return command.get_short_help_str(limit=1000)


def command(name: str | None = None, *, examples: Sequence[str]) -> Callable[[Callable[..., Any]], Command]:
    """As `click.command`, of the class above."""
    return click.command(name, cls=Command, examples=examples)


def group(name: str | None = None) -> Callable[[Callable[..., Any]], Commands]:
    """As `click.group`, of the class above."""
    return click.group(name, cls=Commands)


__all__ = ["ROAD", "Command", "Commands", "Group", "command", "group"]
