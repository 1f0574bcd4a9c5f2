"""Commands that the pages show: each is one that the program understands."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from nas.__main__ import main
from spikformer import plugins
from tests.docs.pages import PAGES, ROOT, arguments, commands, name_of

PROGRAMS = (("cli.py",), ("python", "-m", "nas"), ("spikformer-nas",))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_are_parsed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By click, which refuses options that do not exist and values of another type; nothing runs."""
    monkeypatch.setattr(plugins, "allow", lambda *_blocks: None)
    for command in commands(page):
        for program in PROGRAMS:
            words = arguments(command, *program)
            if words and words[0] not in ("...", "COMMAND") and not words[0].startswith("-"):
                parsed = main.commands[words[0]]
                if isinstance(parsed, click.Group) and words[1:] and words[1] != "COMMAND":
                    parsed, words = parsed.commands[words[1]], words[1:]
                if words[1:] and words[1] != "[OPTIONS]":  # else the page names the command, or how it is used
                    parsed.make_context(words[0], words[1:])


def test_there_are_commands_to_parse() -> None:
    """As many as a reader counts on two pages alone; the test above would pass without any."""
    pages = {name: [*_of_cli(ROOT / name)] for name in ("README.md", "docs/index.md")}
    assert ["search", "--space", "spikformer_tiny", "--trials", "24"] in pages["README.md"]
    assert len(pages["docs/index.md"]) >= 24
    assert ["report", "--convention", "paper"] in pages["docs/index.md"]


def _of_cli(page: Path) -> Iterator[list[str]]:
    """The arguments of each command of a page."""
    return (words for command in commands(page) if (words := arguments(command, "cli.py")))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_scripts_and_tests_of_a_page_exist(page: Path) -> None:
    """And a script has the options that the page gives it."""
    for command in commands(page):
        for script in (word for word in command if re.fullmatch(r"(benchmarks|docs)/\w+\.py", word)):
            source = (ROOT / script).read_text(encoding="utf-8")
            options = [word.partition("=")[0] for word in arguments(command, script) or () if word.startswith("--")]
            assert [option for option in options if f'"{option}"' not in source] == [], script
        for path in (word.partition("::")[0] for word in command if word.startswith("tests/")):
            assert (ROOT / path).exists(), path
