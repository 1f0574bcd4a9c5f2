"""The folder of the documentation, whose programs are no package."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of `docs/` by its name."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module
