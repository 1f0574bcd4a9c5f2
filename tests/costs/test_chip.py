"""Models of a chip: what they are called with, one's own from the page, and everything that can go wrong with it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.costs import chip
from nas.costs.accesses import Counts, Fired
from nas.costs.chip import ChipCosts
from nas.costs.counter import OperationCounter
from nas.costs.operations import Operation, Overheads
from nas.errors import CostError
from spikformer.layers import Conv2d
from spikformer.operands import BINARY, REAL, Operand
from tests.helpers import calibrated, small_config
from tests.test_cli import ROOT

PAGE = (ROOT / "docs" / "costs.md").read_text()
CONFIG = small_config(time_steps=4)
COUNT = Operand("count")


def operation(kind: str, operands: tuple[Operand, ...], geometry: dict[str, list[int]], **counts: int) -> Operation:
    """What is not said is 0, or a number that no model should read."""
    plain = {"repeats": 1, "calls": 1, "dense": 0, "valid": 8888, "biases": 0, "values": 0}
    nothing = {"spikes": 0, "nonzero": 0, "multiplicity": 7777, "events": 0}
    return Operation("x", 0, kind, operands, geometry, **plain | nothing | counts)  # pyrefly: ignore[bad-argument-type]


# Over 2 images and T = 4, so 8 steps. A first convolution 3 -> 64 of 8 x 8, once an image: 2 x 64 x 64 = 8192 results.
FIRST = operation(
    "weight",
    (REAL,),
    {"input": [3, 8, 8], "output": [64, 8, 8], "kernel": [3, 3]},
    repeats=4,
    dense=8192 * 27,
    values=2 * 3 * 64,
    nonzero=80_000,
)
# 64 -> 512 channels of 8 x 8 with 3 x 3: 8 x 32,768 results of 576 weights each, 294,912 weights.
SECOND = operation(
    "weight",
    (BINARY,),
    {"input": [64, 8, 8], "output": [512, 8, 8], "kernel": [3, 3]},
    dense=8 * 32_768 * 576,
    values=8 * 4096,
    spikes=1000,
    nonzero=4_600_000,
    events=4_608_000,
)
# q k^T of 2 heads of 16 dimensions over 64 tokens: 8 x 2 x 64 x 64 results.
PRODUCT = operation("product", (BINARY, COUNT), {"left": [64, 16], "right": [16, 64]}, dense=8 * 8192 * 16, events=8000)
WIDE = operation("weight", (BINARY,), {"input": [2048], "output": [512]}, dense=8 * 512 * 2048, values=8 * 2048)


def counts(*operations: Operation, updates: int = 0, images: int = 2, **spiking: Fired) -> Counts:
    """Counts over T = 4 steps."""
    return Counts(CONFIG, operations, Overheads(neuron_updates=updates), images, spiking)


def test_results_and_weights_by_hand() -> None:
    assert [op.results for op in (FIRST, SECOND, PRODUCT, WIDE)] == [8192, 8 * 32_768, 8 * 8192, 8 * 512]
    assert [op.weights for op in (FIRST, SECOND, PRODUCT, WIDE)] == [64 * 27, 512 * 576, 0, 2**20]


@pytest.mark.parametrize("attention", ["ssa", "qkta"])
def test_results_and_weights_are_those_of_the_layers(attention: str) -> None:
    """Weights of the parameters, results of the outputs that pass, with groups and with a head behind a mean."""
    model, images = calibrated(small_config(attention=attention, time_steps=2))
    seen: dict[str, int] = {}
    layers = {path: m for path, m in model.named_modules() if isinstance(m, Conv2d | torch.nn.Linear)}
    for path, module in layers.items():
        module.register_forward_hook(lambda m, _inputs, out, path=path: seen.update({path: out.numel()}))
    with torch.no_grad(), OperationCounter(model) as counter:
        model(images)
    for op in counter.operations():
        if op.kind == "weight":
            assert op.weights == layers[op.path].weight.numel()
            assert op.results == seen[op.path]


def test_a_grouped_convolution_holds_a_share_of_the_weights() -> None:
    layer = Conv2d(8, 8, 3, fed=REAL, groups=4)
    with torch.no_grad(), OperationCounter(layer) as counter:
        layer(torch.randn(2, 8, 5, 5))
    (op,) = counter.operations()
    assert (op.weights, op.results) == (8 * 2 * 9, 2 * 8 * 25)


MODELS = """
from nas.costs.chip import ChipCosts

