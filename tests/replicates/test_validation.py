"""Whether a cheap training ranks as the dear one: the networks chosen, the trainings, and the figures by hand."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import SpaceError, StudyError
from nas.progress import Observer
from nas.replicates import rank_quality, selection, validation
from nas.replicates.rank_quality import Quality
from nas.replicates.selection import Network
from nas.replicates.validation import Validation
from nas.reports import proxies
from nas.searching import opening
from nas.spaces import load_space, with_proxy
from nas.spaces.space import SearchSpace
from nas.stats.intervals import Interval
from nas.training.candidate import Candidate
from spikformer import SpikformerConfig, published
from tests.conftest import MICRO
from tests.helpers import Heard

pytestmark = pytest.mark.usefixtures("trained_once")


@pytest.fixture(scope="module", autouse=True)
def _counted_once() -> Iterator[None]:
    """The multiplications of equal networks."""
    macs, found = selection._macs, dict[str, int]()

    def known(config: SpikformerConfig) -> int:
        if config.config_id not in found:
            found[config.config_id] = macs(config)
        return found[config.config_id]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_macs", known)
        yield


@pytest.fixture(scope="module")
def micro_space(tmp_path_factory: pytest.TempPathFactory) -> SearchSpace:
    path = tmp_path_factory.mktemp("space") / "micro.toml"
    path.write_text(MICRO)
    return load_space(path)


@pytest.fixture(scope="module")
def validated(micro_space: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Validation:
    results = tmp_path_factory.mktemp("results")
    return validation.validate_proxy(micro_space, 6, 3, shares=[0.5], results_dir=results, observer=Observer())


def test_as_many_networks_of_each_third_of_cost(micro_space: SearchSpace) -> None:
    """Of all 12 networks, by hand: thirds of four each; 6 of them are two of each, the reference among them."""
    chosen = selection.stratified(micro_space, 6, 0)
    every = {config.config_id: config for config in micro_space.configs()}
    costs = sorted(selection.stratified(micro_space, 12, 0), key=lambda network: network.macs)
    thirds = [{network.config.config_id for network in costs[i : i + 4]} for i in (0, 4, 8)]
    assert len({network.config.config_id for network in costs}) == len(every) == 12
    mine = [network.config.config_id for network in chosen]
    assert len(set(mine)) == 6
    assert "Spikformer miniature" in [network.name for network in chosen]
    # Equal costs may fall on either side of a cut, so the classes are counted by cost.
    bounds = [max(n.macs for n in costs if n.config.config_id in third) for third in thirds]
    assert sum(network.macs <= bounds[0] for network in chosen) >= 2
    assert sum(network.macs > bounds[1] for network in chosen) <= 2


def test_the_choice_follows_from_the_seed(micro_space: SearchSpace) -> None:
    assert selection.stratified(micro_space, 6, 1) == selection.stratified(micro_space, 6, 1)


def test_every_training_is_there(validated: Validation) -> None:
    assert set(validated.trained) == {0.5, 1.0}
    assert all(len(records) == 6 for records in validated.trained.values())
    assert sorted(validated.again) == selection.spread(6, 3) == [0, 2, 5]
    assert {c.seed for c in validated.again.values()} == {1}
    assert {c.recipe.learning_rate for c in validated.rates[2.0].values()} == {6e-3}
    assert {c.images_seen for c in validated.trained[0.5]} == {100}
    assert {c.images_seen for c in validated.trained[1.0]} == {200}


@pytest.mark.exhaustive  # the same runs as of a table, whose interruption is in CI
def test_interrupted_it_goes_on(micro_space: SearchSpace, validated: Validation, tmp_path: Path) -> None:
    class Stop(Observer):
        left = 4

        def on_training_start(self, label: str, epochs: int) -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def go(observer: Observer) -> Validation:
        return validation.validate_proxy(micro_space, 6, 3, shares=[0.5], results_dir=tmp_path, observer=observer)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            go(Stop())
    found = go(Observer())
    for share, records in found.trained.items():
        for mine, other in zip(records, validated.trained[share], strict=True):
            assert dataclasses.replace(mine, provenance={}) == dataclasses.replace(other, provenance={})


def test_it_tells_what_its_data_step_did(micro_space: SearchSpace, validated: Validation) -> None:
    """Before it begins; all is trained already."""
    heard = Heard()
    results = validated.folder.parent.parent
    validation.validate_proxy(micro_space, 6, 3, shares=[0.5], results_dir=results, observer=heard)
    assert heard.text.startswith("Images per class (train / search-val / report-val): ")


def test_other_settings_are_refused(micro_space: SearchSpace, validated: Validation) -> None:
    results = validated.folder.parent.parent
    with pytest.raises(StudyError, match=r"other settings \(recipe\.epochs differ\)"):
        validation.validate_proxy(
            micro_space, 6, 3, shares=[0.5], full_epochs=2, results_dir=results, observer=Observer()
        )


def _made(accuracies: dict[float, list[float]], one: Candidate, costs: list[int]) -> Validation:
    """Networks with these accuracies and equal energies."""
    records = {
        share: tuple(dataclasses.replace(one, search_val_accuracy=a, status="complete") for a in values)
        for share, values in accuracies.items()
    }
    networks = tuple(Network(str(i), one.config, macs) for i, macs in enumerate(costs))
    shares = tuple(share for share in accuracies if share < 1)
    return Validation("made", Path("made"), "full", networks, shares, 3, 0, records, {}, {})


@pytest.fixture
def one(validated: Validation) -> Candidate:
    return validated.trained[1.0][0]


def test_a_proxy_that_agrees_passes(one: Candidate) -> None:
    final = [i / 30 for i in range(30)]
    made = _made({0.1: final, 1.0: final}, one, list(range(30)))
    found = rank_quality.quality(made, 0.1)
    assert found.tau.value == 1
    assert found.tau.low > 0.9
    assert found.tau_within.value == found.tau_top.value == 1
    assert [tau.value for tau in found.tau_thirds] == [1, 1, 1]
    assert found.recall["measured"].value == 1  # at equal energies the front is the best one
    assert found.passes


@pytest.mark.exhaustive
def test_a_proxy_that_knows_the_size_alone_does_not_pass(one: Candidate) -> None:
    """Within each third of cost it is upside down, between them right: overall tau 0.4, within -1.

    By hand: 435 pairs, of which 3 x 45 = 135 within thirds are wrong: (300 - 135) / 435.
    """
    final = [i / 30 for i in range(30)]
    early = [final[10 * third + 9 - i] for third in range(3) for i in range(10)]
    found = rank_quality.quality(_made({0.1: early, 1.0: final}, one, list(range(30))), 0.1)
    assert found.tau.value == pytest.approx(165 / 435)
    assert found.tau_within.value == -1
    assert not found.passes


def test_the_cheapest_that_passes_is_recommended() -> None:
    sure = Interval(1.0, 1.0, 1.0)
    qualities = [
        Quality(share, sure, sure, (sure,) * 3, sure, {}, {"measured": sure}, passes)
        for share, passes in ((0.5, True), (0.25, True), (0.1, False))
    ]
    chosen = rank_quality.recommended(qualities)
    assert chosen is not None
    assert chosen.share == 0.25
    assert rank_quality.recommended(qualities[2:]) is None


@pytest.mark.parametrize(
    ("tau", "said"),
    [
        (
            0.9,
            "The cheapest training that may prune is 50% of the whole: tau within thirds of cost 0.90 (0.80 to 1.00)",
        ),
        (
            0.7,
            "Train every network in full, or validate on more: should its tau stay, about 60 are enough for its bound.",
        ),
        (0.5, "The nearest, 50%, has tau 0.50 (0.40 to 0.60) and recall 1.00. Train every network in full."),
    ],
)
def test_what_is_recommended_in_words(one: Candidate, tau: float, said: str) -> None:
    """60 networks: see `test_statistics`."""
    made = _made({0.5: [0.1, 0.2], 1.0: [0.1, 0.2]}, one, [1, 2])
    around, sure = Interval(tau, tau - 0.1, tau + 0.1), Interval(1.0)
    found = Quality(0.5, around, around, (around,) * 3, around, {}, {"measured": sure}, tau > 0.8)
    assert said in proxies.sentences(made, [found], None)[0]


def test_noise_by_hand(one: Candidate) -> None:
    """Two seeds of three networks: differences 0.02 each, so the deviation is 0.02 / sqrt(2)."""
    made = _made({0.1: [0.1, 0.2, 0.3], 1.0: [0.1, 0.2, 0.3]}, one, [1, 2, 3])

    def moved(values: list[float]) -> dict[int, Candidate]:
        return {i: dataclasses.replace(one, search_val_accuracy=a, status="complete") for i, a in enumerate(values)}

    made = dataclasses.replace(
        made, again=moved([0.12, 0.22, 0.32]), rates={0.5: moved([0.9, 0.2, 0.1]), 2.0: moved([0.1, 0.2, 0.3])}
    )
    found = rank_quality.noise(made)
    assert found is not None
    assert found.deviation == pytest.approx(0.02 / math.sqrt(2))
    assert found.tau.value == 1
    assert found.flips == {0.5: (3, 3), 2.0: (0, 3)}


def test_a_failed_network_is_the_worst(one: Candidate) -> None:
    made = _made({0.1: [0.3, 0.2], 1.0: [0.3, 0.2]}, one, [1, 2])
    silent = dataclasses.replace(one, status="silent", search_val_accuracy=0.9, energy_mj=1e-9)
    early = (silent, made.trained[0.1][1])
    found = rank_quality.quality(dataclasses.replace(made, trained={0.1: early, 1.0: made.trained[1.0]}), 0.1)
    assert found.tau.value == -1


def test_what_is_written(validated: Validation, micro_space: SearchSpace, tmp_path: Path) -> None:
    written, said = proxies.write(dataclasses.replace(validated, folder=tmp_path))
    assert [path.name for path in written] == ["report.md", "networks.csv", "quality.csv", "proxy.png", "proxy.toml"]
    assert "Ceiling" in " ".join(said)
    recommended = with_proxy(micro_space, tmp_path / "proxy.toml")
    assert recommended.recipe.rungs[-1] == 1
    assert dataclasses.replace(recommended.recipe, rungs=micro_space.recipe.rungs) == micro_space.recipe
    table = proxies.networks(validated)
    for row, record in zip(table.to_dict("records"), validated.trained[0.5], strict=True):
        assert row["search_val_accuracy_0.5"] == record.search_val_accuracy
        assert row["energy_mj_measured_0.5"] == pytest.approx(record.energy_mj)


def test_search_reads_the_recommendation(micro: Path, tmp_path: Path) -> None:
    (tmp_path / "proxy.toml").write_text("[proxy]\nrungs = [0.5, 1]\n")
    found = opening.search(
        micro, 4, proxy=tmp_path / "proxy.toml", results_dir=tmp_path / "results", observer=Observer()
    )
    assert found.identity["recipe.rungs"] == [0.5, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[proxy]\nrung = [1]\n", r'line 2, \[proxy\] rung: unknown key\. Did you mean "rungs"'),
        ("[axes]\ndepth = [1]\n", r"must hold the section \[proxy\] and nothing else"),
        ("[proxy]\nrungs = [0.5]\n", "must rise from above 0 to 1"),
        ("[proxy\n", "is not valid TOML"),
    ],
)
def test_a_bad_proxy_file_is_refused(micro_space: SearchSpace, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "proxy.toml").write_text(text)
    with pytest.raises(SpaceError, match=message):
        with_proxy(micro_space, tmp_path / "proxy.toml")


def test_a_proxy_file_that_is_not_there_is_named(micro_space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="there is no file"):
        with_proxy(micro_space, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"configs": 5}, "configs 5 must be at least 6"),
        ({"configs": 13}, "12 networks were found in space .*, but 13 were asked for"),
        ({"replicates": 7}, "replicates 7 must be between 0 and the 6 configs"),
        ({"shares": [0.5, 0.1]}, "shares 0.5, 0.1 must be rising"),
        ({"shares": [1.0]}, "must be rising"),
        ({"against": "x"}, 'against "x" is unknown'),
        ({"seed": -1}, "seed -1 must be between"),
        ({"against": "published"}, "are grey"),
    ],
)
def test_bad_arguments_are_refused(
    micro_space: SearchSpace, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"configs": 6, "replicates": 2, "results_dir": tmp_path, "observer": Observer()}
    with pytest.raises(StudyError, match=message):
        validation.validate_proxy(micro_space, **arguments | changes)


@pytest.fixture(scope="module")
def small_published() -> list[Network]:
    return selection.from_papers(load_space("cifar10_cpu"), 60)


@pytest.mark.exhaustive  # makes 24 networks small, by a scaling that has tests of its own
def test_published_networks_become_small_alike(small_published: list[Network]) -> None:
    """Printed figures are those of the papers, and within a family who is wider in print is wider here."""
    assert len(small_published) >= 20
    widths = {network.name: network.config.stages[-1].embed_dim for network in small_published}
    for network in small_published:
        assert network.printed == published.figures(network.name).accuracy
        assert (network.config.stem.image_size, network.config.head.num_classes) == (32, 10)
        assert network.config.residual == published.config(network.name).residual
    assert {n.name: n.parameters_m for n in small_published}["spikformer_in_8_768"] == 66.34  # Zhou et al., 2023
    for family in ("spikformer", "spikingformer", "sdt1"):
        assert widths[f"{family}_in_8_384"] < widths[f"{family}_in_8_512"] < widths[f"{family}_in_8_768"]
    base = selection._parameter_count(SpikformerConfig.from_dict(load_space("cifar10_cpu").base))
    assert np.median([selection._parameter_count(n.config) for n in small_published]) <= base


def _against_papers(one: Candidate, folder: Path) -> Validation:
    """Three networks of two families, whose proxies cost 1, 2 and 3."""
    made = _made({0.1: [0.1, 0.3, 0.2], 1.0: [0.1, 0.2, 0.3]}, one, [1, 2, 3])
    papers = (("a_in_1", 70.0, 5.0), ("a_in_2", 72.0, 4.0), ("b_in_1", 74.0, 3.0))
    networks = [
        dataclasses.replace(network, name=name, printed=printed, parameters_m=millions)
        for network, (name, printed, millions) in zip(made.networks, papers, strict=True)
    ]
    return dataclasses.replace(made, networks=tuple(networks), against="published", folder=folder)


def test_against_printed_accuracies_by_hand(one: Candidate, tmp_path: Path) -> None:
    """Of the pairs 12, 13, 23 a tenth orders two as papers do; parameters none; of one family there is but 12."""
    found = {
        f.by: (f.tau.value, f.tau_within.value) for f in rank_quality.against_printed(_against_papers(one, tmp_path))
    }
    assert found == {
        "10% of the training": (pytest.approx(1 / 3), 1),
        "100% of the training": (1, 1),
        "no training: parameters in print": (-1, -1),
        "no training: dense MACs made small": (1, 1),
    }


def test_what_is_written_against_printed_accuracies(one: Candidate, tmp_path: Path) -> None:
    """As by hand; every confound is listed, and nothing is recommended."""
    written, said = proxies.write(_against_papers(one, tmp_path))
    assert [path.name for path in written] == ["report.md", "networks.csv"]
    assert "Kendall's tau 1.00 after the whole training, 1.00 within families" in said[0]
    assert "without any training, has -1.00, -1.00 within families" in said[1]
    text = (tmp_path / "report.md").read_text()
    assert "| 10% of the training | 0.33 | 1.00 |" in text
    assert "| a_in_2 | 72.00 | 20.0 | 2 |" in text
    assert text.count("\n* ") == 5
