"""One command for a GPU machine: checks, tests, races, a search, full training, each under its own time limit.

    python benchmarks/gpu_day.py --out OUT --carried FOLDER

FOLDER has what a machine without a network lacks; where there is a network it is filled by

    python benchmarks/gpu_day.py --pack FOLDER --cifar cifar10-jpeg.tar.xz

Each stage is a process of its own. At its limit it is killed with all that it started, and the next stage begins. What
is found stands in OUT at once, in at most eight files: day.log, findings.jsonl, profile.txt, and STAGE.tar.gz.00 (.01,
...) of stages that write folders. A later call goes on with what an earlier one brought back: --earlier OUT.
`--device cpu --quick` runs each stage to its end on a CPU with tiny sizes, to see that it does.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import gpu_carried

_FOLDER = Path(__file__).parent
_QUICK_LIMIT_S = 400.0
_PART_BYTES = 15 * 2**20  # of an archive: files that come back may not be large
_MARGIN_S = 5.0  # that a stage is told to end before it is killed


@dataclass(frozen=True)
class Stage:
    """A question to the machine.

    Attributes:
        script: that answers it, beside this one.
        limit_s: on a GPU.
        answers: what it tells.
        reads_images: whether it needs CIFAR-10.
        kept: which of the files that it writes come back.
        alone: whether it must be asked for by name.
    """

    script: str
    limit_s: float
    answers: str
    reads_images: bool = False
    kept: tuple[str, ...] = ()
    alone: bool = False


_TEXTS = (".log", ".json", ".jsonl", ".md", ".csv", ".toml")
_PICTURES = (".png", ".html")
_ALL = (*_TEXTS, *_PICTURES, ".safetensors", ".pt")
STAGES = {
    "env": Stage("gpu_checks.py", 15, "versions, device"),
    "checks": Stage("gpu_checks.py", 70, "whether kernels, graph, counts, memory and pace are what they should be"),
    "tests": Stage("gpu_commands.py", 60, "the tests that run on CUDA"),
    "race": Stage("gpu_race.py", 80, "our step beside its ReLU counterpart and SpikingJelly, with profiles"),
    "search": Stage("gpu_commands.py", 85, "networks per hour with 1 and 4 workers", True, _TEXTS),
    "full": Stage("gpu_full.py", 50, "pace and memory of full training, pace of its readers", True),
    "study": Stage("gpu_commands.py", 240, "a whole search, its knee trained", True, _ALL, True),
    "published": Stage("gpu_commands.py", 240, "published networks as proxies", True, _TEXTS + _PICTURES, True),
    "train_published": Stage("gpu_commands.py", 240, "test accuracy of Spikformer-2-256", True, _ALL, True),
    "train_found": Stage("gpu_commands.py", 240, "that of the network that `study` found", True, _ALL, True),
}


class Day:
    """One call, stage by stage."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options, self.work, self.out = options, work, options.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        self._images: gpu_carried.Images | None = None
        self._environment = self._with_carried()

    def log(self, text: str) -> None:
        line = f"[{time.monotonic() - self._started:6.1f} s] {text}"
        print(line, flush=True)
        with (self.out / "day.log").open("a") as file:
            file.write(line + "\n")

    def run(self, name: str) -> bool:
        """Whether the stage came to its end, and found nothing wrong."""
        stage = STAGES[name]
        limit_s = self.options.seconds or (_QUICK_LIMIT_S if self.options.quick else stage.limit_s)
        self.log(f"BEGIN {name}, at most {limit_s:.0f} s: {stage.answers}")
        began = time.monotonic()
        try:
            data = self._data() if stage.reads_images else None
            left_s = began + limit_s - time.monotonic()  # images may have been waited for
            outcome = self._ended(self._command(name, left_s - _MARGIN_S, data), left_s)
        except RuntimeError as error:
            outcome = str(error)
        finally:  # also where the whole is interrupted
            if (self.work / name).is_dir() and stage.kept:
                self._pack(name, stage.kept)
        self.log(f"END {name} after {time.monotonic() - began:.1f} s: {outcome or 'done'}")
        return not outcome

    def summary(self) -> None:
        """A line a finding, and what there is to bring back."""
        findings = self.out / "findings.jsonl"
        for line in findings.read_text().splitlines() if findings.exists() else ():
            values = json.loads(line)
            rest = " ".join(f"{key}={value}" for key, value in values.items() if key not in ("stage", "name"))
            self.log(f"{values['stage']} {values['name']}: {rest}"[:240])
        for path in sorted(self.out.iterdir()):
            self.log(f"{path.stat().st_size / 1e6:8.2f} MB  {path.name}")

    def bring_earlier(self, folder: Path) -> None:
        """What an earlier call packed, as it was; several parts are one archive."""
        for name in STAGES:
            parts = sorted(folder.glob(f"{name}.tar.gz.*"))
            if parts:
                whole = io.BytesIO(b"".join(part.read_bytes() for part in parts))
                with tarfile.open(fileobj=whole) as archive:
                    archive.extractall(self.work, filter="data")
                self.log(f"{name} goes on from {folder}")

    def _command(self, name: str, seconds: float, data: Path | None) -> list[str]:
        command = [sys.executable, str(_FOLDER / STAGES[name].script), name, f"--device={self.options.device}"]
        command += [f"--out={self.out}", f"--work={self.work}", f"--seconds={seconds}"]
        return command + ["--quick"] * self.options.quick + [f"--data={data}"] * (data is not None)

    def _ended(self, command: list[str], limit_s: float) -> str:
        """What went wrong, or nothing."""
        with (self.out / "day.log").open("a") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=self._environment, start_new_session=True
            )
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return "killed at its limit"
            finally:
                _kill(process)
        return f"failed, exit code {code}" if code else ""

    def _data(self) -> Path:
        if self._images is None:
            self._images = self._unpacking()
        return self._images.ready()

    def _unpacking(self) -> gpu_carried.Images:
        archive = self.options.carried and self.options.carried / gpu_carried.ARCHIVE
        if archive and archive.is_file() and not self.options.quick:
            return gpu_carried.Images(self.work / "cifar10", gpu_carried.unpacked(archive))
        if self.options.quick:
            return gpu_carried.Images(self.work / "noise", gpu_carried.noise)
        raise RuntimeError(f"there is no {gpu_carried.ARCHIVE}: give --carried FOLDER, as `--pack FOLDER` fills it")

    def _with_carried(self) -> dict[str, str]:
        """Environment of a stage; the wheels are installed, the images are being unpacked."""
        paths = [str(_FOLDER.parent)]
        if self.options.carried:
            site = self.work / "site"
            gpu_carried.install(self.options.carried, site)
            paths.append(str(site))
            if any(STAGES[name].reads_images for name in self.options.stages):
                self._images = self._unpacking()
        caches = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton", "XDG_CACHE_HOME": "cache"}
        return {
            **os.environ,
            **{variable: str(self.work / folder) for variable, folder in caches.items()},
            "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "140",
        }

    def _pack(self, name: str, suffixes: tuple[str, ...]) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for path in _kept(self.work / name, suffixes):
                archive.add(path, path.relative_to(self.work))
        for old in self.out.glob(f"{name}.tar.gz.*"):
            old.unlink()
        content = buffer.getvalue()
        for i, at in enumerate(range(0, len(content), _PART_BYTES)):
            (self.out / f"{name}.tar.gz.{i:02}").write_bytes(content[at : at + _PART_BYTES])


