"""The study of docs/proof.md: how it is judged, the plan, what is kept, and every stage once."""

import dataclasses
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas.datasets import Split
from nas.spaces import load_space
from tests import pictures

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "proof.md"
KEPT = ROOT / "benchmarks" / "results" / "proof"
TINY = """
[base]
time_steps = 2
neuron.threshold = 0.5
neuron.surrogate = "atan"
stem.image_size = 8
stem.in_channels = 1
stem.pool = [false, false, true, true]
head.num_classes = 10
stages = [{ embed_dim = 8, depth = 1, mixer = { num_heads = 2, threshold = 0.25, scale = 1 }, mlp = { ratio = 1 } }]

[axes]
embed_dim = [8, 16]
residual = ["sew", "ms"]
attention = ["ssa", "sdsa"]
time_steps = [1, 2]

[references]
"Spikformer miniature" = { residual = "sew", attention = "ssa" }
"Spikingformer miniature" = { residual = "ms", attention = "ssa", stem.shortcut = false }

[data]
dataset = "digits"
search_val = 0.1
report_val = 0.1

[proxy]
epochs = 1
train_images = 400
batch_size = 10
learning_rate = 4e-3
augment = "none"
rungs = [0.2, 1]
"""


def _proof(script: Callable[[str], Any], tmp_path: Path, space: str, **settings: object) -> Any:
    folders = (tmp_path / "results", tmp_path / "kept")
    return script("proof_studies").Proof(load_space(space), None, "cpu", *folders, **settings)


# Judging


def _network(script: Callable[[str], Any], search_val: float, accuracy: float, log_energy: float) -> Any:
    """A confirmed network of which search-val says something else than report-val; three seeds that do not scatter."""
    chosen = SimpleNamespace(search_val_accuracy=search_val / 100, energy_mj=10**log_energy, config_id=str(search_val))
    measured = script("proof_measures").Measured((accuracy,) * 3, (log_energy,) * 3, 10**12)
    return script("proof_networks").Network("study", 0, chosen, measured)


def test_claims_are_judged_by_report_val(script: Callable[[str], Any]) -> None:
    """Nothing scatters, so intervals are points: +5 points, a tenth of the energy, an optimism of 2 points.

    A tenth, as from 53 to 59 % it is 10^2 against 10^1. By search-val, it would be 51 against 43 from 10^0 on.
    """
    judge = script("proof_judge")
    found = [_network(script, 51.0, 50.0, 0.0), _network(script, 63.0, 60.0, 1.0)]
    published = [
        _network(script, 43.0, 45.0, 0.0),
        _network(script, 51.0, 53.0, 1.0),
        _network(script, 59.0, 59.0, 2.0),
    ]
    noise = script("proof_measures").Noise([network.report for network in [*found, *published]])
    first, second = (claim(found, published, noise) for claim in (judge._claim_1, judge._claim_2))
    assert (first["value"], first["verdict"]) == (pytest.approx(5.0, abs=1e-3), "shown")
    assert (first["from_mj"], first["to_mj"]) == (1.0, 10.0)
    assert (second["value"], second["verdict"]) == (pytest.approx(10.0, rel=1e-3), "shown")
    assert (second["from"], second["to"]) == (50.0, 59.0)
    fifth = judge._claim_5(found, published)
    assert (fifth["value"], fifth["verdict"]) == (pytest.approx(2.0), "shown")
    assert fifth["C1_by_search_val"] == pytest.approx(8.0)


def test_claims_without_further_trainings_are_undecided(script: Callable[[str], Any]) -> None:
    judge, noise = script("proof_judge"), script("proof_measures").Noise([])
    for document in (judge._claim_1([], [], noise), judge._claim_2([], [], noise), judge._claim_5([], [])):
        assert (document["value"], document["verdict"]) == (None, "undecided")
        json.dumps(document, allow_nan=False)


