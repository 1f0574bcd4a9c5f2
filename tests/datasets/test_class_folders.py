"""Folders of images by class are listed in one place; a search asks files whether they are there."""

from collections import Counter
from pathlib import Path

import pytest

from nas.datasets.class_folders import listed
from nas.errors import DataError

_IMAGES = ("cat/b/1.jpg", "cat/b-c/2.PNG", "cat/3.webp", "dog/4.gif")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images of two classes, and a file beside each kind of place."""
    others = ("cat/notes.txt", "cat/.hidden.jpg", "dog/.cache/5.jpg", "loose.jpg", "../elsewhere/6.jpg")
    for name in (*_IMAGES, *others):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "train" / "dog" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "train" / "dog" / "linked").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "train"


def _names(root: Path, *, check_links: bool) -> tuple[list[str], Counter[str]]:
    passed: Counter[str] = Counter()
    classes, images = listed(root, passed, check_links=check_links)
    assert classes == ("cat", "dog")
    names = [str(Path(images.name(i)).relative_to(root)) for i in range(len(images))]
    assert [classes[label] for label in images.labels] == [name.partition("/")[0] for name in names]
    return names, +passed


def test_a_training_lists_what_it_may_find_and_asks_no_file(root: Path) -> None:
    names, passed = _names(root, check_links=False)
    assert names == ["cat/3.webp", "cat/b-c/2.PNG", "cat/b/1.jpg", "dog/4.gif", "dog/gone.jpg", "dog/linked/6.jpg"]
    assert passed == {"hidden": 2, ".txt": 1, "beside the class folders": 1}


def test_a_search_lists_files_that_are_there(root: Path) -> None:
    names, passed = _names(root, check_links=True)
    assert names == ["cat/3.webp", "cat/b-c/2.PNG", "cat/b/1.jpg", "dog/4.gif"]
    assert passed == {"hidden": 2, ".txt": 1, "beside the class folders": 1, "broken links": 1}


def test_a_class_of_broken_links_has_no_images(root: Path) -> None:
    (root / "dog" / "4.gif").unlink()
    with pytest.raises(DataError, match=r"no images in dog .* Fill or remove these folders"):
        listed(root, Counter(), check_links=True)
