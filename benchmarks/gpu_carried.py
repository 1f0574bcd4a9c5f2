"""What a machine without a network must be given: one folder with wheels and CIFAR-10.

FOLDER/wheels/*.whl              packages that a machine with PyTorch, torchvision and pandas usually lacks
FOLDER/cifar10-jpeg.tar.xz       cifar10/train/<class>/*.jpg and cifar10/test/<class>/*.jpg
"""

import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

ARCHIVE = "cifar10-jpeg.tar.xz"
PYTHON = "3.12"
LIMIT_MIB = 64
_PURE = (
    *("spikingjelly==2.0.0", "loguru==0.7.3", "SciencePlots==2.2.2", "optuna==5.0.0", "timm==1.0.31"),
    *("alembic", "Mako", "colorlog", "yacs", "termcolor", "platformdirs", "click>=8.2", "plotly>=6"),
)
_COMPILED = ("sqlalchemy==2.1.*",)
_SOURCES = ("fvcore==0.1.5.post20221221", "iopath==0.1.10")
"""There are no wheels of these: they are built here."""
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def pack(folder: Path, archive: Path) -> str:
    """Fill `folder`, and tell how large it is.

    Raises:
        SystemExit: there is no such archive, a package cannot be had, or it is too large to be carried.
    """
    if not archive.is_file():
        raise SystemExit(f"Error: {archive} does not exist. Give {ARCHIVE}, whose layout gpu_carried.py describes")
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    target = [f"--python-version={PYTHON}", "--implementation=cp", "--only-binary=:all:"]
    target += [f"--platform={platform}" for platform in _PLATFORMS]
    _pip("download", "--no-deps", f"--dest={wheels}", *target, *_PURE, *_COMPILED)
    _pip("wheel", "--no-deps", f"--wheel-dir={wheels}", *_SOURCES)
    if archive.resolve() != (folder / ARCHIVE).resolve():
        shutil.copyfile(archive, folder / ARCHIVE)
    sizes = {path.name: path.stat().st_size / 2**20 for path in (*sorted(wheels.iterdir()), folder / ARCHIVE)}
    total = sum(sizes.values())
    if total > LIMIT_MIB:
        raise SystemExit(f"Error: {folder} holds {total:.1f} MiB, more than {LIMIT_MIB}. Remove what is not needed")
    lines = [f"{size:6.2f} MiB  {name}" for name, size in sizes.items()]
    return "\n".join([*lines, f"{total:6.2f} MiB  in all, in {folder}"])


def _pip(*arguments: str) -> None:
    if subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments]).returncode:
        raise SystemExit(f"Error: pip {arguments[0]} failed, as said above. It needs a network")


def install(folder: Path, site: Path) -> None:
    """Unpack the wheels into a folder for PYTHONPATH; what the machine has is neither changed nor looked at.

    Raises:
        SystemExit: there are no wheels, or they are for another Python.
    """
    wheels = sorted(map(str, (folder / "wheels").glob("*.whl")))
    if not wheels:
        raise SystemExit(f"Error: {folder}/wheels holds no wheels. Fill it where there is a network: --pack {folder}")
    _pip("install", "--no-index", "--no-deps", "--no-compile", "--upgrade", f"--target={site}", *wheels)


class Images:
    """CIFAR-10 in `folder`, unpacked while other things run."""

    def __init__(self, folder: Path, fill: Callable[[Path], None]) -> None:
        self.folder, self._error = folder, ""
        self._thread = threading.Thread(target=self._filled, args=(fill,), daemon=True)
        self._thread.start()

    def ready(self) -> Path:
        """Waits for it.

        Raises:
            RuntimeError: it cannot be unpacked.
        """
        self._thread.join()
        if self._error:
            raise RuntimeError(self._error)
        return self.folder

    def _filled(self, fill: Callable[[Path], None]) -> None:
        if (self.folder / "train").is_dir():
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            fill(self.folder)
        except (OSError, EOFError, tarfile.TarError) as error:  # lzma tells of damage by EOFError
            self._error = f"CIFAR-10 cannot be unpacked to {self.folder}: {error}"


def unpacked(archive: Path) -> Callable[[Path], None]:
    """Fills a folder cifar10 from the archive."""

    def fill(folder: Path) -> None:
        with tarfile.open(archive) as opened:
            opened.extractall(folder.parent, filter="data")

    return fill


def noise(folder: Path) -> None:
    """A few images of noise in CIFAR-10's classes, where a stage shall only be seen to run."""
    import numpy as np  # what packs and what starts stages needs neither
    from PIL import Image

    random = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 2)):
        for name in _CLASSES:
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i:04}.png")
