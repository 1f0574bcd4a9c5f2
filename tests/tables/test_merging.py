"""Tables, parts and studies come together as one table, in whatever order, or are refused."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas
from nas import tables
from nas.errors import StudyError, TableError
from nas.progress import Observer
from nas.tables import writing
from nas.tables.contents import Contents, Key, kept
from nas.tables.exporting import of_study
from nas.tables.merging import Source, merged
from nas.training import Candidate
from tests.tables.conftest import TINY, Tiny


def _part(contents: Contents, keep: Callable[[Key], bool]) -> Contents:
    trainings = {key: of for key, of in contents.trainings.items() if keep(key)}
    networks = {key.config_id for key in trainings}
    signals = {identity: of for identity, of in contents.signals.items() if identity in networks}
    return Contents(contents.settings, trainings, signals)


def _parts(contents: Contents) -> list[Contents]:
    """Three that overlap: one has whole networks, one whole seeds, one whole shares."""
    first = min(contents.signals)
    conditions: tuple[Callable[[Key], bool], ...] = (
        lambda key: key.config_id == first,
        lambda key: key.seed == 0,
        lambda key: key.seed == 1,
    )
    return [_part(contents, condition) for condition in conditions]


def test_parts_make_the_whole_in_any_order(tiny: Tiny, tmp_path: Path) -> None:
    """Byte for byte."""
    paths = [writing.save(tmp_path, f"part{i}", part) for i, part in enumerate(_parts(tiny.table.contents()))]
    for number, order in enumerate(itertools.permutations(paths)):
        path = tables.merge(tmp_path / str(number) / "micro", order)
        assert path.name == tiny.file.name
        assert path.read_bytes() == tiny.file.read_bytes()


def test_the_order_decides_nothing_where_machines_differ(tiny: Tiny) -> None:
    """Equal trainings on two machines: one of both provenances is kept, the same in any order."""
    contents = tiny.table.contents()
    key = min(contents.trainings)
    elsewhere = _changed(contents, key, provenance=contents.trainings[key].provenance | {"wall_s": 1e4})
    slightly = elsewhere.signals | {
        key.config_id: {name: value * (1 + 1e-6) for name, value in elsewhere.signals[key.config_id].items()}
    }
    sources = [Source("here", contents), Source("there", dataclasses.replace(elsewhere, signals=slightly))]
    files = {writing.encoded("micro", merged(order)) for order in itertools.permutations(sources)}
    assert len(files) == 1


def _changed(contents: Contents, key: Key, **changes: Any) -> Contents:
    record = dataclasses.replace(contents.trainings[key], **changes)
    return dataclasses.replace(contents, trainings=contents.trainings | {key: record})


def test_equal_keys_must_agree(tiny: Tiny) -> None:
    contents = tiny.table.contents()
    key = next(key for key in contents.trainings if key.share == 1.0)
    other = _changed(contents, key, search_val_accuracy=0.123)
    with pytest.raises(
        TableError, match=r"one and two disagree about network n1-.*, share 1, seed 0: search_val_accur"
    ):
        merged([Source("one", contents), Source("two", other)])
    operations = contents.trainings[key].operations
    spikes = (dataclasses.replace(operations[0], nonzero=operations[0].nonzero + 1), *operations[1:])
    with pytest.raises(TableError, match=r"one and two disagree about .*: operations"):
        merged([Source("one", contents), Source("two", _changed(contents, key, operations=spikes))])
    balanced = _changed(contents, key, search_val_balanced=0.123)
    with pytest.raises(TableError, match="search_val_balanced"):
        merged([Source("one", contents), Source("two", balanced)])


def test_signals_must_agree_but_for_rounding(tiny: Tiny) -> None:
    contents = tiny.table.contents()
    identity = min(contents.signals)
    other = contents.signals | {identity: contents.signals[identity] | {"spikes": 1.0}}
    with pytest.raises(TableError, match=f"one and two disagree about the signal spikes of network {identity}: "):
        merged([Source("one", contents), Source("two", dataclasses.replace(contents, signals=other))])


@pytest.mark.parametrize("status", ["died", "out_of_memory"])
def test_a_result_takes_the_place_of_an_accident(tiny: Tiny, status: str) -> None:
    contents = tiny.table.contents()
    key = min(contents.trainings)
    accident = _changed(contents, key, status=status, reason="", search_val_accuracy=None, energy_mj=None)
    for order in itertools.permutations([Source("one", contents), Source("two", accident)]):
        assert merged(order).trainings == contents.trainings


def _with(contents: Contents, **changes: Any) -> Contents:
    identity = contents.settings.identity | {name.replace("__", "."): value for name, value in changes.items()}
    return dataclasses.replace(contents, settings=dataclasses.replace(contents.settings, identity=identity))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data__images", "000000000000"),
        ("data__search_val", 0.3),
        ("recipe__epochs", 7),
        ("space__axes", {"embed_dim": []}),
        ("seed", 4),
    ],
)
def test_other_images_recipes_and_spaces_are_refused(tiny: Tiny, key: str, value: object) -> None:
    contents = tiny.table.contents()
    name = key.replace("__", ".")
    with pytest.raises(TableError, match=rf"two and one were not trained alike \({name} differ\).* Leave one of them"):
        merged([Source("one", contents), Source("two", _with(contents, **{key: value}))])


def test_rungs_may_differ(tiny: Tiny) -> None:
    """How many networks a search trains in full does not change how."""
    contents = tiny.table.contents()
    other = _with(contents, recipe__rungs=[0.5, 1.0])
    files = {
        writing.encoded("micro", merged(order))
        for order in itertools.permutations([Source("one", contents), Source("two", other)])
    }
    assert len(files) == 1


@pytest.fixture(scope="module")
def study(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> nas.Study:
    """A search of the same space, with a rung, and one more seed of its front."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "micro.toml").write_text(TINY.replace("rungs = [1]", "rungs = [0.5, 1]"))
    searched = nas.search(folder / "micro.toml", 2, device="cpu", results_dir=folder, observer=Observer())
    nas.confirm(searched, 1, device="cpu", observer=Observer())
    return searched


