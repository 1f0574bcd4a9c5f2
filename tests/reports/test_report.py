"""Reports and exports of a study that was really searched."""

import dataclasses
import io
import itertools
import json
import random
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from rich.console import Console

import nas
import spikformer
from nas.costs import chip, energy, memory, target
from nas.errors import CostError, DataError, OutputError, StudyError, TrainingError
from nas.exports import cards, picking
from nas.exports import exporting as exports
from nas.progress import Observer
from nas.reports import contents, findings, inspection, page, texts
from nas.searching import opening
from nas.spaces import load_space, space_names
from nas.studies.records import FullTraining
from nas.studies.study import Study
from nas.training.candidate import repriced
from spikformer import CheckpointError, Spikformer, published
from tests.conftest import MICRO, Run
from tests.helpers import thinned

pytestmark = pytest.mark.usefixtures("trained_once")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    (folder / "micro.toml").write_text(MICRO)
    torch.set_num_threads(1)
    return opening.search(folder / "micro.toml", 10, results_dir=folder / "results", observer=Observer())


def test_the_front_is_monotone_and_nothing_beats_it(study: Study) -> None:
    report = contents.build(study)
    assert report.front["energy_mj"].is_monotonic_increasing
    assert report.front["search_val_accuracy"].is_monotonic_increasing
    for row in report.trials[report.trials["status"] == "complete"].itertuples():
        better = (report.front["search_val_accuracy"] >= row.search_val_accuracy) & (
            report.front["energy_mj"] <= row.energy_mj
        )
        assert better.any()


def test_files(study: Study, tmp_path: Path) -> None:
    report = contents.build(study)
    names = [path.name for path in page.write(report, tmp_path)]
    assert names[0] == "report.html"
    assert {"report.md", "front.png", "front.svg", "front.pdf", "trials.csv", "front.csv"} < set(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert len(trials) == 10
    assert trials["on_front"].sum() == len(pd.read_csv(tmp_path / "front.csv"))
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "report.md").read_text()
    assert "Selection bias: the network that search-val ranks first" in text
    assert "What size alone tells" in text
    assert "No test image was read" in text


def test_numbers_are_those_of_the_records(study: Study) -> None:
    report = contents.build(study)
    for row in report.trials.to_dict("records"):
        candidate = study.candidates[row["trial"]]
        assert row["energy_mj"] == candidate.energy_mj
        assert row["report_val_accuracy"] == candidate.report_val_accuracy
        assert row["parameters"] == candidate.parameters


def test_layers_that_never_fired_are_listed(study: Study) -> None:
    one = dataclasses.replace(study.candidates[0], firing_rates={"stem": 0.25, "blocks.0": 0.0, "head": 0.0})
    assert one.silent_layers == ["blocks.0", "head"]


def test_ranking_by_size_by_hand() -> None:
    """Of the first size the mean of 0.5 and 0.7 at 1 and 3 mJ is 0.6 at 2 mJ; of three sizes two are the ends."""
    rows = [(100, 0.5, 1.0, 0.4), (100, 0.7, 3.0, 0.5), (200, 0.8, 4.0, 0.7), (300, 0.9, 5.0, 0.8)]
    complete = pd.DataFrame(rows, columns=["parameters", "search_val_accuracy", "energy_mj", "report_val_accuracy"])
    expected = [[pytest.approx(0.6), pytest.approx(2.0)], [pytest.approx(0.8), 4.0], [pytest.approx(0.9), 5.0]]
    for count, kept in ((5, expected), (2, [expected[0], expected[2]]), (1, expected[:1])):
        found = findings.by_size(complete, count)[["search_val_accuracy", "energy_mj"]].to_numpy().tolist()
        assert found == kept


