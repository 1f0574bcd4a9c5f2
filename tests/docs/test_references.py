"""The generated pages are those of this code, and leave out no option and no key."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import nas
import spikformer
from nas.__main__ import main
from nas.settings import Constraints, DataSettings, Recipe, ReferencePoint
from nas.spaces.axes import AXES, PLACEMENTS
from nas.spaces.parser import _SECTIONS
from nas.spaces.paths import paths_in
from spikformer import published
from spikformer.config import READS, SpikformerConfig

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SETTINGS = {"data": DataSettings, "proxy": Recipe, "constraints": Constraints, "hypervolume": ReferencePoint}


def _sections(name: str, level: str = "## ") -> dict[str, str]:
    """Heading -> text of a page."""
    parts = re.split(rf"^{level}", (REFERENCE / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(part.split("\n", 1) for part in parts)


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("reference/cli.md", "cli_reference"),
        ("reference/space_file.md", "space_reference"),
        ("published_numbers.md", "published_reference"),
    ],
)
def test_the_committed_page_is_the_generated_one(page: str, module: str, program: Callable[[str], Any]) -> None:
    """`python docs/build.py --references` writes it anew."""
    assert (REFERENCE.parent / page).read_text(encoding="utf-8") == program(module).page()


def test_every_published_network_is_once_among_the_published_numbers() -> None:
    """With its accuracy in the table of its data set, or among those without one."""
    sections = dict(
        part.split("\n", 1) for part in (REFERENCE.parent / "published_numbers.md").read_text().split("\n## ")[2:]
    )
    without = re.findall(r"`(\w+)`", sections.pop("Networks without a printed accuracy").splitlines()[1])
    rows = [row for text in sections.values() for row in re.findall(r"^\| `(\w+)` \| ([\d.]+)", text, re.MULTILINE)]
    assert sorted([*without, *(name for name, _ in rows)]) == published.names()
    assert {name: float(accuracy) for name, accuracy in rows} == {
        name: figures.accuracy
        for name in published.names()
        if (figures := published.figures(name)).accuracy is not None
    }


COMMANDS = {
    **{name: ("## ", command) for name, command in main.commands.items()},
    **{
        f"{name} {own}": ("### ", command)
        for name, group in main.commands.items()
        if isinstance(group, click.Group)
        for own, command in group.commands.items()
    },
}
"""Name -> level of its heading, and the command."""


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_of_a_command_is_listed(name: str) -> None:
    level, command = COMMANDS[name]
    section = _sections("cli.md", level)[name]
    for param in command.params:
        for option in (
            [*param.opts, *param.secondary_opts] if isinstance(param, click.Option) else [param.metavar or ""]
        ):
            assert re.search(rf"`(.*, )?{re.escape(option)}[,` ]", section.replace("\\|", "|")), option
    assert f"python cli.py {name}" in section


def test_every_key_of_a_space_file_is_listed() -> None:
    sections = _sections("space_file.md")
    assert {f"[{section}]".replace("choices", "choices.NAME") for section in _SECTIONS} == {*sections} - {
        next(iter(sections))
    }
    base = sections["[base]"]
    for path in (path for path in paths_in(SpikformerConfig().to_dict()) if not re.match(r"stages\.\d", path)):
        shown = re.sub(r".*\.chain\.(\d|\*)\.", "stem.chain.*.", path).replace(".local.", ".mixer.")
        assert f"`{shown}`" in base, path
    assert "`stages.*.local` has the same keys" in base
    assert "and `stages.*.down.chain`, with the same keys" in base
    for part in ("neuron", "stem", "stages.*.down", "stages.*.mixer", "stages.*.mlp"):
        assert f"`{part}.options.NAME`" in base
    for name in [*AXES, *AXES.values(), "neuron_placement", *PLACEMENTS]:
        assert f"`{name}`" in sections["[axes]"]
    for section, cls in SETTINGS.items():
        for field in dataclasses.fields(cls):
            assert f"\n| `{field.name}` |" in sections[f"[{section}]"]


def test_every_kind_is_listed_with_the_fields_that_it_reads() -> None:
    base = _sections("space_file.md")["[base]"]
    for part, kinds in READS.items():
        path = part if part in ("neuron", "stem") else f"stages.*.{part}"
        rows = {row.split("`")[1]: row for row in base.splitlines() if row.startswith(f"| `{path}.")}
        for kind, fields in kinds.items():
            assert f"`{kind}`" in rows[f"{path}.kind"]
            for field in fields:
                assert f"`{kind}`" in rows[f"{path}.{field}"] or "| all |" in rows[f"{path}.{field}"]


@pytest.mark.parametrize("cls", [SpikformerConfig, *SETTINGS.values()])
def test_what_is_said_of_a_field_is_a_sentence(cls: type, program: Callable[[str], Any]) -> None:
    texts = program("space_reference").described(cls)
    assert list(texts) == [field.name for field in dataclasses.fields(cls)]
    assert all(meaning.endswith(".") for _, meaning in texts.values())


@pytest.mark.parametrize(("package", "names"), [("nas", nas.__all__), ("spikformer", spikformer.__all__)])
def test_every_public_name_is_in_the_python_reference(package: str, names: list[str]) -> None:
    text = (REFERENCE / "python.rst").read_text(encoding="utf-8")
    assert [name for name in names if not re.search(rf":: {package}\.{name}$", text, re.MULTILINE)] == []
