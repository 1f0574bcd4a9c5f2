"""The site builds without a warning, and a reader's browser asks no other server for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.conftest import DOCS


@pytest.mark.slow
def test_the_site_builds_and_is_whole(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the extra `docs` is not installed")
    program = f"import pathlib, sys, build; sys.exit(build.build_site(pathlib.Path({str(tmp_path / 'html')!r})))"
    done = subprocess.run([sys.executable, "-c", program], cwd=DOCS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "html").rglob("*.html"))
    assert {"search.html", "cli.html", "space_file.html", "python.html", "glossary.html"} <= {
        page.name for page in pages
    }
    tutorial = next(page for page in pages if page.name == "tutorial.html").read_text(encoding="utf-8")
    assert tutorial.count("Plotly.newPlot(") == 2
    for page in pages:
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text(encoding="utf-8"))
        assert [tag for tag in tags if re.search(r'(?:src|href)="(?:https?:)?//', tag)] == [], page
    for style in (tmp_path / "html" / "_static").rglob("*.css"):
        assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']*", style.read_text(encoding="utf-8")) == []
