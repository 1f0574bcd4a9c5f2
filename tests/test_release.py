"""What is released: the wheel and the source archive, built here and used from an empty folder."""

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import nas
from tests.conftest import MICRO, Run

ROOT = Path(__file__).parent.parent
SPACES = {path.name for path in (ROOT / "search_spaces").glob("*.toml")}
RECIPES = {path.name for path in (ROOT / "spikformer" / "recipes").glob("*.toml")}


def _wheel(source: Path, folder: Path) -> Path:
    """The wheel of a source tree, by the backend that pip calls, without a network."""
    builders = pytest.importorskip("hatchling.builders.wheel", reason="development tools are not installed")
    return Path(next(builders.WheelBuilder(str(source)).build(directory=str(folder), versions=["standard"])))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of this checkout."""
    return _wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of this checkout."""
    builders = pytest.importorskip("hatchling.builders.sdist", reason="development tools are not installed")
    folder = tmp_path_factory.mktemp("sdist")
    return Path(next(builders.SdistBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what pip would install, and nothing else of ours."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _metadata(wheel: Path) -> Any:
    (name,) = (name for name in _contents(wheel) if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(_contents(wheel)[name])


def test_a_wheel_holds_the_program_its_spaces_and_nothing_else(wheel: Path) -> None:
    names = set(_contents(wheel))
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"nas", "spikformer"}
    assert {f"nas/search_spaces/{name}" for name in SPACES} <= names
    assert {f"spikformer/recipes/{name}" for name in RECIPES} <= names
    assert {"nas/py.typed", "spikformer/py.typed", "nas/reports/page.html.jinja"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".log"))]
    assert sum(map(len, _contents(wheel).values())) < 3e6


def test_a_wheel_says_what_it_is(wheel: Path) -> None:
    """Its version is that of the program, its requirements those of pyproject.toml."""
    metadata = _metadata(wheel)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["Version"] == nas.__version__
    assert f"-{nas.__version__}-py3-none-any" in wheel.stem
    assert metadata["Requires-Python"] == project["requires-python"]
    required = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]
    assert len(required) == len(project["dependencies"])
    (scripts,) = (text for name, text in _contents(wheel).items() if name.endswith("entry_points.txt"))
    assert b"spikformer-nas = nas.__main__:run" in scripts
    assert any(name.endswith("licenses/LICENSE") for name in _contents(wheel))


def test_the_command_line_tells_the_version(run_here: Run) -> None:
    done = run_here("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"spikformer-nas, version {nas.__version__}")


def test_the_source_archive_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert _contents(_wheel(source, tmp_path / "again")) == _contents(wheel)
    assert (source / "tests" / "data" / "golden").is_dir()
    assert (source / "docs" / "search.md").is_file()
    assert {path.name for path in (source / "results").iterdir()} == {"README.md"}


def _installed_run(installed: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder, of an environment in which our packages are the installed ones."""
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_an_installed_program_reads_its_own_files(installed: Path, tmp_path: Path) -> None:
    """From an empty folder: spaces and recipes come out of the wheel, not out of a clone."""
    program = (
        "import nas, spikformer; from nas.spaces import space_names, load_space; from nas.bundles import recipe\n"
        "print(nas.__file__, spikformer.__file__, sep='\\n')\n"
        "print(len(space_names()), load_space('spikformer_tiny').name)\n"
        "print(*recipe.shipped())"
    )
    done = _installed_run(installed, tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    ours, network, spaces, recipes = done.stdout.splitlines()
    assert Path(ours).is_relative_to(installed)
    assert Path(network).is_relative_to(installed)
    assert spaces == f"{len(SPACES)} spikformer_tiny"
    assert {f"{name}.toml" for name in recipes.split()} == RECIPES


@pytest.mark.exhaustive
def test_an_installed_program_searches_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """In processes of its own, which import torch and plan the search: 15 seconds, and as long again for `spaces`."""
    (tmp_path / "micro.toml").write_text(MICRO)
    listed = _installed_run(installed, tmp_path, "-m", "nas", "spaces")
    assert listed.returncode == 0, listed.stderr
    assert all(name.removesuffix(".toml") in listed.stdout for name in SPACES)
    search = ("search", "--space", "micro.toml", "--trials", "2", "--device", "cpu")
    done = _installed_run(installed, tmp_path, "-m", "nas", *search)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "micro" / "journal.log").is_file()
    assert "-m nas report --study micro" in done.stdout


def test_citation_and_changelog_name_the_version() -> None:
    """A release is not made with half of them."""
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {nas.__version__}\n" in citation
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].split()[1] == nas.__version__


@pytest.mark.parametrize("page", ["SECURITY.md", "CONTRIBUTING.md", "docs/versions.md"])
def test_files_that_a_page_names_are_there(page: str) -> None:
    """Between backticks, with a slash or an ending of ours; what a search or a training writes is none of them."""
    names = re.findall(r"`([\w./-]+)`", (ROOT / page).read_text())
    ours = ("tests/", "docs/", "nas/", "spikformer/", "benchmarks/", ".ci/")
    made = ("docs/_build/", "docs/tutorial.ipynb")
    assert [n for n in names if n.startswith(ours) and not n.startswith(made) and not (ROOT / n).exists()] == []
