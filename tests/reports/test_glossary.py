"""Every word of a report's tables has its meaning beside it."""

import re
import typing

import pandas as pd
import pytest

from nas.reports import findings, glossary
from nas.training import in_words
from nas.training.candidate import Status
from spikformer import published
from spikformer.config import READS, Residual, SpikformerConfig

COLUMNS = ("depth", "embed_dim", "num_heads", "mlp_ratio", "time_steps", "residual", "attention", "pool_order")


def _row(config: SpikformerConfig) -> dict[str, object]:
    """The columns of `trials.csv` that the legend reads."""
    stage = config.stages[0]
    values = (sum(s.depth for s in config.stages), stage.embed_dim, stage.mixer.num_heads, stage.mlp.ratio)
    kinds = "+".join(dict.fromkeys(s.mixer.kind for s in config.stages))
    row: dict[str, object] = dict(
        zip(COLUMNS, (*values, config.time_steps, config.residual, kinds, config.stem.pool_order), strict=True)
    )
    return row | {"neuron_on": stage.mixer.neuron_on, "head_neuron": config.head.neuron}


class _Named(typing.NamedTuple):
    """What `in_words` reads of a candidate."""

    config: SpikformerConfig
    reference: str | None = None


@pytest.mark.parametrize("name", ["spikformer_cifar10_4_256", *published.names()[::9], "sdt2_in_15M"])
def test_each_word_of_a_network_is_explained(name: str) -> None:
    config = published.config(name)
    legend = [word for word, _ in glossary.shorthand(pd.DataFrame([_row(config)]))]
    words = in_words(typing.cast(typing.Any, _Named(config)))
    for word in legend:
        assert all(part in words for part in word.split("+")), (word, words)
    left = words.replace("+", " ").replace(",", "")
    for word in sorted(legend, key=len, reverse=True):
        left = re.sub(rf"(?<!\S){re.escape(word)}(?!\S)", "", left)
    assert left.split() == []


def test_all_kinds_and_endings_have_a_meaning() -> None:
    assert set(glossary.TERMS) >= set(typing.get_args(Status))
    rows = pd.DataFrame([_row(SpikformerConfig())])
    for kind in READS["mixer"]:
        assert "custom" not in dict(glossary.shorthand(rows.assign(attention=kind)))[kind]
    for residual in typing.get_args(Residual):
        assert "custom" not in dict(glossary.shorthand(rows.assign(residual=residual)))[residual]
    assert "custom" in dict(glossary.shorthand(rows.assign(attention="mine:Block")))["mine:Block"]


def test_flags_are_explained_where_a_network_has_them() -> None:
    rows = pd.DataFrame([_row(SpikformerConfig())])
    flags = {"pool first": ("pool_order", "before_neuron"), "map neuron": ("neuron_on", "map")}
    for word, (column, value) in (flags | {"head neuron": ("head_neuron", True)}).items():
        assert word not in dict(glossary.shorthand(rows))
        assert word in dict(glossary.shorthand(rows.assign(**{column: value})))
    assert glossary.shorthand(rows[:0]) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("325 k spike operations", "spike operations"),
        ("SOPs", "spike operations"),
        ("the Pareto front", "front"),
        ("Firing rates", "firing rate"),
        ("T = 2", "time step"),
        ("quantised counterparts", "quantised counterpart"),
        ("12 MACs", "MAC"),
        ("SSA", "ssa"),
        ("membrane shortcut", "ms"),
    ],
)
def test_a_word_is_known_in_its_forms(text: str, name: str) -> None:
    matches = {entry.name for entry in glossary.entries() if re.search(rf"\b(?:{entry.match})(?!\w)", text, re.I)}
    assert name in matches


@pytest.mark.parametrize(
    ("text", "name"), [("stands in front of it", "front"), ("5 ms", "ms"), ("head neuron", "head")]
)
def test_a_word_of_another_meaning_is_left_alone(text: str, name: str) -> None:
    assert name not in {e.name for e in glossary.entries() if re.search(rf"\b(?:{e.match})(?!\w)", text, re.I)}


def test_the_glossary_has_each_word_once_by_alphabet() -> None:
    names = [entry.name.lower() for entry in glossary.entries()]
    assert names == sorted(set(names))


def test_rungs_are_explained_where_trainings_stop_at_one() -> None:
    for names, words in ((["complete"], ["complete"]), (["stopped", "complete"], ["rung", "stopped", "complete"])):
        assert glossary.endings(pd.DataFrame({"status": names})) == words


def test_who_is_no_point_of_the_chart_is_counted() -> None:
    """Of 8 networks 4 are complete; one of these has no energy, and one breaks a limit."""
    endings = ["complete"] * 4 + ["stopped", "stopped", "silent", "died"]
    energies = [1.0, 2.0, 3.0, 0.0, 0.1, 0.1, None, None]
    trials = pd.DataFrame({"status": endings, "energy_mj": energies, "constraints": ["max_energy_mj"] + [""] * 7})
    assert findings.drawn(trials, "energy_mj") == (
        "Points of this chart are the networks trained in full: 3 of 8 evaluated. Not drawn: 2 stopped early, after "
        "training on a part of the images; 1 silent; 1 failed because its process died; 1 without an energy above 0, "
        "for which its scale has no place. Points that break a limit, and so cannot be on the front: 1."
    )
    assert findings.drawn(trials[1:3], "energy_mj") == (
        "Points of this chart are the networks trained in full: 2 of 2 evaluated."
    )
    assert findings.drawn(trials[:0], "energy_mj") == ""
