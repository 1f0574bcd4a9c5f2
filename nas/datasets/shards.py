"""WebDataset shards: images inside tar files, found once and then read at their offsets."""

import contextlib
import hashlib
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from nas import files
from nas.datasets.pictures import HIDDEN, IMAGE_SUFFIXES, is_hidden, is_within_hidden, passed_over
from nas.errors import DataError, OutputError

OnScan = Callable[[str, int, int], None]
"""Called with what is read, how much of it is done, and how much there is."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shards:
    """Images inside tar files, by where they begin.

    Attributes:
        shards: the files.
        shard: of each image, its file; `offset` and `size` in bytes within it.
        keys: their names inside.
    """

    shards: tuple[Path, ...]
    shard: Numbers
    offset: Numbers
    size: Numbers
    labels: Numbers
    keys: npt.NDArray[np.bytes_]
    _open: dict[tuple[int, int], int] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        return f"{self.shards[self.shard[i]]}, {os.fsdecode(bytes(self.keys[i]))}"

    def content(self, i: int) -> bytes:
        return os.pread(self._file(int(self.shard[i])), int(self.size[i]), int(self.offset[i]))

    def _file(self, shard: int) -> int:
        """An open file of this process, which keeps the last ones."""
        key = (os.getpid(), shard)
        if key not in self._open:
            own = [known for known in self._open if known[0] == key[0]]
            if len(own) >= _OPEN_SHARDS:
                os.close(self._open.pop(own[0]))
            self._open[key] = os.open(self.shards[shard], os.O_RDONLY)
        return self._open[key]

    @property
    def runs(self) -> Numbers:
        return np.bincount(self.shard, minlength=len(self.shards)).astype(np.int64)


_OPEN_SHARDS = 64
_MOST_NUMBERED = 100_000  # classes without names; ImageNet's largest version has 21,841
_LONGEST_LABEL = 1000  # bytes of a .cls
_INDEX_FORMAT = 3


Index = dict[str, npt.NDArray[np.generic]]


def has_shards(folder: Path, part: str) -> bool:
    """Whether a folder has shards of a part, such as "train"."""
    return any(part in tar.name for tar in _tars(folder))


def read_parts(
    folder: Path, parts: Sequence[str], on_scan: OnScan
) -> tuple[dict[str, Shards], tuple[str, ...], Counter[str]]:
    """The images of some parts; shards of others are not opened.

    Returns:
        The parts by name, the names of the classes, and what else is in them (`nas.datasets.pictures.in_words`).

    Raises:
        DataError: a damaged shard, an image without label, or a label that classes.txt does not name.
    """
    tars, named = _tars(folder), _class_names(folder)
    indexed = {
        name: index_of([tar for tar in tars if name in tar.name], f"reading shards of {name}", on_scan)
        for name in parts
    }
    words = sorted({word for _, _, labels, _ in indexed.values() for word in labels})
    passed = sum((of for *_, of in indexed.values()), Counter[str]())
    if all(word.isascii() and word.isdecimal() for word in words):
        numbers = {word: int(word) for word in words}
        classes = named or _numbered(folder, max(numbers.values()) + 1)
    else:
        classes = named or tuple(words)
        numbers = {word: classes.index(word) if word in classes else len(classes) for word in words}
    if max(numbers.values()) >= len(classes):
        worst = max(numbers, key=lambda word: numbers[word])
        raise DataError(
            f"{folder}: a .cls file holds label {worst}, but classes.txt names {len(classes)} classes. "
            "Correct one of the files"
        )
    held = {name: _labelled(index, paths, labels, numbers) for name, (index, paths, labels, _) in indexed.items()}
    return held, classes, passed


def _numbered(folder: Path, count: int) -> tuple[str, ...]:
    """Names of classes that have none.

    Raises:
        DataError: a number that is no class: each would get a name, and an output of the network.
    """
    if count > _MOST_NUMBERED:
        raise DataError(
            f"{folder}: a .cls file holds label {count - 1:,}, which makes {count:,} classes. Without names at most "
            f"{_MOST_NUMBERED:,} are accepted. Number the classes from 0, or name them in classes.txt"
        )
    return tuple(map(str, range(count)))


def _tars(folder: Path) -> list[Path]:
    return sorted(tar for tar in folder.glob("*.tar") if not is_hidden(tar.name))


def _class_names(folder: Path) -> tuple[str, ...]:
    path = folder / "classes.txt"
    if not path.is_file():
        return ()
    try:
        names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}). Write the name of a class on each line") from None
    if len(set(names)) < len(names):
        again = next(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(f"{path} names the class {again} twice. Name each class once: a label is the line of its name")
    return names


def _labelled(index: Index, paths: tuple[Path, ...], words: list[str], numbers: dict[str, int]) -> Shards:
    labels = np.array([numbers[word] for word in words], dtype=np.int64)[index["word"].astype(np.int64)]
    shard, offset, size = (index[name].astype(np.int64) for name in ("shard", "offset", "size"))
    return Shards(paths, shard, offset, size, labels, index["keys"].astype(np.bytes_))


def index_of(tars: list[Path], what: str, on_scan: OnScan) -> tuple[Index, tuple[Path, ...], list[str], Counter[str]]:
    """Where the images lie, kept in the cache: reading all headers of a large set takes minutes.

    Returns:
        The places, the shards, the words of their `.cls`, and what else is in them (`nas.datasets.pictures.in_words`).
    """
    digest = hashlib.sha256(repr((_INDEX_FORMAT, IMAGE_SUFFIXES)).encode())
    for tar in tars:
        state = tar.stat()
        digest.update(repr((str(tar.absolute()), state.st_size, state.st_mtime_ns)).encode())
    cached = files.cache_folder() / f"shards-{digest.hexdigest()[:16]}.npz"
    try:
        with np.load(cached, allow_pickle=False) as stored:
            index = dict(stored)
    except (OSError, ValueError, EOFError):
        index = _scanned(tars, what, on_scan)
        _keep(cached, index)
    passed = Counter(
        {str(reason): int(count) for reason, count in zip(index.pop("reasons"), index.pop("passed"), strict=True)}
    )
    return index, tuple(tars), [str(word) for word in index.pop("words")], passed


def _keep(path: Path, index: Index) -> None:
    with contextlib.suppress(OutputError):  # a cache that cannot be written costs time, nothing else
        files.write(path, lambda partial: np.savez(partial, **index))  # pyrefly: ignore[bad-argument-type]  # its stub is narrow


def _scanned(tars: list[Path], what: str, on_scan: OnScan) -> Index:
    rows: list[tuple[int, int, int, bytes, str]] = []
    passed: Counter[str] = Counter()
    for i, tar in enumerate(tars):
        try:
            rows += [(i, *row) for row in _samples(tar, passed)]
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{tar} is not a readable tar file ({error}). Download it again") from None
        on_scan(what, i + 1, len(tars))
    words = sorted({row[4] for row in rows})
    places = {word: n for n, word in enumerate(words)}
    shard, offset, size = (np.array([row[k] for row in rows], dtype=np.int64) for k in range(3))
    return {
        "shard": shard,
        "offset": offset,
        "size": size,
        "keys": np.array([row[3] for row in rows]),
        "word": np.array([places[row[4]] for row in rows], dtype=np.int64),
        "words": np.array(words),
        "reasons": np.array(list(passed), dtype=np.str_),
        "passed": np.array(list(passed.values()), dtype=np.int64),
    }


def _label(tar: Path, name: str, content: bytes) -> str:
    """The word of a `.cls`.

    Raises:
        DataError: none, or a number or text that no class has.
    """
    word = content[:_LONGEST_LABEL].decode(errors="replace").strip()
    if not word or len(content) > _LONGEST_LABEL or "\n" in word or (word.isdecimal() and len(word) > 18):
        raise DataError(f"{tar}, {name}: {word[:40]!r} is not a label. A .cls holds the number or name of a class")
    return word


def _samples(tar: Path, passed: Counter[str]) -> list[tuple[int, int, bytes, str]]:
    """Offset, size, key and label of each image; files of one sample share all before the first dot.

    Args:
        passed: files that are neither images nor labels are added, by reason.
    """
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, str] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            if is_within_hidden(PurePosixPath(member.name)):
                passed[HIDDEN] += member.isfile()
                continue
            folder, _, file = member.name.rpartition("/")
            stem, _, kind = file.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            if member.isfile() and f".{kind.lower()}" in IMAGE_SUFFIXES:
                images[key] = (member.offset_data, member.size)
            elif member.isfile() and kind == "cls":
                content = archive.extractfile(member)
                assert content is not None
                labels[key] = _label(tar, member.name, content.read(_LONGEST_LABEL + 1))
            elif member.isfile():
                passed[f".{kind.lower()}" if kind else passed_over(file)] += 1
    missing = sorted(images.keys() - labels.keys())
    if missing or not images:
        what = f"{missing[0]} has no .cls beside it" if missing else "no images"
        raise DataError(f"{tar}: {what}. A sample is KEY.jpg and KEY.cls, its label")
    return [(*images[key], os.fsencode(key), labels[key]) for key in images]


__all__ = ["Numbers", "OnScan", "Shards", "has_shards", "read_parts"]
