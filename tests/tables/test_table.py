"""A table answers as a training would: to the last bit, under every convention and chip."""

import dataclasses
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest

from nas.costs import chip, energy, memory
from nas.datasets import Splits
from nas.errors import CostError, TableError
from nas.tables import contents as kinds
from nas.training import Candidate, evaluate
from tests.tables.conftest import NETWORKS, SEEDS, SHARES, Tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def live(tiny: Tiny, splits: Splits) -> Candidate:
    """The first network, trained now with the second seed."""
    return evaluate(tiny.first, splits, tiny.table.space.recipe, seed=1)[0]


def _bare(candidate: Candidate) -> Candidate:
    """Without what may differ between equal runs."""
    return dataclasses.replace(candidate, provenance={})


def test_every_training_is_there(tiny: Tiny) -> None:
    assert len(tiny.table.networks) == NETWORKS
    assert len(tiny.table.keys) == NETWORKS * SEEDS * len(SHARES)
    assert (tiny.table.shares, tiny.table.seeds) == (SHARES, (0, 1))


def test_a_record_equals_a_live_training_to_the_last_bit(tiny: Tiny, live: Candidate) -> None:
    """Accuracies, all integer counts, energies, firing rates and the curve."""
    record = tiny.table.candidate(tiny.first, seed=1)
    assert _bare(record) == _bare(kinds.kept(live, 1.0))
    assert record.search_val_balanced == live.search_val_balanced
    assert record.operations == live.operations
    assert all(type(getattr(op, name)) is int for op in record.operations for name in ("spikes", "events"))
    assert Candidate.from_dict(record.to_dict()) == record


def test_below_the_whole_recipe_only_counts_are_missing(tiny: Tiny, splits: Splits) -> None:
    live, _ = evaluate(tiny.first, splits, tiny.table.space.recipe, seed=0, share=0.5)
    record = tiny.table.candidate(tiny.first, 0.5, 0)
    assert (record.status, record.operations) == ("stopped", ())
    assert _bare(record) == _bare(kinds.kept(live, 0.5))
    reading = tiny.table.query(tiny.first, 0.5)
    assert (reading.accuracy, reading.energy_mj) == (live.search_val_accuracy, live.energy_mj)
    with pytest.raises(TableError, match=r"no counts of network .*, share 0\.5, seed 0, so convention paper cannot"):
        tiny.table.query(tiny.first, 0.5, convention="paper")
    with pytest.raises(TableError, match=r"so chip loihi cannot be priced\. Ask for share 1"):
        tiny.table.query(tiny.first, 0.5, chip="loihi")


@pytest.mark.parametrize("convention", ["measured", "measured_mac", "paper+head+bias"])
def test_other_prices_equal_those_of_the_live_candidate(tiny: Tiny, live: Candidate, convention: str) -> None:
    reading = tiny.table.query(tiny.first, seed=1, convention=convention, chip="loihi")
    priced = energy.price(live.operations, live.counted_images, energy.convention(convention))
    assert reading.energy_mj == priced.energy_mj
    assert reading.spike_operations == priced.spike_operations
    assert reading.chip == chip.load("loihi")(live.counts)
    for name in memory.names():
        assert tiny.table.query(tiny.first, seed=1, memory=name).memory == memory.load(name).price(live.counts).total


def test_the_mean_is_over_the_seeds(tiny: Tiny) -> None:
    one, two = (tiny.table.query(tiny.first, seed=seed, chip="loihi") for seed in (0, 1))
    mean = tiny.table.query(tiny.first, seed="mean", chip="loihi")
    assert mean.seeds == (0, 1)
    for name in ("accuracy", "report_accuracy", "energy_mj", "spike_operations"):
        assert getattr(mean, name) == math.fsum([getattr(one, name), getattr(two, name)]) / 2
    assert mean.images_seen == one.images_seen + two.images_seen
    assert mean.curve[0].loss == (one.curve[0].loss + two.curve[0].loss) / 2
    assert mean.chip is not None
    assert one.chip is not None
    assert two.chip is not None
    assert mean.chip.latency_ms == pytest.approx(((one.chip.latency_ms or 0) + (two.chip.latency_ms or 0)) / 2)


def test_what_is_not_there_is_said(tiny: Tiny) -> None:
    other = next(c for c in tiny.space.configs() if c not in tiny.table)
    with pytest.raises(TableError, match="is not in table micro"):
        tiny.table.query(other)
    with pytest.raises(TableError, match=r"no training of network .*, share 1, seed 7\. It has shares 0.5 with seed 0"):
        tiny.table.query(tiny.first, seed=7)
    with pytest.raises(TableError, match="no training of network"):
        tiny.table.query(tiny.first, 0.3, "mean")
    with pytest.raises(CostError, match='no convention is named "nope"'):
        tiny.table.query(tiny.first, convention="nope")


def test_a_data_frame_has_a_row_for_each_training(tiny: Tiny) -> None:
    frame = tiny.table.to_dataframe()
    assert len(frame) == len(tiny.table.keys)
    assert set(frame["choice_attention"]) <= {"ssa", "sdsa"}
    key = tiny.table.keys[1]
    reading = tiny.table.query(key.config_id, key.share, key.seed)
    assert frame["accuracy"][1] == reading.accuracy
    assert frame["signal_macs"][1] == tiny.table.signals(key.config_id)["macs"]
    paper = tiny.table.to_dataframe("paper", "loihi")
    assert paper["energy_mj"].isna().tolist() == [key.share < 1 for key in tiny.table.keys]
    assert paper["chip_latency_ms"].isna().tolist() == [key.share < 1 for key in tiny.table.keys]


def test_networks_can_be_drawn(tiny: Tiny) -> None:
    drawn = {tiny.table.sample_config(random.Random(seed)).config_id for seed in range(50)}
    assert drawn == set(tiny.table.networks)


def test_the_card_says_what_it_is(tiny: Tiny) -> None:
    card = tiny.table.card
    assert (card["networks"], card["trainings"]) == (3, 12)
    assert card["trainings_by_share"] == {"0.5": 6, "1": 6}
    assert card["images"]["dataset"] == "digits"
    assert card["recipe"]["epochs"] == 1
    seconds = [tiny.table.candidate(k.config_id, k.share, k.seed).provenance["wall_s"] for k in tiny.table.keys]
    assert card["hours"] == round(sum(seconds) / 3600, 4)
    assert any(version.startswith("torch ") for version in card["versions"])
    assert "CC BY 4.0" in tiny.table.licence


def test_the_name_of_the_machine_stays_where_it_is(tiny: Tiny) -> None:
    assert "host" not in tiny.table.candidate(tiny.first).provenance
    assert {"device", "processor", "versions", "finished_at"} <= tiny.table.candidate(tiny.first).provenance.keys()


def test_asking_needs_neither_torch_nor_optuna(tiny: Tiny) -> None:
    program = (
        "import sys; from nas import tables\n"
        f"table = tables.load({str(tiny.file)!r})\n"
        "network = next(iter(table.networks))\n"
        "table.query(network, seed='mean', convention='paper'); table.candidate(network)\n"
        "sys.exit('torch' in sys.modules or 'optuna' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