def test_a_study_without_a_finished_candidate_says_so(micro: Path) -> None:
    class Stop(Observer):
        def on_training_start(self, label: str, epochs: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opening.search(micro, 1, results_dir=micro.parent / "results", observer=Stop())
    report = contents.build(nas.load_study("micro", results_dir=micro.parent / "results"))
    assert report.findings == ["Study micro has no finished candidate yet."]
    assert report.front.empty


def test_a_folder_that_cannot_be_written_is_named(study: Study, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        page.write(contents.build(study), tmp_path / "file")


def test_exported_folders_load_and_run(study: Study, tmp_path: Path) -> None:
    folders = exports.export(study, "front", tmp_path, exports.Size(params=200_000))
    assert len(folders) == len(study.front())
    for folder, candidate in zip(folders, study.front().values(), strict=True):
        assert sorted(p.name for p in folder.iterdir()) == [
            "card.md",
            "config.json",
            "proxy.safetensors",
            "recipe.toml",
        ]
        config = spikformer.load(folder).config
        assert config.stem.image_size == 224
        assert config.head.num_classes == 1000
        assert config.stem.downsampling == 16
        assert spikformer.load(folder, "proxy").config == candidate.config
        card = (folder / "card.md").read_text()
        assert "Transfer to full training unverified" in card
        assert candidate.config_id in card
    with torch.no_grad():
        assert spikformer.load(folders[0])(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)


def test_exported_weights_are_those_that_were_measured(study: Study, tmp_path: Path) -> None:
    """Evaluated again from the exported folder, the proxy reaches the recorded accuracy."""
    from nas.datasets import loaders as data
    from nas.spaces import load_space
    from nas.training import augmentation
    from nas.training import fitting as training

    (folder,) = exports.export(study, "accuracy", tmp_path)
    candidate = list(study.front().values())[-1]
    loaded = load_space(study.folder.parent.parent / "micro.toml")
    splits = data.load(loaded)
    model = spikformer.load(folder, "proxy")
    normalise = augmentation.Normalise(splits.train)
    assert training.accuracy(model, splits.search_val, normalise) == candidate.search_val_accuracy
    assert training.accuracy(model, splits.report_val, normalise) == candidate.report_val_accuracy


def test_picks(study: Study) -> None:
    front = study.front()
    numbers = list(front)
    assert list(picking.pick(study, "accuracy")) == numbers[-1:]
    assert list(picking.pick(study, "energy")) == numbers[:1]
    assert set(picking.pick(study, "knee")) <= set(numbers)
    assert list(picking.pick(study, "0")) == [0]
    for bad, message in (("best", "is unknown"), ("999", "does not exist"), ("-1", "is unknown"), ("²", "is unknown")):
        with pytest.raises(StudyError, match=message):
            picking.pick(study, bad)


def test_an_exported_folder_is_counted_again_on_its_images(study: Study, tmp_path: Path) -> None:
    """What the search recorded, from the folder alone; fused, the same spikes; other images are refused."""
    for number, candidate in list(study.front().items())[-1:]:
        (folder,) = exports.export(study, str(number), tmp_path)
        found = inspection.costs_on_images(str(folder), None)
        assert sum(layer["energy_mj"] for layer in found.layers) == pytest.approx(candidate.energy_mj, rel=1e-9)
        assert found.source == f"counted on {candidate.counted_images} images"
        fused = inspection.costs_on_images(str(folder), None, fused=True)
        assert fused.totals["measured"] == pytest.approx(found.totals["measured"], rel=1e-3)
        assert "deployable form" in fused.name
        config = json.loads((folder / "config.json").read_text())
        config["data"]["images"] = "123456789abc"
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(DataError, match="was measured on the images 123456789abc, but the given images are"):
            inspection.costs_on_images(str(folder), None)
        del config["data"]
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError, match="does not say on which images"):
            inspection.costs_on_images(str(folder), None)


def test_a_card_gives_the_predicted_energy_with_its_interval(study: Study, tmp_path: Path) -> None:
    """By hand: 2 mJ with an error of 32 % are 2 / 1.32 = 1.52 to 2 / 0.68 = 2.94 mJ."""
    assert "2 mJ per image, 1.52 mJ to 2.94 mJ" in cards.predicted(2.0)
    number, candidate = next(iter(study.front().items()))
    (folder,) = exports.export(study, str(number), tmp_path, exports.Size(params=200_000))
    network = spikformer.load(folder).config
    energy_mj = target.predicted_energy_mj(candidate.operations, network)
    assert cards.predicted(energy_mj) in (folder / "card.md").read_text()


@pytest.mark.parametrize(
    ("size", "pixels", "classes"),
    [
        (exports.Size(as_is=True), 8, 10),
        (exports.Size(), 8, 10),
        pytest.param(exports.Size(as_is=True, classes=3), 8, 3, marks=pytest.mark.exhaustive),
        pytest.param(exports.Size(params=200_000, classes=20), 224, 20, marks=pytest.mark.exhaustive),
        pytest.param(exports.Size(macs=300_000_000), 224, 1000, marks=pytest.mark.exhaustive),
    ],
)
def test_a_bundle_has_the_size_that_was_asked_for(
    study: Study, tmp_path: Path, size: exports.Size, pixels: int, classes: int
) -> None:
    number = next(iter(study.front()))
    (folder,) = exports.export(study, str(number), tmp_path, size)
    candidate = study.candidate(number)
    model = spikformer.load(folder)
    assert (model.config.stem.image_size, model.config.head.num_classes) == (pixels, classes)
    assert (model.config == candidate.config) == (size in (exports.Size(as_is=True), exports.Size()))
    if size.params:
        assert 100_000 < sum(p.numel() for p in model.parameters()) <= 200_000
    card = (folder / "card.md").read_text()
    assert ("Predicted energy" in card) == (pixels == 224)
    assert "python -m nas train" in card


def test_a_size_that_contradicts_itself_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Give one or the other"):
        exports.export(study, "knee", tmp_path, exports.Size(as_is=True, params=1000))
    assert not list(tmp_path.iterdir())


def test_networks_trained_in_full_stand_beside_their_proxies(study: Study, tmp_path: Path) -> None:
    """By hand: of 70 and 74 %, the mean is 72 and the deviation of a sample 2.8; a training again counts once."""
    number, candidate = next(iter(study.front().items()))
    full = FullTraining(number, candidate.config_id, 0.7, 100, 5, 0, "123456789abc", "here")
    for one in (
        full,
        dataclasses.replace(full, seed=1, test_top1=0.6),
        dataclasses.replace(full, seed=1, test_top1=0.74),
    ):
        study.attach(one)
    found = contents.build(study)
    (sentence,) = [line for line in found.findings if line.startswith("Trained in full")]
    proxy = 100 * (candidate.report_val_accuracy or 0)
    assert f"trial {number}: 72.0 +- 2.8 % (2 seed(s), 5 epochs), proxy {proxy:.1f} % of report-val" in sentence
    assert found.trials.set_index("trial")["full_test_accuracy"][number] == pytest.approx(0.72)


def test_exporting_again_replaces_what_export_wrote_and_nothing_else(study: Study, tmp_path: Path) -> None:
    (folder,) = exports.export(study, "knee", tmp_path)
    (folder / "card.md").write_text("old")
    assert exports.export(study, "knee", tmp_path) == [folder]
    assert (folder / "card.md").read_text() != "old"
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.tex, which export did not write"):
        exports.export(study, "knee", tmp_path)
    assert (folder / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_the_knee_is_taken_on_the_logarithm_of_energy(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.5 to 0.91 over three decades: on the logarithm the second point stands out, linearly the third would."""
    points = [(0.5, 1e-4), (0.8, 1e-3), (0.9, 1e-2), (0.91, 1e-1)]
    one = next(iter(study.front().values()))
    front = {
        i: dataclasses.replace(one, search_val_accuracy=accuracy, energy_mj=energy)
        for i, (accuracy, energy) in enumerate(points)
    }
    monkeypatch.setattr(Study, "front", lambda _self: front)
    assert list(picking.pick(study, "knee")) == [1]


def test_any_name_of_a_reference_can_be_printed(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {n: dataclasses.replace(c, reference=r"Ours [/x] $\frac$ a | b") for n, c in study.candidates.items()}
    monkeypatch.setattr(Study, "candidates_in", lambda _self, _snapshot: named)
    report = contents.build(study)
    page.write(report, tmp_path)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report.table())
    assert r"Ours [/x] $\frac$" in console.export_text()
    assert r"a \| b" in (tmp_path / "report.md").read_text()


def test_a_candidate_without_figures_does_not_spoil_the_methods(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    last = list(study.candidates.values())[-1]
    diverged = dataclasses.replace(last, status="diverged", counted_images=0, search_val_accuracy=None, energy_mj=None)
    monkeypatch.setattr(Study, "candidates_in", lambda _self, _snapshot: {0: last, 1: diverged})
    methods = " ".join(contents.build(study).methods)
    assert "200 to train on, 180 for search-val" in methods


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "no json"),
        ("config.json", "[]"),
        ("config.json", '{"network": {"residual": "x"}, "proxy": {}}'),
        ("config.json", None),
        ("proxy.safetensors", "no tensors"),
    ],
)
def test_damaged_exports_are_refused(study: Study, tmp_path: Path, name: str, content: str | None) -> None:
    (folder,) = exports.export(study, "knee", tmp_path)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=r"safetensors|describe|cannot be read|is not valid JSON"):
        spikformer.load(folder, "proxy" if name == "proxy.safetensors" else "network")


def test_weights_of_another_network_are_refused(study: Study, tmp_path: Path) -> None:
    (folder,) = exports.export(study, "knee", tmp_path)
    document: dict[str, Any] = json.loads((folder / "config.json").read_text())
    document["proxy"]["stages"][0]["embed_dim"] *= 2
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="weights of another network"):
        spikformer.load(folder, "proxy")


@pytest.mark.parametrize("name", thinned(space_names(), 2))
def test_every_space_has_its_networks_for_imagenet(name: str) -> None:
    """224 x 224 pixels, at most 56 x 56 tokens, 14 x 14 of them at the end where the stem can halve so often."""
    loaded = load_space(name)
    rng = random.Random(0)
    for config in [*loaded.references.values(), *(loaded.random(rng) for _ in range(8))]:
        large = target.for_imagenet(config)
        assert (large.stem.image_size, large.stem.in_channels, large.head.num_classes) == (224, 3, 1000)
        assert large.grids[-1] == (14 if config.stem.kind == "sps" or len(config.stages) > 2 else large.grids[0])
        assert large.grids[0] <= 56
        with torch.device("meta"):
            Spikformer(large)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("spikformer_cifar10_4_384", "spikformer_in_8_384"),
        ("spikingformer_cifar10_4_384", "spikingformer_in_8_384"),
        ("sdt1_cifar10_2_512", "sdt1_in_8_512"),
        ("qkformer_cifar10_4_384", "qkformer_in_10_384"),
        ("spikingresformer_cifar10", "spikingresformer_ti"),
        ("sdt2_in_15M", "sdt2_in_15M"),  # three halvings between its stages leave the stem one
    ],
)
def test_the_stem_becomes_that_of_the_published_network_for_imagenet(small: str, large: str) -> None:
    assert target.for_imagenet(published.config(small)).stem == published.config(large).stem


def test_windows_and_patches_fit_the_new_grid_by_hand() -> None:
    """Windows of 4 of 8 x 8 tokens become 7 of 14 x 14; patches of 4 do not divide 14, and 2, 7 do: the nearer is 2."""
    base = published.config("spikingformer_cifar10_4_384")
    stage = base.stages[0]
    windowed = dataclasses.replace(stage, mixer=dataclasses.replace(stage.mixer, window=4))
    patched = dataclasses.replace(stage, mixer=dataclasses.replace(stage.mixer, kind="dssa", patch=4))
    for changed, window, patch in ((windowed, 7, 1), (patched, 0, 2)):
        (found,) = target.for_imagenet(dataclasses.replace(base, stages=(changed,))).stages
        assert (found.mixer.window, found.mixer.patch) == (window, patch)


def test_another_convention_prices_the_study_anew_from_its_records(study: Study) -> None:
    """Energies from the stored counts; who enters and who leaves the front is a brute force over its points."""
    convention = energy.convention("paper_strict")
    report = contents.build(study, convention)
    points = {}
    for row in report.trials[report.trials["status"] == "complete"].to_dict("records"):
        candidate = study.candidates[row["trial"]]
        priced = energy.price(candidate.operations, candidate.counted_images, convention)
        assert row["energy_mj"] == priced.energy_mj > (candidate.energy_mj or 0)
        points[row["trial"]] = (row["search_val_accuracy"], row["energy_mj"])

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a != b and a[0] >= b[0] and a[1] <= b[1]

    front = {n for n, p in points.items() if not any(beats(other, p) for other in points.values())}
    assert set(report.front["trial"]) == front
    (sentence,) = (s for s in report.findings if "by which the search chose" in s)
    for number in front - set(study.front()):
        assert f"{number}" in sentence.split(" enters")[0]
    for number in set(study.front()) - front:
        assert f"{number}" in sentence.split(" enters")[1]
    assert "paper_strict" in texts.markdown(report)


def test_records_without_counts_cannot_be_ranked_with_the_others(study: Study) -> None:
    blank = {n: dataclasses.replace(c, operations=()) if n == 0 else c for n, c in study.candidates.items()}
    with pytest.raises(CostError, match="trial 0 has no counted operations: it cannot be ranked with the others"):
        repriced(blank, energy.MEASURED)


def test_a_record_of_another_version_is_named(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    """Without the tallies of overheads, as before they were counted. It costs itself alone."""
    trial = study.optuna.trials[0]
    old = {key: value for key, value in trial.user_attrs["candidate"].items() if key != "overheads"}
    copied = optuna.create_study(study_name="old", directions=study.optuna.directions)
    copied.add_trial(
        optuna.trial.create_trial(
            values=trial.values,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs | {"candidate": old},
        )
    )
    assert Study("old", study.folder, copied).front() == {}
    told = caplog.messages[-1]
    assert "The record of trial 0 of study old cannot be read and is left out (KeyError: 'overheads')" in told
    assert "another version of this program" in told


@pytest.mark.exhaustive
def test_a_report_under_another_convention_leaves_the_searchs_own_alone(study: Study, tmp_path: Path) -> None:
    own = page.write(contents.build(study), tmp_path)
    before = {path: path.read_bytes() for path in own}
    written = page.write(contents.build(study, energy.convention("paper+head", "45nm_int8")), tmp_path)
    assert {path: path.read_bytes() for path in own} == before
    assert all("-paper+head_45nm_int8." in path.name for path in written)
    names = {path.name.replace("-paper+head_45nm_int8", "") for path in written}
    assert {"report.html", "report.md", "front.png", "trials.csv", "front.csv"} < names
    trials = pd.read_csv(tmp_path / "trials-paper+head_45nm_int8.csv")
    assert set(trials["convention"]) == {"paper+head, 45nm_int8"}
    text = (tmp_path / "report-paper+head_45nm_int8.md").read_text()
    assert "front-paper+head_45nm_int8.png" in text


def test_the_page_is_opened_on_request(study: Study, run_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    results = study.folder.parent
    done = run_here("report", "--results-dir", str(results), "--open")
    assert done.returncode == 0
    assert opened == [str(study.folder.absolute() / "report.html")]
    assert f"Next: python cli.py confirm --study micro --results-dir {results}" in done.stdout


def test_a_chip_adds_columns_and_says_whether_it_ranks_alike(study: Study, tmp_path: Path) -> None:
    """Figures of each row from the model itself; Kendall's tau by counting pairs."""
    loihi = chip.load("loihi")
    plain, report = contents.build(study), contents.build(study, chip=loihi)
    columns = ["chip_energy_mj", "chip_latency_ms", "chip_fits"]
    assert list(report.trials.columns) == [*plain.trials.columns, *columns]
    assert report.trials[plain.trials.columns].equals(plain.trials)
    assert list(report.front["trial"]) == list(plain.front["trial"])
    assert report.findings[:-1] == plain.findings
    complete = {n: c for n, c in study.candidates.items() if c.status == "complete"}
    found = {n: loihi(c.counts) for n, c in complete.items()}
    page.write(report, tmp_path)
    for name in ("trials.csv", "front.csv"):
        for row in pd.read_csv(tmp_path / name).to_dict("records"):
            if row["status"] == "complete":
                costs = found[row["trial"]]
                assert row["chip_energy_mj"] == pytest.approx(costs.energy_mj, rel=1e-12)
                assert row["chip_latency_ms"] == pytest.approx(costs.latency_ms, rel=1e-12)
                assert row["chip_fits"] == costs.fits
    measured = [c.energy_mj or 0 for c in complete.values()]
    energies, latencies = ([getattr(c, name) for c in found.values()] for name in ("energy_mj", "latency_ms"))
    assert report.findings[-1].startswith(f'On the chip "loihi" {len(complete)} of the {len(complete)} complete')
    assert f"energy {_tau(measured, energies):.3f}, latency {_tau(measured, latencies):.3f}." in report.findings[-1]
    assert 'Columns chip_*: the model "loihi"' in texts.markdown(report)


def _tau(a: list[float], b: list[float]) -> float:
    pairs = list(itertools.combinations(range(len(a)), 2))
    assert len(set(a)) == len(set(b)) == len(a)  # without ties
    return sum(1 if (a[i] - a[j]) * (b[i] - b[j]) > 0 else -1 for i, j in pairs) / len(pairs)


def test_a_chip_that_says_little_and_candidates_without_counts(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    last = list(study.candidates.values())[-1]
    diverged = dataclasses.replace(last, status="diverged", operations=(), search_val_accuracy=None, energy_mj=None)
    monkeypatch.setattr(Study, "candidates_in", lambda _self, _snapshot: {0: last, 1: last, 2: last, 3: diverged})
    report = contents.build(study, chip=chip.Chip("same", lambda *_: chip.ChipCosts(1.5, None, None)))
    assert report.trials["chip_energy_mj"].to_list()[:3] == [1.5] * 3
    assert report.trials["chip_energy_mj"].isna().to_list() == [False] * 3 + [True]
    assert 'On the chip "same" which candidates fit is not said' in report.findings[-1]
    assert "energy without one (3 candidates, 1 different figures)" in report.findings[-1]
    assert "latency without one (0 candidates, 0 different figures)" in report.findings[-1]


@pytest.mark.parametrize("name", memory.names())
def test_memory_has_columns_of_its_own_and_is_in_no_other_figure(study: Study, name: str) -> None:
    model = memory.load(name)
    plain, report = contents.build(study), contents.build(study, memory=model)
    assert report.trials[plain.trials.columns].equals(plain.trials)
    assert report.findings[:-1] == plain.findings
    assert f"by measured and memory {name}: " in report.findings[-1]
    assert report.methods[:-1] == plain.methods
    complete = {n: c for n, c in study.candidates.items() if c.status == "complete"}
    priced = {n: model.price(c.counts) for n, c in complete.items()}
    rows = report.trials.set_index("trial").loc[list(complete)]
    assert rows["memory_mj"].to_dict() == {n: each.energy_mj for n, each in priced.items()}
    assert rows["memory_weights_mj"].to_dict() == {n: each.total.weights for n, each in priced.items()}
    shares = [each.energy_mj / (complete[n].energy_mj or 0) for n, each in priced.items()]
    assert f"would be {min(shares):.1f} to {max(shares):.1f} times the headline; not in it." in report.methods[-1]


def test_inspection_of_a_chip_and_of_memory(study: Study) -> None:
    plain = inspection.costs(study, 0)
    (against,) = plain.lines()
    assert against.startswith("Against its counterpart of 2 bits, by measured: ")
    assert not {"chip", "memory"} & plain.to_dict().keys()
    asked = inspection.costs(study, 0, chip=chip.load("loihi"), memory=memory.load())
    both, values = plain.to_dict(), asked.to_dict()
    assert values["against_quantised"][:1] == both.pop("against_quantised")
    assert {key: value for key, value in values.items() if key in both} == both
    candidate = study.candidates[0]
    assert asked.to_dict()["chip"] == {"name": "loihi"} | dataclasses.asdict(chip.load("loihi")(candidate.counts))
    priced = memory.load().price(candidate.counts)
    assert values["memory"]["energy_mj"] == priced.energy_mj
    assert values["memory"]["layers_mj"] == {path: accesses.terms for path, accesses in priced.layers.items()}
    assert asked.lines()[0].startswith('On the chip "loihi": ')
    assert ", fits (" in asked.lines()[0]
    assert "times the whole network's energy; not in it. weights " in asked.lines()[1]
    assert asked.lines()[2:] == [plain.lines()[0], asked.against[1].line()]
    silent = inspection.costs(study, 0, chip=chip.Chip("silent", lambda *_: chip.ChipCosts(None, 2e-3, False)))
    assert silent.lines()[0] == 'On the chip "silent": energy not said, 2 µs, does not fit.'


def test_chip_and_memory_on_the_command_line(
    study: Study, tmp_path: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--results-dir", str(study.folder.parent)]
    done = run_here("report", "--study", "micro", *where, "--chip", "loihi", "--memory")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Rank agreement with the energy under measured" in done.stdout.replace("\n", " ")
    assert "chip_latency_ms" in (study.folder / "trials.csv").read_text()
    assert "accesses by horowitz64: Horowitz's" in (study.folder / "report.md").read_text()
    one = ["inspect", "micro", "--trial", "0", *where]
    done = run_here(*one, "--chip", "loihi", "--memory")
    assert done.returncode == 0
    assert 'On the chip "loihi": ' in done.stdout
    assert "Memory accesses, by" in done.stdout
    assert json.loads(run_here(*one, "--chip", "loihi", "--json").stdout)["chip"]["fits"] is True
    (tmp_path / "falling.py").write_text("def model(*counts):\n    return counts[9]\n")
    monkeypatch.syspath_prepend(tmp_path)
    for arguments, message in (
        (["report", "--study", "micro", *where, "--chip", "lohi"], 'no chip is named "lohi". Did you mean "loihi"?'),
        ([*one, "--chip", "falling:model"], 'Error: chip "falling:model" failed: IndexError: tuple index out of range'),
        (["inspect", "spikformer_cifar10_4_384", "--memory"], "--chip and --memory need counted spikes"),
    ):
        done = run_here(*arguments)
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr
