"""Conventions: by hand, and against what papers print and their authors logged."""

import json
from pathlib import Path
from typing import Any

import pytest

from nas.costs import energy
from nas.costs.operations import Operation, Overheads
from nas.errors import CostError
from spikformer.operands import BINARY, REAL, Operand

COUNT = Operand("count")
LOG = json.loads((Path(__file__).parents[1] / "data" / "spikingformer_8_512.json").read_text())


def operation(kind: str, operands: tuple[Operand, ...], path: str = "x", **counts: Any) -> Operation:
    """What is not said is 0, or a number that no convention should read."""
    plain = {"geometry": {}, "repeats": 1, "calls": 1, "dense": 9999, "valid": 8888, "biases": 0, "values": 1}
    nothing = {"spikes": 0, "nonzero": 0, "multiplicity": 7777, "events": 0}
    return Operation(path=path, index=0, kind=kind, operands=operands, **plain | nothing | counts)  # pyrefly: ignore[bad-argument-type]


MIXED = [
    operation("weight", (REAL,), dense=2000, nonzero=1000, repeats=4, values=50),
    operation("weight", (BINARY,), dense=1600, values=40, spikes=10, nonzero=300, events=300, biases=20),
    operation("weight", (COUNT,), dense=800, values=20, spikes=15, nonzero=200, events=500),
    operation("product", (BINARY, COUNT), dense=640, nonzero=70, events=70),
    operation("product", (COUNT, COUNT), dense=640, nonzero=40, events=60),
    operation("sum", (BINARY,), dense=100, values=100, spikes=30, nonzero=30, events=30),
    operation("weight", (REAL,), path="head.linear", dense=100, nonzero=90, values=10, biases=5),
]


@pytest.mark.parametrize(
    ("name", "accumulates", "multiplications"),
    [
        ("measured", 300 + 500 + 70 + 60 + 30, 1000 + 90),
        ("measured+repeat", 300 + 500 + 70 + 60 + 30, 4 * 1000 + 90),
        ("measured-head", 300 + 500 + 70 + 60 + 30, 1000),
        ("measured+bias", 300 + 20 + 500 + 70 + 60 + 30, 1000 + 90 + 5),
        ("measured_single", 300 + 200 + 70 + 60 + 30, 1000 + 90),
        ("measured_mac", 300 + 70 + 60 + 30, 1000 + 200 + 90),
        ("paper", 1600 * 10 / 40 + 800 * 15 / 20 + 70 + 60 + 30, 4 * 2000),
        ("paper-repeat", 1600 * 10 / 40 + 800 * 15 / 20 + 70 + 60 + 30, 2000),
        ("paper+head+bias", 1620 * 10 / 40 + 800 * 15 / 20 + 70 + 60 + 30, 4 * 2000 + 105),
        ("paper_strict", 1600 * 10 / 40 + 70 + 60 + 30, 4 * 2000 + 800),
    ],
)
def test_every_convention_by_hand(name: str, accumulates: float, multiplications: float) -> None:
    found = energy.price(MIXED, 10, energy.convention(name))
    assert found.spike_operations == pytest.approx(accumulates / 10, rel=1e-12)
    assert found.real_macs == pytest.approx(multiplications / 10, rel=1e-12)
    assert found.energy_mj == pytest.approx((0.9 * accumulates + 4.6 * multiplications) / 10 * 1e-9, rel=1e-12)
    layers = energy.by_layer(MIXED, 10, energy.convention(name))
    assert sum(layers.values()) == pytest.approx(found.energy_mj, rel=1e-12)


# Operations (billions) and energy (mJ) that the table of Spikformer prints.
SPIKFORMER = {
    "8-384": (6.82, 7.734),
    "6-512": (8.69, 9.417),
    "8-512": (11.09, 11.577),
    "10-512": (13.67, 13.899),
    "8-768": (22.09, 21.477),
}


@pytest.mark.parametrize("size", SPIKFORMER)
def test_the_table_of_spikformer(size: str) -> None:
    """All five rows hold with the first convolution of the 512 wide network, 86,704,128 MACs at each of 4 steps."""
    found = energy.price(_spikformer(size, width=512), 1, energy.convention("paper"))
    assert found.energy_mj == pytest.approx(SPIKFORMER[size][1], rel=1e-4)


def test_the_formula_of_spikformer_gives_other_values_at_other_widths() -> None:
    """By hand, with the first convolution of the row's own width: 7.335 and 22.274 mJ, where 7.734 and 21.477 stand."""
    for size, width, by_hand in (("8-384", 384, 7.335), ("8-768", 768, 22.274)):
        found = energy.price(_spikformer(size, width), 1, energy.convention("paper"))
        assert found.energy_mj == pytest.approx(by_hand, abs=1e-3)


