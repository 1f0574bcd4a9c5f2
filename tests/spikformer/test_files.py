"""Files and folders appear whole or not at all."""

from pathlib import Path

import pytest

from spikformer.errors import FormatError
from spikformer.files import whole


def test_a_file_appears_when_its_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    with whole(path, FormatError) as partial:
        partial.write_text("new")
        assert partial.suffix == ".onnx"
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").touch()
    with whole(path, FormatError) as partial:
        partial.mkdir()
        (partial / "new").touch()
        assert (path / "old").exists()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def _write(path: Path, error: BaseException | None = None) -> None:
    with whole(path, FormatError) as partial:
        partial.write_text("half")
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()])
def test_what_was_there_stays_when_the_block_fails(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "weights"
    path.write_text("old")
    with pytest.raises(type(error)):
        _write(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.mkdir()
    (path / "table.csv").touch()
    with pytest.raises(FormatError, match=r"results cannot be written: .*\. Free some space or choose another place"):
        _write(path)
    assert [file.name for file in path.iterdir()] == ["table.csv"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"nowhere/file cannot be written: No such file"):
        _write(tmp_path / "nowhere" / "file")