def test_a_network_whose_further_training_fails_is_left_out(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three on the front, one has all seeds, one a silent training, and one a seed too few; a twin is no seed."""
    networks = script("proof_networks")
    front = {i: SimpleNamespace(config_id=name, report_val_images=100) for i, name in enumerate("abc")}
    figures = {"report_val_accuracy": 0.5, "energy_mj": 0.1}

    def trained(of: str, seed: int, what: str = "repeat", status: str = "complete") -> SimpleNamespace:
        return SimpleNamespace(of=of, what=what, candidate=SimpleNamespace(seed=seed, status=status, **figures))

    done = [trained("a", 2), trained("a", 1), trained("b", 1), trained("b", 2, status="silent"), trained("c", 1)]
    done.append(trained("c", 2, "twin"))
    log = SimpleNamespace(done=lambda: dict(enumerate(done)))
    monkeypatch.setattr(networks.runs, "beside", lambda _study, _what: log)
    (only,) = networks.confirmed(SimpleNamespace(name="study", optuna=None, front=lambda: front), 2)
    assert (only.trial, only.report.accuracies, only.report.log_energies) == (0, (50.0, 50.0), (-1.0, -1.0))


def test_what_lies_on_a_published_curve_was_not_found(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even where the curve's own front does not have it."""
    networks = script("proof_networks")
    published, found = _network(script, 1.0, 1.0, 0.0), [_network(script, i, 1.0, 0.0) for i in (1.0, 2.0, 3.0)]
    candidates = {i: one.chosen for i, one in enumerate(found[:2])}
    monkeypatch.setattr(networks, "opened", lambda _proof, name: SimpleNamespace(name=name, candidates=candidates))
    monkeypatch.setattr(networks, "confirmed", lambda study, _: found if study.name == "search" else [published])
    result = networks.published_and_found(_proof(script, tmp_path, "cifar10_cpu"))
    assert result == ([published, published], [found[2]])


# Spaces and plan


def test_a_curve_is_a_reference_at_every_width_depth_and_number_of_time_steps(script: Callable[[str], Any]) -> None:
    space = load_space("cifar10_cpu")
    curves = script("proof_spaces").curve_spaces(space)
    assert list(curves) == ["curve-spikformer-miniature", "curve-spikingformer-miniature"]
    for curve, reference in zip(curves.values(), space.references.values(), strict=True):
        configs = {config.config_id: config for config in curve.configs()}
        assert len(configs) == 24
        assert reference.config_id in configs
        assert {(c.stages[0].embed_dim, c.stages[0].depth, c.time_steps) for c in configs.values()} == set(
            itertools.product((32, 64, 96, 128), (1, 2), (1, 2, 4))
        )
        for config in configs.values():
            stage = dataclasses.replace(reference.stages[0], **_size(config))
            same = dataclasses.replace(reference, stages=(stage,), time_steps=config.time_steps)
            assert same.config_id == config.config_id
        assert curve.recipe.rungs == (1.0,)


def _size(config: Any) -> dict[str, Any]:
    return {name: getattr(config.stages[0], name) for name in ("embed_dim", "depth")}


def test_a_ladder_is_a_space_of_its_networks(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Five rungs over the widths 8 to 128, where MACs are the square of the width: one network of each width."""
    path, spaces = tmp_path / "tiny.toml", script("proof_spaces")
    path.write_text(TINY.replace("[8, 16]", "[8, 16, 32, 64, 128]"))
    monkeypatch.setattr(spaces, "total_macs", lambda config: config.stages[0].embed_dim ** 2)
    space = load_space(path)
    ladder = spaces.ladder_space(space, 5)
    configs = list(ladder.configs())
    assert ladder.size() == (5, True)
    assert sorted(config.stages[0].embed_dim for config in configs) == [8, 16, 32, 64, 128]
    assert {config.config_id for config in configs} <= {config.config_id for config in space.configs()}
    assert [ladder.params(config) for config in configs] == [{"network": config.config_id} for config in configs]
    assert ladder.recipe.rungs == (1.0,)


def test_the_plan_has_the_images_of_the_page(script: Callable[[str], Any], tmp_path: Path) -> None:
    """By hand: 30,000 images in full and 1,500 at the first rung; 200 networks, of which a fifth goes up."""
    proof = dataclasses.replace(
        _proof(script, tmp_path, "cifar10_cpu", full_images=0), data_dir=str(pictures.folders(tmp_path / "images"))
    )
    splits = SimpleNamespace(train=Split(torch.zeros(10_000, 3, 1, 1, dtype=torch.uint8), torch.zeros(10_000)))
    works = script("proof_plan").works(proof, splits)
    images = {name: work.all_images for name, work in works.items()}
    assert images["search"] == 200 * 1_500 + 40 * 30_000
    assert images["random"] == images["ladder"] == 50 * 30_000
    assert images["curves"] == 48 * 30_000
    assert images["confirm"] == (5 * 8 + 2) * 3 * 30_000
    assert images["full"] == 2 * 2 * 3 * (4 * 8) * (40 + 1)  # 8 images of 4 classes; a cool-down of 10 in 400 epochs
    for count in (1_500_000, 1_440_000):
        assert f"{count:,}" in PAGE.read_text()
    hours = script("proof_plan").hours(proof, splits, works, 250.0)
    assert hours["search"] == pytest.approx(1_500_000 / 250 / 3600)


def test_a_plan_stays_as_it_was_before_the_first_stage(script: Callable[[str], Any], tmp_path: Path) -> None:
    """A later run has another speed and other claims; one with other settings is refused."""
    proof, plans = _proof(script, tmp_path, "spikformer_tiny", full_images=0), script("proof_plan")
    first = plans.plan(proof, 1000.0, "first")
    assert not proof.kept.exists()
    plans.begin(proof, first)
    later = plans.plan(proof, 500.0, "later")
    plans.begin(proof, later)
    assert later == plans.stored(proof) == first
    with pytest.raises(SystemExit, match=r"'networks': 200.*'networks': 100.*another --kept"):
        plans.plan(dataclasses.replace(proof, networks=100), 1000.0, "first")


def test_nothing_is_judged_before_all_fronts_are_confirmed(script: Callable[[str], Any], tmp_path: Path) -> None:
    proof, plans = _proof(script, tmp_path, "spikformer_tiny", full_images=0), script("proof_plan")
    with pytest.raises(SystemExit, match="no stage was run"):
        script("proof_judge").judge(proof, "claims")
    plans.begin(proof, {"claims": "claims", "settings": proof.settings(), "header": [], "stages": {}})
    (proof.kept / plans.RECORD).write_text('{"search": {}, "random": {}, "curves": {}}')
    with pytest.raises(SystemExit, match="no finished stage ladder, confirm"):
        script("proof_judge").judge(proof, "claims")


# What is kept


def test_what_is_kept_in_parts_comes_back_whole(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also after it became smaller: parts of before are gone."""
    kept = script("kept")
    monkeypatch.setattr(kept, "LARGEST", 1000)
    path = tmp_path / "folder" / "name.xz"
    assert kept.kept(path) is None
    for size, parts in ((2500, 3), (1000, 1), (1001, 2), (0, 1)):
        data = os.urandom(size)
        kept.keep(data, path)
        assert kept.kept(path) == data
        assert len(list(path.parent.iterdir())) == parts
        assert all(part.stat().st_size <= 1000 for part in path.parent.iterdir())


def test_a_journal_comes_back_only_where_there_is_none(script: Callable[[str], Any], tmp_path: Path) -> None:
    kept, path, journal = script("kept"), tmp_path / "kept.xz", tmp_path / "study" / "journal.log"
    kept.keep_journal(journal, path)
    assert not path.exists()
    journal.parent.mkdir()
    journal.write_text("first")
    kept.keep_journal(journal, path)
    journal.write_text("first and second")
    kept.restore_journal(path, journal)
    assert journal.read_text() == "first and second"
    journal.unlink()
    kept.restore_journal(path, journal)
    assert journal.read_text() == "first"


def test_the_first_images_of_each_class_are_linked(script: Callable[[str], Any], tmp_path: Path) -> None:
    """Names are in their own order: 0.jpg, 1.jpg of eight; the test images are all there."""
    source = pictures.folders(tmp_path / "images")
    proof = dataclasses.replace(_proof(script, tmp_path, "cifar10_cpu", full_images=8), data_dir=str(source))
    folder = Path(script("proof_full").image_folder(proof))
    linked: dict[str, list[str]] = {path.name: [] for path in (folder / "train").iterdir()}
    for path in sorted(folder.glob("train/*/*")):
        linked[path.parent.name].append(path.name)
        assert path.read_bytes() == (source / "train" / path.parent.name / path.name).read_bytes()
    assert linked == {f"class{label:04}": ["0.jpg", "1.jpg"] for label in range(4)}
    assert len(list((folder / "val").glob("*/*"))) == 12


def test_images_without_class_folders_cannot_be_cut(script: Callable[[str], Any], tmp_path: Path) -> None:
    proof = dataclasses.replace(_proof(script, tmp_path, "cifar10_cpu"), data_dir=str(tmp_path))
    with pytest.raises(SystemExit, match=r"--full-images 10000 .* --full-images 0"):
        script("proof_full").image_folder(proof)


# The page


def test_the_results_of_the_page_are_those_of_the_file(script: Callable[[str], Any]) -> None:
    """Once a run has been judged; before, the page says that there is none."""
    page, path = script("proof_page"), KEPT / "proof.json"
    expected = page.text(json.loads(path.read_text())) if path.exists() else f"{page.NOT_RUN}\n"
    assert page.results(PAGE) == expected


def test_results_do_not_change_the_claims(script: Callable[[str], Any], tmp_path: Path) -> None:
    page, copy = script("proof_page"), tmp_path / "page.md"
    copy.write_text(f"claims\n{page.BEGIN}\nold\n{page.END}\nbehind\n")
    before = page.claims(copy)
    assert page.results(copy) == "old\n"
    assert before == f"claims\n{page.BEGIN}\n{page.END}\nbehind\n"
    copy.write_text("no markers\n")
    with pytest.raises(SystemExit, match="--page"):
        page.claims(copy)


# All of it


@pytest.mark.exhaustive
def test_every_stage_runs_and_is_judged_from_what_is_kept_alone(script: Callable[[str], Any], tmp_path: Path) -> None:
    """Twice: the second run has no results folder, trains nothing anew, and comes to the same numbers."""
    (tmp_path / "tiny.toml").write_text(TINY)
    shutil.copy(PAGE, tmp_path / "page.md")
    settings = {"networks": 6, "seeds": 2, "full_images": 0, "full_epochs": 1}
    proof = _proof(script, tmp_path, str(tmp_path / "tiny.toml"), **settings)
    run, path = script("proof").run, proof.kept / "proof.json"
    run(proof, None, 1000.0, tmp_path / "page.md")
    first = json.loads(path.read_text())
    stages = first["stages"]
    assert stages["search"]["planned"]["images"] == stages["search"]["real"]["images"] == 6 * 80 + 2 * 400
    assert {name: stages[name]["real"]["images"] for name in ("random", "ladder", "curves")} == {
        "random": 3 * 400,
        "ladder": 3 * 400,
        "curves": 8 * 400,
    }
    assert first["claims_as_planned"]
    assert all(pair[role]["test_mean"] > 0 for pair in first["C4"]["pairs"] for role in ("found", "published"))
    assert {row["trial"] for row in first["C6"]}
    assert script("proof_page").results(tmp_path / "page.md") == script("proof_page").text(first)
    shutil.rmtree(proof.results)
    before = {kept.name: kept.read_bytes() for kept in proof.kept.rglob("*") if kept.suffix in (".safetensors", ".csv")}
    run(proof, None, 1000.0, tmp_path / "page.md")
    assert json.loads(path.read_text()) == first
    assert not (proof.results / "trained").exists()
    assert before == {k.name: k.read_bytes() for k in proof.kept.rglob("*") if k.suffix in (".safetensors", ".csv")}
