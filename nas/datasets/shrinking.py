"""Images stored smaller, as WebDataset shards: readers decode them in less time, and a disk has less to bring."""

import io
import multiprocessing
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from nas import files
from nas.datasets import decoding
from nas.datasets import sources as sources
from nas.datasets.decoding import UnreadableError
from nas.datasets.pictures import is_hidden
from nas.datasets.shards import OnScan
from nas.datasets.sources import LabelledImages, Source
from nas.errors import DataError, OutputError

_A_SHARD = 1000
_MOST_WORKERS = 512
_QUALITY = 90
_CIFAR_PIXELS = 32
_ORIGIN = "origin.txt"  # says which images the shards are of


def shrink(
    data_dir: str | Path,
    out: str | Path,
    side: int = 256,
    workers: int = 1,
    on_progress: OnScan = lambda _what, _done, _total: None,
) -> Path:
    """Write the images of a folder again, each with a short side of at most `side` pixels.

    The images of a shard are drawn from all classes. Shards that are there already are not written again, so that the
    same call goes on where it was interrupted.

    Args:
        data_dir: see `nas.datasets.sources`.
        out: folder of the shards, and of classes.txt.
        side: in pixels. Images that are no larger keep their files.
        workers: processes.

    Raises:
        DataError: no such images, or a damaged one.
        OutputError: `out` holds other shards, or cannot be written.
    """
    if workers > _MOST_WORKERS:
        raise DataError(f"workers is {workers:,}, more than any machine has cores. Use at most {_MOST_WORKERS}")
    if side < 1 or workers < 1:
        raise DataError(f"side is {side} and workers is {workers}; both must be at least 1, for example 256 and 8")
    source, folder = sources.find(data_dir), Path(out)
    if source.kind == "cifar":
        raise DataError(
            f"{data_dir} holds CIFAR, whose images are only {_CIFAR_PIXELS} pixels wide. Give a folder of class "
            f"folders or shards"
        )
    tasks = [task for part in ("train", source.test_part) for task in _tasks(source, part, folder, side)]
    _check_ours(folder, {path for path, _, _ in tasks})
    _check_same(folder / _ORIGIN, source)
    files.write(folder / "classes.txt", lambda partial: partial.write_text("\n".join(source.classes)))
    waiting = [task for task in tasks if not task[0].exists()]
    # Not forked: torch's threads may hold locks.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (source, side)) as pool:
        for done, _ in enumerate(pool.map(_write_shard, waiting), len(tasks) - len(waiting) + 1):
            on_progress("writing shards", done, len(tasks))
    return folder


_Task = tuple[Path, str, list[int]]
"""A shard, the part that it belongs to, and the numbers of its images there."""


def _tasks(source: Source, part: str, folder: Path, side: int) -> Iterator[_Task]:
    numbers = np.random.default_rng(0).permutation(len(_images(source, part))).tolist()
    for i in range(0, len(numbers), _A_SHARD):
        yield folder / f"{part}-{side}px-{i // _A_SHARD:06}.tar", part, numbers[i : i + _A_SHARD]


def _images(source: Source, part: str) -> LabelledImages:
    return source.train if part == "train" else source.test


def _check_ours(folder: Path, ours: set[Path]) -> None:
    others = sorted(path.name for path in folder.glob("*.tar") if path not in ours and not is_hidden(path.name))
    if others:
        raise OutputError(
            f"{folder} holds other shards, such as {others[0]}, which would be read too. Give another --out"
        )


def _check_same(path: Path, source: Source) -> None:
    """That shards which are there hold the images of this folder, and not those that it held before."""
    origin = f"train {source.fingerprint}, {source.test_part} {len(source.test)} images"
    if path.exists() and path.read_text().strip() != origin:
        raise OutputError(
            f"{path.parent} already holds shards of different images ({path.read_text().strip()}). Choose another --out"
        )
    files.write(path, lambda partial: partial.write_text(origin + "\n"))


@dataclass
class _Work:
    """What a process is given once."""

    source: Source
    side: int


_WORK: list[_Work] = []


def _begin(source: Source, side: int) -> None:
    _WORK.append(_Work(source, side))


def _write_shard(task: _Task) -> None:
    path, part, numbers = task
    work = _WORK[-1]
    images = _images(work.source, part)

    def write(partial: Path) -> None:
        with tarfile.open(partial, "w") as archive:
            for number in numbers:
                kind, content = _smaller(images, number, work.side)
                _add(archive, f"{number:08}.{kind}", content)
                _add(archive, f"{number:08}.cls", str(images.labels[number]).encode())

    files.write(path, write)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _smaller(images: LabelledImages, number: int, side: int) -> tuple[str, bytes]:
    """The ending of its file, and its bytes: as they were, or a smaller JPEG."""
    try:
        content = images.content(number)
        assert isinstance(content, bytes)
        image = decoding.opened(content)
        if min(image.size) <= side:
            return _ENDINGS.get(image.format or "", "jpg"), content
        scale = side / min(image.size)
        size = (round(scale * image.width), round(scale * image.height))
        image.draft("RGB", (2 * size[0], 2 * size[1]))  # at least twice as large as needed: the filter does the rest
        smaller = decoding.decoded(image, "RGB").resize(size, Image.Resampling.LANCZOS)
    except (UnreadableError, OSError) as error:
        raise DataError(
            f"{images.name(number)} is not a readable image ({error}). Replace it or move it elsewhere"
        ) from None
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=_QUALITY)
    return "jpg", file.getvalue()


_ENDINGS = {
    "PNG": "png",
    "WEBP": "webp",
    "TIFF": "tif",
    "BMP": "bmp",
    "PPM": "ppm",
    "GIF": "gif",
}  # as `nas.datasets.pictures` knows them

__all__ = ["shrink"]
