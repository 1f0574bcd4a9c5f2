"""The tutorial runs from its first cell to its last, and what it stores is small and its own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.conftest import DOCS
from tests.docs.pages import ROOT, fenced

TUTORIAL = DOCS / "tutorial.ipynb"
FIGURE = "application/vnd.plotly.v1+json"


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    notebook: dict[str, Any] = json.loads(TUTORIAL.read_text(encoding="utf-8"))
    return list(notebook["cells"])


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _outputs(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [output for cell in cells for output in cell.get("outputs", [])]


SHORTER = {
    "trials=15, epochs=3": "trials=4, epochs=1",
    "seeds=2, top=3": "seeds=1, top=1",
    "trials=4, results_dir=work": "trials=2, results_dir=work",
    "\nepochs = 2\n": "\nepochs = 1\n",
    "epochs=4": "epochs=1",
}


@pytest.mark.slow
def test_the_cells_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a kernel of their own, from a folder of their own; a cell that raises ends the test with its traceback.

    Searches and trainings are shorter than those whose outputs are stored.
    """
    client = pytest.importorskip("nbclient", reason="the extra `docs` is not installed")
    nbformat = pytest.importorskip("nbformat", reason="the extra `docs` is not installed")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    notebook = nbformat.read(TUTORIAL, as_version=4)
    for whole, shorter in SHORTER.items():
        (cell,) = (cell for cell in notebook.cells if whole in cell.source)
        cell.source = cell.source.replace(whole, shorter)
    client.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "spikformer-tutorial" / "trained" / "model.safetensors").exists()


def test_outputs_are_stored_and_small(cells: list[dict[str, Any]]) -> None:
    """`python docs/build.py --run` stores them; a reader downloads them with the page."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert 25 <= len(cells) <= 40
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert [output for output in _outputs(cells) if output["output_type"] == "error"] == []
    assert TUTORIAL.stat().st_size < 300_000
    figures = [output["data"][FIGURE] for output in _outputs(cells) if FIGURE in output.get("data", {})]
    assert len(figures) == 2  # the front, and one network
    assert all(figure["layout"]["title"]["text"] for figure in figures)


def test_outputs_ask_no_server_and_warn_of_nothing(cells: list[dict[str, Any]]) -> None:
    stored = json.dumps(_outputs(cells))
    assert re.findall(r"(?:src|href)=\\?\"https?:", stored) == []
    assert re.findall(r"\w*Warning\b", stored) == []


def test_the_block_is_that_of_the_guide(cells: list[dict[str, Any]]) -> None:
    (block,) = (_source(cell) for cell in cells if _source(cell).startswith("%%writefile"))
    assert block.split("\n", 1)[1].strip() == fenced(DOCS / "your_own_block.md", "python")[0].strip()


def test_links_hold(cells: list[dict[str, Any]]) -> None:
    prose = "\n".join(_source(cell) for cell in cells if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)\s#]+)\)", prose)
    assert len(links) >= 8
    assert [link for link in links if not (DOCS / link).exists()] == []