def energy(config, operations, overheads, images):
    return ChipCosts(energy_mj=2.0, latency_ms=None, fits=None)

def number(config, operations, overheads, images):
    return 3.5

def negative(config, operations, overheads, images):
    return ChipCosts(-1.0, 1.0, True)

def endless(config, operations, overheads, images):
    return ChipCosts(1.0, float("inf"), True)

def word(config, operations, overheads, images):
    return ChipCosts(1.0, 1.0, "yes")

def truth(config, operations, overheads, images):
    return ChipCosts(True, 1.0, None)

def note(config, operations, overheads, images):
    return ChipCosts(1.0, 1.0, None, 7)

def divides(config, operations, overheads, images):
    return 1 / 0

def few(config, operations):
    return None

LIMIT = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with `models.py`, `broken.py` and `page.py`, the model of the page."""
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "broken.py").write_text("limit = 1\nlimit.missing\n")
    (tmp_path / "page.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("models", "broken", "page"):
        sys.modules.pop(name, None)


def test_the_documented_model_works_as_printed(mine: Path) -> None:
    """In ten lines; by hand: 4,696,000 operations of 2 pJ over 2 images; 4,608,000 / 8 steps on one unit at 1 GHz."""
    lines = [line for line in (mine / "page.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 12
    found = chip.load("page:model")(counts(FIRST, SECOND, PRODUCT))
    assert found.energy_mj == pytest.approx(2 * 4_696_000 / 2 * 1e-9, rel=1e-12)
    assert found.latency_ms == pytest.approx(4_608_000 / 2 * 1e-6, rel=1e-12)
    assert found.fits is True


def test_a_model_may_leave_figures_out(mine: Path) -> None:
    found = chip.load("models:energy")(counts(FIRST))
    assert found == ChipCosts(2.0, None, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("loih", 'no chip is named "loih". Did you mean "loihi"? Or write "package.module:function"'),
        ("missing:model", 'chip "missing:model": missing cannot be imported'),
        ("broken:model", "broken fails while it is imported: AttributeError: 'int' object has no attribute 'missing'"),
        ("models:nothing", "models has no function nothing"),
        ("models:LIMIT", "models has no function LIMIT"),
    ],
)
def test_what_cannot_be_loaded_is_named(mine: Path, name: str, message: str) -> None:
    with pytest.raises(CostError) as caught:
        chip.load(name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", 'chip "models:number" returned 3.5. Return a nas.costs.ChipCosts'),
        ("negative", 'returned energy_mj=-1.0; "energy_mj" must be a finite positive number'),
        ("endless", 'returned latency_ms=inf; "latency_ms" must be a finite positive number'),
        ("truth", 'returned energy_mj=True; "energy_mj" must be a finite positive number'),
        ("word", "returned fits='yes'; \"fits\" must be True, False or None"),
        ("note", 'returned note=7; "note" must be text'),
        ("divides", 'chip "models:divides" failed: ZeroDivisionError: division by zero'),
        ("few", 'chip "models:few" failed: TypeError: few() takes 2 positional arguments but 4 were given'),
    ],
)
def test_a_model_that_fails_or_answers_wrongly_is_named(mine: Path, name: str, message: str) -> None:
    with pytest.raises(CostError) as caught:
        chip.load(f"models:{name}")(counts(FIRST))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", chip.names())
def test_a_shipped_model_states_what_it_assumes(name: str) -> None:
    loaded = chip.load(name)
    assert isinstance(loaded.model, chip.ChipModel)
    assert loaded.summary == loaded.model.summary
    for text in (loaded.model.source, loaded.model.checked, loaded.model.cannot):
        assert len(text) > 20
    assert loaded.misfit(CONFIG) is None


def test_a_function_says_nothing_of_fit_without_counts(mine: Path) -> None:
    assert not chip.load("models:energy").tells_fit
    assert chip.load("models:energy").misfit(CONFIG) is None


def test_a_failure_says_where(mine: Path) -> None:
    with pytest.raises(CostError, match=r"models\.py, line 26\)"):
        chip.load("models:divides")(counts(FIRST))


def test_nothing_counted_costs_nothing_on_a_chip() -> None:
    for operations, images in (([], 2), ([FIRST], 0)):
        with pytest.raises(CostError, match="needs counted operations"):
            chip.load("loihi")(counts(*operations, images=images))
