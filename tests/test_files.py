"""Files and folders appear whole or not at all, and take nobody's place."""

from pathlib import Path

import pytest

from nas import files
from nas.errors import OutputError


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    """`evaluate --csv images` wrote a table where the images were."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "0.jpg").write_text("an image")
    with pytest.raises(
        OutputError, match=r"images cannot be written: it is a folder\. Make room or name another place"
    ):
        files.write(folder, lambda partial: partial.write_text("a table"))
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "0.jpg"]


def test_a_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for content in ("old", "new"):

        def fill(partial: Path, content: str = content) -> None:
            partial.mkdir()
            (partial / "file").write_text(content)

        files.write(tmp_path / "folder", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "file").read_text() == "new"
