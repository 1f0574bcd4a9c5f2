"""Costs at firing rates that the user gives: by hand, and against what authors logged."""

import dataclasses
import json
from pathlib import Path

import pytest

from nas.costs import energy, rates
from nas.costs.operations import Operation
from nas.errors import CostError
from nas.reports import inspection, structure
from spikformer.operands import BINARY, REAL, Operand
from tests.costs.test_energy import LOG, operation

COUNT = Operand("count")


def _operations() -> list[Operation]:
    return [
        operation("weight", (REAL,), path="stem", valid=100),
        operation("weight", (BINARY,), path="block.query", valid=1000, values=50),
        operation("product", (BINARY, BINARY), path="block", valid=400),
        dataclasses.replace(operation("product", (BINARY, COUNT), path="block", valid=400), index=1),
        operation("sum", (COUNT,), path="block.pool", valid=200, values=200),
    ]


def test_one_rate_by_hand() -> None:
    """0.1 of 1000 pairs; between spikes 0.1 x 0.1, between spikes and sums 0.1; real numbers all."""
    found = rates.at(_operations(), {"": 0.1})
    assert [op.events for op in found] == [0, 100, 4, 40, 20]
    assert [op.nonzero for op in found] == [100, 100, 4, 40, 20]
    assert [op.spikes for op in found] == [0, 5, 0, 0, 20]


def test_the_longest_path_decides_by_hand() -> None:
    """A number of 1.5 spikes is an event 1.5 times, where it is there; a product's own rate is its share of pairs."""
    given = {"block": 0.1, "block.query": 0.2, "block.pool": 1.5, "block (2)": 0.05}
    found = rates.at(_operations(), given)
    assert [op.events for op in found] == [0, 200, 40, 20, 300]
    assert [op.nonzero for op in found] == [100, 200, 40, 20, 200]


def test_the_log_of_spikingformer_gives_its_energy(tmp_path: Path) -> None:
    """7.463502602 mJ, from the authors' rates as a file: the whole network at 224 pixels, its geometry ours."""
    inputs, given = LOG["inputs"], dict[str, float]()
    stem = ("stem.embedding.1", "stem.embedding.2", "stem.embedding.3", "stem.position")
    given |= dict(zip(stem, inputs.values(), strict=True))
    for i, block in enumerate(LOG["blocks"]):
        path = f"stages.0.blocks.{i}"
        given |= {f"{path}.mixer.branch.{name}": block["qkv"] for name in ("query", "key", "value")}
        given |= {f"{path}.mixer.branch": min(block["k"], block["v"]), f"{path}.mixer.branch (2)": block["q"]}
        given[f"{path}.mixer.branch.proj"] = block["proj"]
        given |= {f"{path}.mlp.branch.expand": block["fc1"], f"{path}.mlp.branch.contract": block["fc2"]}
    file = tmp_path / "logged.json"
    file.write_text(json.dumps({path: rate / 100 for path, rate in given.items()}))
    found = inspection.costs_at_rates(
        "spikingformer_in_8_512", rates.read(str(file)), energy.convention("paper+head+bias")
    )
    assert sum(layer["energy_mj"] for layer in found.layers) == pytest.approx(LOG["energy_mj"], rel=1e-6)
    assert "not measured" in found.source


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"block": 0.1, "blok": 0.2}, 'rates name "blok", but the network has no such layer. Did you mean "block"?'),
        ({"block.query": 0.1}, r"rates lack block, block \(2\), block.pool"),
    ],
)
def test_rates_and_layers_must_meet(given: dict[str, float], message: str) -> None:
    with pytest.raises(CostError, match=message):
        rates.at(_operations(), given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is neither a number nor a readable file"),
        ("[0.1]", "must map paths to numbers"),
        ('{"stem": "0.1"}', "must map paths to numbers"),
        ('{"stem": -0.1}', "stem -0.1 must be at least 0 and finite"),
        ('{"stem": NaN}', "stem nan must be at least 0 and finite"),
        ("{", "is not valid JSON"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "rates.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CostError, match=message):
        rates.read(str(file))


def test_bad_numbers_are_refused() -> None:
    for text in ("-0.1", "nan", "inf"):
        with pytest.raises(CostError, match="must be at least 0 and finite"):
            rates.read(text)
    assert rates.read("0.25") == {"": 0.25}


@pytest.mark.exhaustive
def test_the_deployable_form_has_no_chains_by_hand() -> None:
    """A RepConv of width d is d*d + 9*d + d*d weights as trained, and 9*d*d when merged."""
    plain, fused = structure.structure("sdt2_in_15M"), structure.structure("sdt2_in_15M", fused=True)
    kinds = {part.kind for part in fused.parts}
    assert "BatchNorm2d" in {part.kind for part in plain.parts}
    assert not kinds & {"BatchNorm2d", "RepConv"}
    widths = [part for part in plain.parts if part.kind == "RepConv"]
    assert widths
    assert fused.name == "sdt2_in_15M, deployable form"
    merged = {part.path: part.parameters for part in fused.parts}
    for part in widths:
        d = next(p.parameters for p in plain.parts if p.path == f"{part.path}.first_norm") // 2
        assert part.parameters == 2 * d * d + 9 * d + 4 * d
        assert merged[part.path] == 9 * d * d + d