def test_a_study_adds_its_trainings(tiny: Tiny, study: nas.Study, tmp_path: Path) -> None:
    """All rungs, and the repeats by `confirm`; what both have agrees to the last bit."""
    results = study.folder.parent
    order = [
        tables.merge(tmp_path / f"{i}" / "all", names, results_dir=results)
        for i, names in enumerate(([str(tiny.file), "micro"], ["micro", str(tiny.file)]))
    ]
    assert order[0].read_bytes() == order[1].read_bytes()
    table = tables.load(order[0])
    assert set(tiny.table.keys) <= set(table.keys)
    for candidate in study.candidates.values():
        share = 1.0 if candidate.status == "complete" else 0.5
        assert _bare(table.candidate(candidate.config_id, share)) == _bare(kept(candidate, share))
    assert any(table.seeds_of(candidate.config_id) == (0, 1) for candidate in study.front().values())


def _bare(candidate: Candidate) -> Candidate:
    return dataclasses.replace(candidate, provenance={}, recipe=dataclasses.replace(candidate.recipe, rungs=(1.0,)))


def test_records_of_other_versions_take_the_ids_of_today(tiny: Tiny) -> None:
    record = tiny.table.candidate(tiny.first)
    older = dataclasses.replace(record, config_id="0123456789ab")
    assert kept(older, 1.0) == record


def test_a_study_alone_is_a_table(study: nas.Study, tmp_path: Path) -> None:
    table = tables.load(tables.merge(tmp_path / "alone", ["micro"], results_dir=study.folder.parent))
    assert table.shares == (0.5, 1.0)
    assert all(value != value for value in table.signals(next(iter(table.networks))).values())


def test_a_study_of_another_space_may_come_along(tiny: Tiny, study: nas.Study) -> None:
    """Its images and recipe are the same; the axes stay those of the table."""
    other = _with(of_study(study), space__axes={"embed_dim": []})
    together = merged([Source("study", other, is_study=True), Source("table", tiny.table.contents())])
    assert together.settings.identity["space.axes"] == tiny.table.settings.identity["space.axes"]
    with pytest.raises(TableError, match=r"recipe\.epochs differ"):
        merged([Source("table", tiny.table.contents()), Source("study", _with(other, recipe__epochs=9), is_study=True)])


def test_what_is_neither_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study in"):
        tables.merge(tmp_path / "out", ["nothing"], results_dir=tmp_path)
    with pytest.raises(TableError, match="cannot be read"):
        tables.merge(tmp_path / "out", ["nowhere.safetensors"])
    with pytest.raises(TableError, match=r"'out\.safetensors' cannot name a file"):
        tables.merge(tmp_path / "out.safetensors", [tiny.file])
    with pytest.raises(TableError, match="there is nothing to merge"):
        tables.merge(tmp_path / "out", [])
