"""Stored things of each layout, in `tests/data/schemas`; `python -m tests.schema_files` adds those of today's numbers.

A file is written once and then stays: later versions of the program open it as long as they read its layout at all.
Run this after a number has risen, and before the layout is released.
"""

import json
import platform
import tempfile
from pathlib import Path

import nas
from nas import tables
from nas.full_training import checkpoint
from nas.studies import records
from nas.tables import layout
from nas.training import candidate as candidates
from spikformer import checkpoints
from spikformer.config import MixerConfig, StageConfig
from tests import pictures
from tests.conftest import MICRO

FOLDER = Path(__file__).parent / "data" / "schemas"
TODAY = {
    "record": (candidates.SCHEMA, "json"),
    "study": (records.SCHEMA, "log"),
    "bundle": (checkpoints.SCHEMA, "json"),
    "checkpoint": (checkpoint.SCHEMA, "pt"),
    "table": (layout.SCHEMA, "safetensors"),
}
"""Kind -> number of its layout, and the ending of its files."""


_BINARY = ("checkpoint", "table")  # which do not hold the name of the machine


def path_of(kind: str, number: int) -> Path:
    """Where the file of a kind and a number lies."""
    return FOLDER / f"{kind}_{number}.{TODAY[kind][1]}"


def numbers(kind: str) -> list[int]:
    """Those of which there is a file."""
    return sorted(int(path.stem.split("_")[1]) for path in FOLDER.glob(f"{kind}_*"))


def _write() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "micro.toml").write_text(MICRO)
        study = nas.search(folder / "micro.toml", 2, device="cpu", results_dir=folder / "results")
        (exported,) = nas.export(study, "knee", folder / "bundles")
        narrow = StageConfig(8, 1, mixer=MixerConfig(num_heads=1))
        pictures.bundle(folder / "small", pictures.network(stages=(narrow,)))
        pictures.folders(folder / "images")
        nas.train(folder / "small" / "bundle", folder / "images", folder / "trained", device="cpu")
        record = folder / "record.json"
        record.write_text(json.dumps(next(iter(study.candidates.values())).to_dict(), indent=1) + "\n")
        kept = tables.merge(folder / "table", [study.name], results_dir=folder / "results")
        sources = {
            "record": record,
            "study": study.folder / "journal.log",
            "bundle": exported / "config.json",
            "checkpoint": folder / "trained" / checkpoint.FILE,
            "table": kept,
        }
        for kind, source in sources.items():
            path = path_of(kind, TODAY[kind][0])
            if not path.exists():
                path.write_bytes(source.read_bytes() if kind in _BINARY else _anonymous(source.read_bytes()))


def _anonymous(text: bytes) -> bytes:
    """Without the name of the machine."""
    return text.replace(platform.node().encode(), b"machine")


if __name__ == "__main__":
    _write()