def _kept(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Without the weights of proxies, and without a checkpoint beside what it has become."""
    for path in sorted(folder.rglob("*")):
        over = path.name == "checkpoint.pt" and path.with_name("model.safetensors").exists()
        if path.suffix in suffixes and not over and "weights" not in path.relative_to(folder).parts:
            yield path


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """With all that it started, also where it has ended itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [name for name, stage in STAGES.items() if not stage.alone]
    told = "; ".join(f"{name}: {stage.answers}, at most {stage.limit_s:.0f} s" for name, stage in STAGES.items())
    parser.add_argument(
        "--stages",
        nargs="+",
        choices=list(STAGES),
        default=default,
        metavar="STAGE",
        help=f"What to run, in this order. {told}. Default: {' '.join(default)}.",
    )
    parser.add_argument("--device", default="cuda", help="Where to run: cuda, cuda:1 or cpu. Default: cuda.")
    parser.add_argument("--quick", action="store_true", help="Only see that each stage runs, with tiny sizes.")
    parser.add_argument("--out", type=Path, default=Path("gpu_day"), help="Folder of the results. Default: gpu_day.")
    parser.add_argument("--carried", type=Path, help="Folder with wheels and CIFAR-10, as --pack fills it.")
    parser.add_argument(
        "--earlier",
        type=Path,
        nargs="+",
        default=[],
        help="Results of earlier calls, the latest last: studies and trainings go on from them.",
    )
    parser.add_argument("--seconds", type=float, help="Limit of each stage, instead of its own.")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="Fill a folder for --carried, and run nothing.")
    parser.add_argument("--cifar", type=Path, metavar="ARCHIVE", help="CIFAR-10 for --pack, as JPEG in class folders.")
    options = parser.parse_args()
    if (options.pack is None) != (options.cifar is None):
        parser.error("--pack and --cifar go together")
    return options


def main() -> None:
    options = _options()
    if options.pack is not None:
        print(gpu_carried.pack(options.pack, options.cifar))
        return
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="gpu_day_", ignore_cleanup_errors=True) as work:
        day = Day(options, Path(work))
        for folder in options.earlier:
            day.bring_earlier(folder)
        passed = [day.run(name) for name in options.stages]
        day.summary()
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
