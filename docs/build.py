"""Build the documentation: `python docs/build.py` writes the references anew, then the site to docs/_build/html.

`python docs/build.py --run` first runs the tutorial and stores what it prints in the notebook;
`python docs/build.py --references` writes the references only.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SITE = DOCS / "_build" / "html"
TUTORIAL = DOCS / "tutorial.ipynb"
_TO_FIRST_PAGE = (
    '<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/">Documentation</a>'
)
sys.path.insert(0, str(ROOT))


def write_references() -> None:
    """Write the pages that are generated from the commands, the settings of a space file and published figures."""
    import cli_reference
    import published_reference
    import space_reference

    (DOCS / "reference" / "cli.md").write_text(cli_reference.page(), encoding="utf-8")
    (DOCS / "reference" / "space_file.md").write_text(space_reference.page(), encoding="utf-8")
    (DOCS / "published_numbers.md").write_text(published_reference.page(), encoding="utf-8")


def run_tutorial() -> None:
    """Run the notebook from the repository's root, and store its outputs in it."""
    import nbformat
    from nbclient import NotebookClient

    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"  # figures are stored as numbers, without plotly.js
    notebook = nbformat.read(TUTORIAL, as_version=4)
    place = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=1800, record_timing=False, resources=place).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_of_the_machine(output)]
    nbformat.write(notebook, TUTORIAL)


def _is_of_the_machine(output: dict[str, Any]) -> bool:
    """Whether an output asks for ipywidgets, which tells of the machine that built the pages and not of the program."""
    return output["output_type"] == "stream" and "TqdmWarning" in output["text"]


def build_site(site: Path) -> int:
    """The exit code of Sphinx, which reads every page anew, and for which a warning is an error."""
    import figures
    from sphinx.cmd.build import build_main

    flags = ["-q", "-E", "-W", "--keep-going", "-c", str(DOCS), "-d", str(site.parent / "doctrees")]
    code: int = build_main([*flags, str(ROOT), str(site)])
    figures.add_library(site)
    (site / "index.html").write_text(_TO_FIRST_PAGE, encoding="utf-8")
    return code


@click.command()
@click.option("--references", is_flag=True, help="Write the references only; needs no Sphinx.")
@click.option("--run", is_flag=True, help="Run docs/tutorial.ipynb first, and store what it prints.")
def main(references: bool, run: bool) -> None:
    """Write the references and build the site to docs/_build/html."""
    write_references()
    if references:
        return
    if run and TUTORIAL.exists():
        run_tutorial()
    code = build_site(SITE)
    if code == 0:
        click.echo(f"wrote {(SITE / 'index.html').relative_to(ROOT)}")
    sys.exit(code)


if __name__ == "__main__":
    main()