def _spikformer(size: str, width: int) -> list[Operation]:
    """The first convolution, 3 to width / 8 channels of 224 x 224; the spiking layers as printed; the head."""
    first = operation("weight", (REAL,), dense=224 * 224 * 27 * width // 8, repeats=4, values=1)
    spiking = operation("weight", (COUNT,), dense=round(SPIKFORMER[size][0] * 1e9), values=1, spikes=1)
    return [first, spiking, operation("weight", (REAL,), path="head.linear", dense=1000 * width, nonzero=1000 * width)]


def test_the_log_of_spikingformer_is_replayed() -> None:
    """7.463502602 mJ from the rates that the authors logged, through the convention of their script.

    Dense operations by hand, at T = 4 and 14 x 14 tokens. Their script bounds the pairs of k^T v by the smaller rate.
    """
    operations = [operation("weight", (REAL,), dense=86_704_128, repeats=4)]
    for name, dense in {
        "conv1": 3_699_376_128,
        "conv2": 3_699_376_128,
        "conv3": 3_699_376_128,
        "rpe": 1_849_688_064,
    }.items():
        operations.append(_layer(dense, LOG["inputs"][name]))
    tokens, projection, product = 4 * 196, 4 * 196 * 512 * 512, 4 * 8 * 196 * 64 * 64
    for block in LOG["blocks"]:
        operations += [_layer(projection, block["qkv"])] * 3
        operations += [_layer(projection, block["proj"], biases=tokens * 512)]
        operations += [_layer(4 * projection, block["fc1"], biases=tokens * 2048)]
        operations += [_layer(4 * projection, block["fc2"], biases=tokens * 512)]
        for rate in (min(block["k"], block["v"]), block["q"]):
            operations.append(operation("product", (BINARY, COUNT), dense=product, events=product * rate / 100))
    operations.append(operation("weight", (REAL,), path="head.linear", dense=512 * 1000, biases=1000))
    found = energy.price(operations, 1, energy.convention("paper+head+bias"))
    assert found.spike_operations == pytest.approx(LOG["accumulates_g"] * 1e9, rel=1e-6)
    assert found.real_macs == LOG["multiplications_g"] * 1e9
    assert found.energy_mj == pytest.approx(LOG["energy_mj"], rel=1e-6)


def _layer(dense: int, rate: float, biases: int = 0) -> Operation:
    return operation("weight", (BINARY,), dense=dense, values=100, spikes=rate, biases=biases)


def test_overheads_by_hand() -> None:
    """10 updates at 4.6 + 3 additions and 2 comparisons at 0.9, over 5 images: 10.1 pJ."""
    assert energy.overheads_mj(Overheads(10, 3, 2), 5) == pytest.approx(10.1e-9, rel=1e-12)


def test_unit_costs_of_other_numbers_by_hand(tmp_path: Path) -> None:
    own = tmp_path / "my_chip.toml"
    own.write_text('source = "its data sheet"\npj_per_ac = 2\npj_per_mac = 8.5\n')
    once = [operation("weight", (BINARY,), events=10), operation("weight", (REAL,), nonzero=4)]
    for costs, pj in (("45nm_fp16", 10 * 0.4 + 4 * 1.5), ("45nm_int8", 10 * 0.03 + 4 * 0.23), (str(own), 20 + 34)):
        convention = energy.convention("measured", costs)
        assert energy.price(once, 1, convention).energy_mj == pytest.approx(pj * 1e-9, rel=1e-12)
    assert energy.convention("measured", str(own)).label == "measured, my_chip"


@pytest.mark.parametrize(
    ("name", "costs", "message"),
    [
        ("measurd", "45nm_fp32", 'no convention is named "measurd". Did you mean "measured"?'),
        ("paper+heads", "45nm_fp32", '"+heads" is not a variant of a convention. Did you mean "head"?'),
        ("paper", "45nm_fp3", 'no unit costs are named "45nm_fp3". Did you mean "45nm_fp32"?'),
        ("paper", "missing.toml", "missing.toml cannot be read"),
    ],
)
def test_unknown_names_give_the_nearest(name: str, costs: str, message: str) -> None:
    with pytest.raises(CostError) as caught:
        energy.convention(name, costs)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pj_per_ac = [", "is not valid TOML"),
        ("pj_per_ac = 1\npj_per_mac = 2", 'must give source = "..."'),
        ("source = 3\npj_per_ac = 1\npj_per_mac = 2", 'must give source = "..."'),
        ('source = "x"\npj_per_ac = true\npj_per_mac = 2', 'must give source = "..."'),
        ('source = "x"\npj_per_ac = -1\npj_per_mac = 2', "must be positive"),
        ('source = "x"\npj_per_ac = 0\npj_per_mac = 2', "must be positive"),
        ('source = "x"\npj_per_ac = nan\npj_per_mac = 2', "must be positive"),
    ],
)
def test_bad_files_of_unit_costs_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "costs.toml"
    path.write_text(text)
    with pytest.raises(CostError) as caught:
        energy.unit_costs(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_nothing_counted_has_no_energy() -> None:
    for operations, images in (([], 10), (MIXED, 0)):
        with pytest.raises(CostError, match="energies need counted operations or firing rates"):
            energy.price(operations, images)
