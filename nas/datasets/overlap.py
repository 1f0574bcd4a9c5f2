"""Whether training images are, byte for byte, among the test images: then the test flatters."""

import hashlib
from collections.abc import Hashable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.datasets.frame_images import FrameImages
from nas.datasets.shards import Shards
from nas.datasets.sources import Folders, InMemory, LabelledImages, Numbers, Source

# Measured on one core of a busy AMD EPYC, files in memory: 200,000 files are asked for their size in 4 s, and 4 GB, in
# files of 100 kB, are read and hashed in 12 s. A disk in a network takes up to a hundred times as long to ask, and up
# to ten times to read.
MOST_FILES = 200_000
MOST_BYTES = 4 * 10**9


def in_words(source: Source, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> str:
    """A sentence on the copies, or on why they were not looked for. Nothing is left out of either part.

    Only images of equal size, in bytes, are read. Copies that were encoded anew or resized are not found.

    Args:
        most_files: class folders with more files are not asked for their sizes.
        most_bytes: images of equal size that have more together are not read.
    """
    if isinstance(source.train, FrameImages) and isinstance(source.test, FrameImages):
        train, test = (dict(enumerate(part.digests)) for part in (source.train, source.test))
        return _told(source, train, test, "recordings", "event by event")
    files = sum(len(part) for part in (source.train, source.test) if isinstance(part, Folders))
    if files > most_files:
        return (
            f"The test images were not searched for copies of training images: {files:,} files are more than the "
            f"limit of {most_files:,}. Reading the sizes of so many takes minutes on a network disk."
        )
    sizes = [_sizes(part) for part in (source.train, source.test)]
    common = np.intersect1d(sizes[0], sizes[1])
    alike = [np.flatnonzero(np.isin(of, common[common > 0])) for of in sizes]
    total = sum(int(of[chosen].sum()) for of, chosen in zip(sizes, alike, strict=True))
    if total > most_bytes:
        return (
            f"The test images were not searched for copies of training images: {sum(map(len, alike)):,} images of "
            f"equal size have {total / 1e9:.1f} GB, more than the limit of {most_bytes / 1e9:g} GB."
        )
    return _told(source, _digests(source.train, alike[0]), _digests(source.test, alike[1]))


def _told(
    source: Source,
    train: Mapping[int, Hashable],
    test: Mapping[int, Hashable],
    kind: str = "images",
    how: str = "byte for byte",
) -> str:
    """
    Args:
        train, test: digest of each image or recording that was read, by its number.
    """
    first_test: dict[Hashable, int] = {}
    for number, digest in test.items():
        first_test.setdefault(digest, number)
    both = [number for number, digest in train.items() if digest in first_test]
    if not both:
        return f"No training {kind.removesuffix('s')} is among the test {kind}, {how}."
    known = {train[number] for number in both}
    tested = sum(digest in known for digest in test.values())
    example = f"{source.train.name(both[0])} is {source.test.name(first_test[train[both[0]]])}"
    return (
        f"Training {kind} that are among the test {kind}, {how}: {len(both):,} of {len(source.train):,}. They "
        f"are {tested:,} of the {len(source.test):,} test {kind} ({source.test_part}), so the test accuracy is "
        f"optimistic. For example, {example}. Nothing was left out. Remove the copies from one of the two parts."
    )


def _sizes(images: LabelledImages) -> Numbers:
    """Bytes of each image as it is kept; 0 of what is no file, or not there."""
    if isinstance(images, Shards):
        return images.size
    if isinstance(images, InMemory):
        return np.full(len(images), images.images[:1].nbytes, dtype=np.int64)
    return np.fromiter((_size(images.name(i)) for i in range(len(images))), np.int64, len(images))


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _digests(images: LabelledImages, numbers: npt.NDArray[np.intp]) -> dict[int, bytes]:
    """Of what can be read; readers tell of the rest."""
    digests = {}
    for number in map(int, numbers):
        try:
            content = images.content(number)
        except OSError:
            continue
        plain = content if isinstance(content, bytes) else content.tobytes()
        digests[number] = hashlib.blake2b(plain, digest_size=16).digest()
    return digests


__all__ = ["MOST_BYTES", "MOST_FILES", "in_words"]
