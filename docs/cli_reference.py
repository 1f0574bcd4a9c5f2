"""The page of all commands, options and defaults, from click's own command tree."""

import re
from collections.abc import Iterator

import click
from tables import code, table

from nas.__main__ import main
from nas.commands.helping import ROAD, Command

_WORDS = {
    "text": "text",
    "integer": "whole number",
    "float": "number",
    "count": "whole number, also with k, M or G",
    "point": "two numbers",
}
_HEAD = """# Commands

This page is generated from the commands themselves by `python docs/build.py`.

Each command is called as `python cli.py COMMAND` in a clone, and as `spikformer-nas COMMAND` or `python -m nas COMMAND`
where the package is installed. `-h` or `--help` prints the options of a command. A command that ended well returns exit
code 0, bad input 1, a command line that makes no sense 2, and an interruption (Ctrl-C, SIGTERM) 130."""


def page() -> str:
    """The page as Markdown."""
    context = click.Context(main, info_name="python cli.py")
    lines = [_HEAD]
    for title, names in ROAD.items():
        rows = ([f"[{name}](#{name})", _first(main.commands[name])] for name in names)
        lines += ["", *table((title, "what the command does"), rows)]
    for names in ROAD.values():
        for name in names:
            lines += ["", *_section(name, main.commands[name], context)]
    return "\n".join(lines) + "\n"


def _section(name: str, command: click.Command, parent: click.Context, level: str = "##") -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    if isinstance(command, click.Group):
        yield from (f"## {name}", "", _prose(command.help or ""), "", "```", f"python cli.py {name} COMMAND ...", "```")
        for own, of in command.commands.items():
            yield from ("", *_section(f"{name} {own}", of, parent, "###"))
        return
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    options = [param for param in command.params if isinstance(param, click.Option)]
    yield from (f"{level} {name}", "", _prose(command.help or ""), "", "```")
    yield f"python cli.py {name} {' '.join(command.collect_usage_pieces(context))}"
    yield "```"
    for argument in arguments:
        yield from ("", f"{code(argument.metavar)} is {'required' if argument.required else 'optional'}.")
    if options:
        yield from ("", *table(("option", "meaning", "type", "default"), map(_row, options)))
    if isinstance(command, Command):
        yield from ("", "For example:", "", "```", *(f"python cli.py {example}" for example in command.examples), "```")


def _row(option: click.Option) -> tuple[str, str, str, str]:
    names = ", ".join([*option.opts, *option.secondary_opts])
    meaning, _, default = (option.help or "").partition("  [default: ")
    if option.envvar:
        meaning += f" The environment variable {option.envvar} sets it, too."
    written = f"{names} {option.metavar}" if option.metavar else names
    return code(written), _words(meaning), _type(option), _words(default.removesuffix("]")) or _default(option)


def _type(option: click.Option) -> str:
    if option.is_flag:
        return "switch"
    if isinstance(option.type, click.Choice):
        words = " or ".join(code(choice) for choice in option.type.choices)
    else:
        words = _WORDS[option.type.name.removesuffix(" range")]
    if isinstance(option.type, click.IntRange) and option.type.min is not None:
        words += f" from {option.type.min}"
    return f"{words}, repeatable" if option.multiple else words


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    if option.is_flag:
        return "on" if option.default is True else "off"
    return code(option.default) if isinstance(option.default, int | float | str) and option.default != "" else "none"


def _first(command: click.Command) -> str:
    """The first sentence of what a command does."""
    sentence = " ".join((command.help or "").split("\n\n")[0].split())
    return _words(sentence.partition(". ")[0].rstrip(".") + ".")


def _prose(text: str) -> str:
    return _words("\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")))


def _words(text: str) -> str:
    """A help text as Markdown: options and variables as code, guides as links, signs as they are."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _marked(part) for part in parts)


def _marked(text: str) -> str:
    text = re.sub(r"[<*]", r"\\\g<0>", text)
    text = re.sub(r"--[a-z][a-z-]*[a-z]|\b[A-Z]+_[A-Z]+\b|\[proxy\]|\b[a-z]+://[A-Z:]+", r"`\g<0>`", text)
    return re.sub(r"docs/(\w+\.md)", r"[\1](../\1)", text)


__all__ = ["page"]
