"""The pages of the documentation: their text without code, and the commands that they show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")),
        *(path for folder in ("docs", "benchmarks") for path in (ROOT / folder).rglob("*.md")),
    ]
)
"""All Markdown pages."""
_FENCED = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^    \S[^\n]*\n)+", re.MULTILINE)
_ENDS = {"&&", "||", "|", ";", "&"}


def name_of(page: Path) -> str:
    """Its path within the repository."""
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The text of a page without blocks and spans of code."""
    return re.sub(r"`[^`\n]*`", "", _FENCED.sub("", page.read_text(encoding="utf-8")))


def fenced(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [text for kind, text in _FENCED.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Every command of a page's blocks and spans of code, as words without what stands before and behind it."""
    text = page.read_text(encoding="utf-8").replace("\\|", "|")
    blocks = [block for _, block in _FENCED.findall(text)]
    outside = _FENCED.sub("", text)
    lines = "\n".join([*blocks, *_INDENTED.findall(outside)]).replace("\\\n", " ").splitlines()
    spans = re.findall(r"`([^`]+)`", _INDENTED.sub("", outside))
    return [command for line in [*lines, *spans] for command in _commands(" ".join(line.split()))]


def _commands(line: str) -> Iterator[list[str]]:
    """The commands that a line chains."""
    if line.startswith("command: ["):  # a list of YAML
        line = re.sub(r"[\[\],]", " ", line.removeprefix("command: "))
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # no command: prose or a program with an apostrophe
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if word in _ENDS:
            yield command
            command = []
        else:
            command.append(word)


def arguments(command: list[str], *program: str) -> list[str] | None:
    """What follows the words of a program in a command; None where it is another program's."""
    for i in range(len(command)):
        if tuple(command[i : i + len(program)]) == program:
            return command[i + len(program) :]
    return None


__all__ = ["PAGES", "ROOT", "arguments", "commands", "fenced", "name_of", "prose"]
