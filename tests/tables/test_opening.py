"""The file of a table: equal for equal contents, held to its name, and read as data that anybody may have written."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from nas import tables
from nas.errors import TableError
from nas.tables import opening, writing
from nas.tables.layout import COLUMNS, HEADER, SCHEMA
from spikformer import SpikformerError
from tests.tables.conftest import Tiny

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def parts(tiny: Tiny) -> tuple[Arrays, dict[str, Any]]:
    """Tensors and JSON of the table."""
    data = tiny.file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return safetensors.numpy.load(data), json.loads(json.loads(data[8 : 8 + size])["__metadata__"][HEADER])


def _write(path: Path, arrays: Arrays, header: object) -> Path:
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes(safetensors.numpy.save(arrays, {HEADER: text}))
    return path


def test_contents_are_written_as_they_were_read(tiny: Tiny) -> None:
    """Byte for byte, so that any order of merging comes to the same file."""
    assert writing.encoded("micro", tiny.table.contents()) == tiny.file.read_bytes()
    assert tiny.table.contents() == tiny.table.contents()


def test_the_name_holds_the_digits_of_the_file(tiny: Tiny, tmp_path: Path) -> None:
    name, digits, *ending = tiny.file.name.split(".")
    assert (name, ending, len(digits)) == ("micro", ["safetensors"], 16)
    assert tiny.table.names_digits
    plain = shutil.copy(tiny.file, tmp_path / "mine.safetensors")
    assert not tables.load(plain).names_digits
    renamed = shutil.copy(tiny.file, tmp_path / f"micro.{'0' * 16}.safetensors")
    with pytest.raises(TableError, match=r"damaged or was renamed: its name says that its SHA-256 begins with 0{16}"):
        tables.load(renamed)


def test_every_flipped_byte_is_noticed(tiny: Tiny, tmp_path: Path) -> None:
    data = tiny.file.read_bytes()
    for place in range(0, len(data), len(data) // 40):
        flipped = bytearray(data)
        flipped[place] ^= 0xFF
        (tmp_path / tiny.file.name).write_bytes(flipped)
        with pytest.raises(TableError, match="is damaged or was renamed"):
            tables.load(tmp_path / tiny.file.name)


def test_without_digits_a_flipped_byte_is_one_error_or_another_number(tiny: Tiny, tmp_path: Path) -> None:
    """Never anything else than one of our errors; a number that stays possible cannot be told from a true one."""
    data = tiny.file.read_bytes()
    errors = []
    for place in range(0, len(data), len(data) // 150):
        flipped = bytearray(data)
        flipped[place] ^= 0xFF
        (tmp_path / "mine.safetensors").write_bytes(flipped)
        try:
            tables.load(tmp_path / "mine.safetensors").contents()
        except SpikformerError as error:
            errors.append(str(error))
    assert len(errors) > 20
    assert not any("\n" in error for error in errors)


def _changed(array: np.ndarray[Any, Any], how: str, name: str) -> np.ndarray[Any, Any]:
    if how == "type":
        return array.astype("float32" if array.dtype != "float32" else "float64")
    if how == "length":
        return array[:-1]
    if how == "shape":
        return array[..., None]
    changed = array.copy()
    changed.flat[0] = {"low": -2, "high": {"f": np.inf, "u": 9}.get(array.dtype.kind, np.iinfo("int32").max)}[how]
    return changed


FREE = ("network.signals", "epoch.loss")  # any number will do
COUNTED = ("network.parameters", "training.seed", "training.images_seen", "training.counted_images")
LARGE = (*COUNTED, "training.overheads", "training.finished", "count.")  # large whole numbers are possible


def _damages() -> Iterator[tuple[str, str]]:
    """Tensors, and what is done to each; not what leaves it possible."""
    for name, column in COLUMNS.items():
        ranges = [] if name in FREE else ["high"] if column.dtype == "uint8" else ["low", "high"]
        if name.startswith(LARGE):
            ranges.remove("high")
        yield from ((name, how) for how in ("type", "length", "shape", "missing", *ranges))


@pytest.mark.parametrize(("name", "how"), [*_damages()])
def test_a_damaged_tensor_is_one_clear_error(
    name: str, how: str, parts: tuple[Arrays, dict[str, Any]], tmp_path: Path
) -> None:
    arrays, header = parts
    changed = {n: _changed(a, how, n) if n == name else a for n, a in arrays.items() if (n, how) != (name, "missing")}
    path = _write(tmp_path / "damaged.safetensors", {n: np.ascontiguousarray(a) for n, a in changed.items()}, header)
    with pytest.raises(
        TableError, match=r"damaged\.safetensors is damaged, or is no table of trained networks \("
    ) as e:
        tables.load(path)
    assert "Restore it" in str(e.value)
    assert "\n" not in str(e.value)


HEADERS: dict[str, Any] = {
    "networks": ["n1-000000000000"],
    "config_parts": {},
    "operations": [[1, 2, 3]],
    "layers": [1],
    "outcomes": [["complete"]],
    "provenances": [],
    "identity": {},
    "card": [],
    "train_images": "many",
    "account": None,
}


@pytest.mark.parametrize("key", HEADERS)
def test_damaged_json_is_one_clear_error(key: str, parts: tuple[Arrays, dict[str, Any]], tmp_path: Path) -> None:
    arrays, header = parts
    path = _write(tmp_path / "damaged.safetensors", arrays, header | {key: HEADERS[key]})
    with pytest.raises(TableError, match="is damaged, or is no table"):
        tables.load(path)


def test_a_network_is_the_one_that_its_id_says(parts: tuple[Arrays, dict[str, Any]], tmp_path: Path) -> None:
    arrays, header = parts
    swapped = sorted([*header["networks"][:-1], "n1-ffffffffffff"])
    path = _write(tmp_path / "damaged.safetensors", arrays, header | {"networks": swapped})
    with pytest.raises(TableError, match="network n1-ffffffffffff has the config of n1-"):
        tables.load(path)


@pytest.mark.parametrize("place", [0, 2, 7, 9])
def test_an_impossible_operation_is_damage(place: int, parts: tuple[Arrays, dict[str, Any]], tmp_path: Path) -> None:
    """Its path, kind, dense multiplications and those that fall on no padding."""
    arrays, header = parts
    operations = json.loads(json.dumps(header["operations"]))
    operations[0][place] = {0: 5, 2: "nothing", 7: -1, 9: -3}[place]
    with pytest.raises(TableError, match="is damaged, or is no table"):
        tables.load(_write(tmp_path / "damaged.safetensors", arrays, header | {"operations": operations}))


def test_a_training_is_there_once(parts: tuple[Arrays, dict[str, Any]], tmp_path: Path) -> None:
    arrays, header = parts
    seeds = np.zeros_like(arrays["training.seed"])
    path = _write(tmp_path / "damaged.safetensors", arrays | {"training.seed": seeds}, header)
    with pytest.raises(TableError, match="not in their order, or one is there twice"):
        tables.load(path)


def test_foreign_and_cut_off_files_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"weight": np.zeros(3)}, weights)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny.file.read_bytes()[:-100])
    nothing = tmp_path / "nothing.safetensors"
    nothing.write_bytes(b"")
    text = tmp_path / "text.safetensors"
    text.write_text("[proxy]\n" * 10)
    for path in (weights, cut, nothing, text):
        with pytest.raises(TableError, match="is damaged, or is no table"):
            tables.load(path)
    with pytest.raises(TableError, match="cannot be read: No such file or directory"):
        tables.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(TableError, match="cannot be read: Is a directory"):
        tables.load(tmp_path)


def test_a_later_layout_is_one_clear_error(parts: tuple[Arrays, dict[str, Any]], tmp_path: Path) -> None:
    arrays, header = parts
    path = _write(tmp_path / "later.safetensors", arrays | {"novelty": np.zeros(1)}, header | {"schema": SCHEMA + 1})
    with pytest.raises(TableError, match="a newer version of spikformer-nas wrote it"):
        tables.load(path)
    with pytest.raises(TableError, match="must be the number of a layout"):
        tables.load(_write(path, arrays, {key: of for key, of in header.items() if key != "schema"}))


def test_compressed_files_are_equal_and_bounded(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.file.read_bytes()
    assert opening.compressed(data) == opening.compressed(data)
    path = tmp_path / "part-0001.safetensors.gz"
    path.write_bytes(opening.compressed(data))
    assert tables.load(path).keys == tiny.table.keys
    path.write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(TableError, match="is cut off, or larger than 1024 MiB"):
        tables.load(path)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(TableError, match="is damaged"):
        tables.load(path)
    monkeypatch.setattr(opening, "_LARGEST", 1000)
    path.write_bytes(opening.compressed(data))
    with pytest.raises(TableError, match="is cut off, or larger than"):
        tables.load(path)


def test_a_shipped_table_is_found_by_its_name(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match='no table is named "nope"'):
        tables.load("nope")
    shutil.copy(tiny.file, tmp_path / tiny.file.name)
    monkeypatch.setattr(opening, "_SHIPPED", tmp_path)
    assert tables.shipped() == ["micro"]
    assert tables.load("micro").keys == tiny.table.keys
    with pytest.raises(TableError, match=r'no table is named "micr"\. Did you mean "micro"'):
        tables.load("micr")
