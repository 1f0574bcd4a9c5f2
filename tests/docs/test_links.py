"""Links between the pages: files and headings that they name are there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, fenced, name_of, prose


def _anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub and the site make them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S), re.M
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_hold(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_entries_of_the_navigation_are_pages() -> None:
    index = ROOT / "docs" / "index.md"
    lines = [line for block in fenced(index, "{toctree}") for line in block.splitlines() if line[:1] not in ("", ":")]
    entries = [re.sub(r".*<(.+)>", r"\1", line) for line in lines]
    names = {entry.lstrip("/") if entry.startswith("/") else f"docs/{entry}" for entry in entries}
    assert [name for name in names if not any(ROOT.glob(f"{name}.*")) and "*" not in name] == []
    assert {f"docs/{path.stem}" for path in (ROOT / "docs").glob("*.md")} - names == {"docs/index"}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading: `code`\n\n[here](#one-heading-code) and `[not](there.md)`\n")
    assert _anchors(page) == {"one-heading-code"}
    test_links_hold(page)
    page.write_text("[there](absent.md)\n")
    with pytest.raises(AssertionError, match=r"absent\.md"):
        test_links_hold(page)
