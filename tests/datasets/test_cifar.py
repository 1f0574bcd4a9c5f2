"""CIFAR in the files of its authors: downloaded from a server of our own, read exactly, and never run."""

import dataclasses
import hashlib
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from nas import files
from nas.datasets import cifar, loaders, sources
from nas.datasets.cifar import Cifar
from nas.datasets.downloads import Remote
from nas.errors import DataError
from spikformer.config import SpikformerConfig
from tests.datasets.test_loaders import image_space
from tests.servers import Server, serving

IMAGES = 12
"""Of each file."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class _Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which numpy's arrays are full of."""

    def save_bytes(self, content: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)  # pyrefly: ignore[missing-attribute]

    dispatch = pickle._Pickler.dispatch | {bytes: save_bytes}  # pyrefly: ignore[bad-assignment]  # Python's own table


def batch(seed: int, labels: str) -> bytes:
    """A file as theirs: pixels of colour after colour and labels as a list, pickled by Python 2."""
    pixels = np.random.default_rng(seed).integers(0, 256, (IMAGES, 3072), np.uint8)
    content = io.BytesIO()
    table = {"data": pixels, labels: [(IMAGES * seed + j) % 10 for j in range(IMAGES)]}
    _Python2(content, protocol=2).dump(table)
    return content.getvalue()


def small(dataset: str) -> tuple[Cifar, bytes]:
    """A data set in the layout of its authors with a few drawn images, and the archive."""
    original = cifar.DATASETS[dataset]
    names = [name for part in original.batches.values() for name, _ in part]
    contents = {name: batch(seed, original.labels) for seed, name in enumerate(names)}
    contents[original.meta[0]] = pickle.dumps({"label_names": list(original.classes)}, protocol=2)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in (*contents.items(), ("readme.html", b"<html>")):
            entry = tarfile.TarInfo(f"{original.folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    batches = {part: tuple((name, sums[name]) for name, _ in every) for part, every in original.batches.items()}
    remote = Remote(original.archive.url, hashlib.sha256(archive.getvalue()).hexdigest())
    meta = (original.meta[0], sums[original.meta[0]])
    return dataclasses.replace(original, archive=remote, batches=batches, meta=meta), archive.getvalue()


@pytest.fixture(params=["cifar10", "cifar100"])
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Server]]:
    """A data set's name, and the server from which the program downloads it."""
    settings, archive = small(request.param)
    with serving(Server(archive), settings.archive.name) as server:
        remote = Remote(server.url, settings.archive.sha256)
        monkeypatch.setitem(cifar.DATASETS, request.param, dataclasses.replace(settings, archive=remote))
        yield request.param, server


def test_a_search_and_a_training_download_it_once(served: tuple[str, Server]) -> None:
    """The same images, into the user's cache; of the archive only the files that are known."""
    dataset, server = served
    settings = cifar.DATASETS[dataset]
    told: list[str] = []
    space = image_space(dataset, len(settings.classes), image_size=32)
    parts = len(settings.batches["train"])
    read = loaders._read(
        space.data, SpikformerConfig.from_dict(space.base).stem, None, lambda what, *_: told.append(what)
    )
    source = sources.find(None, dataset)
    assert server.asked == [None]
    assert told[0] == f"downloading {settings.archive.name}, MB"
    assert (len(source.train), len(source.test)) == (IMAGES * parts, IMAGES)
    first = pickle.loads(batch(0, settings.labels), encoding="latin1")  # our own
    expected = first["data"].reshape(IMAGES, 3, 32, 32)
    assert np.array_equal(source.train.content(3), expected[3].transpose(1, 2, 0))
    assert torch.equal(read.source.images[:IMAGES], torch.from_numpy(expected))
    assert source.train.labels[:IMAGES].tolist() == first[settings.labels] == read.source.labels[:IMAGES].tolist()
    folder = files.cache_folder() / settings.folder
    names = {name for part in settings.batches.values() for name, _ in part} | {settings.meta[0]}
    assert {path.name for path in folder.iterdir()} == names


def test_a_download_that_fails_leaves_no_folder(served: tuple[str, Server]) -> None:
    dataset, server = served
    server.content = b"<html>"
    with pytest.raises(DataError, match=r"could not be downloaded to .*are another file .*Give a folder") as caught:
        sources.find(None, dataset)
    assert "\n" not in str(caught.value)
    assert not (files.cache_folder() / cifar.DATASETS[dataset].folder).exists()


def test_damaged_files_are_named_with_what_to_do(served: tuple[str, Server]) -> None:
    dataset, _ = served
    sources.find(None, dataset)
    name = cifar.DATASETS[dataset].batches["test"][0][0]
    path = files.cache_folder() / cifar.DATASETS[dataset].folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{name} missing or damaged .* Delete .* and run the same command again"):
        sources.find(None, dataset)
    with pytest.raises(DataError, match=f"{name} missing or damaged .* Leave --data-dir out"):
        sources.find(path.parent, dataset)


class _Evil:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("right_sum", [True, False])
def test_a_pickle_that_would_run_something_runs_nothing(tmp_path: Path, right_sum: bool) -> None:
    """Its sum is wrong; and if somebody found another file with the same sum, it would still be refused."""
    content = pickle.dumps({"data": _Evil(tmp_path / "ran"), "labels": [0]}, protocol=2)
    (tmp_path / "batch").write_bytes(content)
    md5 = hashlib.md5(content).hexdigest() if right_sum else "0" * 32
    settings = dataclasses.replace(cifar.DATASETS["cifar10"], batches={"train": (("batch", md5),), "test": ()})
    refused: tuple[type[Exception], ...] = (pickle.UnpicklingError,) if right_sum else (DataError,)
    with pytest.raises(refused, match=r"nothing that an array needs|missing or damaged"):
        cifar.read(settings, tmp_path, "train", "")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_files_and_sums_are_those_that_torchvision_knows(dataset: str) -> None:
    """Another source of the same facts."""
    from torchvision import datasets

    theirs = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[dataset]
    ours = cifar.DATASETS[dataset]
    assert (ours.archive.url, ours.folder) == (theirs.url, theirs.base_folder)
    assert [list(each) for each in ours.batches["train"]] == theirs.train_list
    assert [list(each) for each in ours.batches["test"]] == theirs.test_list
    assert ours.meta == (theirs.meta["filename"], theirs.meta["md5"])
