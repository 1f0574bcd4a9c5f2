"""Ids of networks last: on record for published and random ones, and blind to fields that come later with a default."""

import dataclasses
import json
import random
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import spikformer.config
from nas.replicates import confirmation
from nas.studies import load_study
from spikformer import ConfigError, SpikformerConfig, identity, plugins, published
from spikformer.config import NeuronConfig
from tests import id_record
from tests.conftest import Run
from tests.helpers import Heard, random_config, small_config

FIRST = Path(__file__).parents[1] / "data" / "schemas" / "study_0.log"
REMEDY = (
    "Studies hold ids, so they must stay. If a field is new, give it a constant default with which older networks stay "
    "as they are, and write the record anew with `python -m tests.id_record`: its default is added. If a published "
    "network was corrected, write it anew too. If a default, the name of a field or what canonical() holds for equal "
    "changed on purpose, raise VERSION in spikformer/identity.py first: all ids change."
)


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return dict(json.loads(id_record.FILE.read_text()))


def test_published_networks_have_the_ids_on_record(record: dict[str, Any]) -> None:
    ids = {name: published.config(name).config_id for name in published.names()}
    changed = {name: (old, ids.get(name)) for name, old in record["published"].items() if ids.get(name) != old}
    assert not changed, REMEDY
    assert set(ids) == set(record["published"]), f"Networks are new. {REMEDY}"


def test_random_networks_have_the_ids_on_record(record: dict[str, Any]) -> None:
    """They are written out in full, so that a default that changes does not change them too."""
    ids = {i: SpikformerConfig.from_dict(values).config_id for i, values in id_record.networks(record).items()}
    assert len(ids) == id_record.NETWORKS
    assert {old: new for old, new in ids.items() if old != new} == {}, REMEDY


def test_defaults_are_those_on_record(record: dict[str, Any]) -> None:
    """Else a network of the new default takes the id that one of the old default has in older studies."""
    assert id_record.defaults() == record["defaults"], REMEDY


def test_the_record_is_of_this_version(record: dict[str, Any]) -> None:
    assert record["version"] == identity.VERSION, REMEDY
    ids = [*record["published"].values(), *record["random"]]
    assert all(identity.is_id(i) and i.startswith(f"n{identity.VERSION}-") for i in ids)
    assert id_record.FILE.stat().st_size < 2**20


@pytest.mark.parametrize("part", id_record.PARTS)
def test_a_part_has_the_values_that_its_defaults_say(part: Any) -> None:
    """A value computed from other fields would be hashed always; and every field has a default today."""
    defaults = identity.defaults_of(part)
    assert {field.name: getattr(part(), field.name) for field in dataclasses.fields(part)} == defaults
    assert identity.distinguishing(part()) == {}


def test_parts_are_all_that_a_network_has() -> None:
    hints = [hint for part in id_record.PARTS for hint in get_type_hints(part).values()]
    nested = {kind for hint in hints for kind in (hint, *get_args(hint)) if dataclasses.is_dataclass(kind)}
    assert nested == {*id_record.PARTS[1:], type(NeuronConfig().options)}


@pytest.mark.parametrize("text", ["n1-0123456789ab", "n12-0123456789ab", "0123456789ab"])
def test_an_id_is_a_file_name(text: str) -> None:
    assert identity.is_id(text)


@pytest.mark.parametrize(
    "text", ["", "n1-0123456789a", "n1-0123456789ab\n", "n0-0123456789ab", "../0123456789ab", "n1-"]
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert not identity.is_id(text)


def test_by_hand_the_fields_that_differ_are_told() -> None:
    """Of a mixer also those where it differs from other mixers, not from the one that a stage has by default."""
    config = SpikformerConfig.from_dict(
        {
            "neuron": {"tau": 3},
            "stages": [
                {"mixer": {"kind": "ssa", "num_heads": 12}},
                {"down": {"kind": "conv"}, "mixer": {"kind": "sdsa"}, "local": {"kind": "dwconv", "kernel_size": 3}},
                {"embed_dim": 384, "mixer": {"kind": "ssa"}, "mlp": {"ratio": 0.5}},
            ],
        }
    )
    assert identity.distinguishing(config) == {
        "neuron": {"tau": 3},
        "stages": [
            {},
            {"down": {"kind": "conv"}, "mixer": {"kind": "sdsa"}, "local": {"kind": "dwconv", "kernel_size": 3}},
            {"mixer": {}, "mlp": {"ratio": 0.5}},
        ],
    }


def test_ids_are_equal_where_canonical_forms_are() -> None:
    """All pairs of 1,600 networks, half of which are another one written differently, or nearly so."""
    rng = random.Random(0)
    networks = [random_config(rng) for _ in range(300)] + [published.config(name) for name in published.names()]
    networks += [_varied(rng.choice(networks), rng) for _ in range(1600 - len(networks))]
    forms = [network.canonical() for network in networks]
    pairs = {(form, network.config_id) for form, network in zip(forms, networks, strict=True)}
    assert len({form for form, _ in pairs}) == len({i for _, i in pairs}) == len(pairs)
    assert len(set(networks)) > len(pairs) + 100  # some differ in fields without effect


@pytest.mark.parametrize("seed", range(20))
def test_an_id_survives_json(seed: int) -> None:
    config = _varied(random_config(random.Random(seed)), random.Random(seed))
    again = SpikformerConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again.config_id == config.config_id == config.canonical().config_id


def test_equal_numbers_are_one_network() -> None:
    """A whole number for a real one; minus zero, which equals zero."""
    plain = small_config("ms")
    for written, number in ((1, 1.0), (0, -0.0)):
        one, other = (_with_layer_scale(plain, value) for value in (written, number))
        assert one == other
        assert one.config_id == other.config_id
    assert _with_layer_scale(plain, 1).config_id != _with_layer_scale(plain, 2).config_id


def test_fields_that_come_later_leave_ids_as_they_are(later: types.ModuleType, record: dict[str, Any]) -> None:
    """One in each part, a new kind of head, and a new part, all with defaults."""
    for old, values in id_record.networks(record).items():
        assert later.SpikformerConfig.from_dict(values).config_id == old
    for name in published.names():
        values = published.config(name).to_dict()
        assert later.SpikformerConfig.from_dict(values).config_id == record["published"][name]


def test_fields_that_come_later_count_where_they_are_set(later: types.ModuleType) -> None:
    values: dict[str, Any] = small_config().to_dict()
    stage = values["stages"][0]
    changed = [
        values | {"added": 1},
        values | {"extra": {"bias": False}},
        values | {"head": values["head"] | {"kind": "late"}},
        values | {"stages": [stage | {"added": 1}]},
        values | {"stages": [stage | {"added": 2}]},
    ]
    ids = {later.SpikformerConfig.from_dict(each).config_id for each in (values, *changed)}
    assert len(ids) == 1 + len(changed)


def test_a_field_without_a_default_is_always_told() -> None:
    @dataclasses.dataclass(frozen=True)
    class Part:
        given: int
        usual: int = 0

    assert identity.distinguishing(Part(0)) == {"given": 0}
    assert identity.distinguishing(Part(0, 1)) == {"given": 0, "usual": 1}


BLOCK = """
from dataclasses import dataclass


class Plain:
    pass


class Other(Plain):
    pass


class Set(Plain):
    @dataclass(frozen=True)
    class Options:
        width: float = 1
        wide: bool = False
"""


@pytest.fixture
def block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Writes the module `late_blocks`, which configs may name, and forgets what was imported of it before."""

    def write(text: str) -> None:
        (tmp_path / "late_blocks.py").write_text(text)
        monkeypatch.delitem(sys.modules, "late_blocks", raising=False)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)  # written within a second, both look alike
        plugins.allow("late_blocks", folder=tmp_path)

    yield write
    sys.modules.pop("late_blocks", None)


def test_blocks_of_your_own_are_told_apart_by_class_and_options(block: Callable[[str], None]) -> None:
    block(BLOCK)
    written: list[tuple[str, dict[str, Any]]] = [("Plain", {}), ("Other", {})]
    written += [("Set", {}), ("Set", {"width": 2}), ("Set", {"width": 1.5}), ("Set", {"wide": True})]
    networks = [_with_block(part, *each) for part in ("local", "mixer") for each in written]
    ids = {network.config_id for network in networks}
    assert len(ids) == len(networks)
    assert _with_block("mixer", "Set", {"width": 1.0}).config_id == _with_block("mixer", "Set", {}).config_id
    assert _with_block("mixer", "Set", {"width": 2.0}).config_id == _with_block("mixer", "Set", {"width": 2}).config_id
    assert _with_block("mixer", "Set", {"wide": 1}).config_id == _with_block("mixer", "Set", {"wide": True}).config_id


def test_options_that_come_later_leave_ids_as_they_are(block: Callable[[str], None]) -> None:
    def ids() -> list[str]:
        return [_with_block("mixer", *each).config_id for each in (("Plain", {}), ("Set", {}), ("Set", {"width": 3}))]

    block(BLOCK)
    before = ids()
    later = BLOCK.replace("wide: bool = False", "wide: bool = False\n        added: int = 7")
    block(later.replace("    pass", "    @dataclass(frozen=True)\n    class Options:\n        added: int = 7", 1))
    assert _with_block("mixer", "Plain", {"added": 7}).config_id == before[0]
    assert ids() == before
    assert _with_block("mixer", "Plain", {"added": 8}).config_id not in before


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A folder of results with a study that was searched and confirmed before ids had a version."""
    folder = tmp_path / "results" / "first_version"
    folder.mkdir(parents=True)
    shutil.copy(FIRST, folder / "journal.log")
    return folder.parent


def test_a_study_of_the_first_ids_is_read(first: Path, tmp_path: Path, run_here: Run) -> None:
    """Under the ids that it has; nothing of it names them otherwise."""
    study = load_study("first_version", results_dir=first)
    ids = {candidate.config_id for candidate in study.candidates.values()}
    assert len(ids) == 3
    assert all(identity.is_id(i) and "-" not in i for i in ids)
    where = ("--results-dir", str(first))
    report = run_here("report", "--study", "first_version", *where)
    assert report.returncode == 0, report.stderr
    table = (first / "first_version" / "trials.csv").read_text()
    assert all(i in table for i in ids)
    assert "n1-" not in table
    exported = run_here("export", "--study", "first_version", "--out", str(tmp_path / "out"), *where)
    assert exported.returncode == 0, exported.stderr
    assert exported.stdout.count("wrote") == len(study.front()) == 2
    assert run_here("inspect", "first_version", "--trial", "1", *where).returncode == 0
    listed = run_here("studies", "--json", *where)
    assert [row["fully"] for row in json.loads(listed.stdout)] == [3]


def test_a_study_of_the_first_ids_is_not_searched_on(first: Path, micro: Path, run_here: Run) -> None:
    """It would train its networks again under new ids: one line says so, and no trial begins."""
    arguments = ("--space", str(micro), "--study", "first_version", "--trials", "4", "--device", "cpu")
    done = run_here("search", *arguments, "--results-dir", str(first))
    assert done.returncode == 1
    assert "\nError: the network ids in study first_version were made by another version" in done.stderr
    assert "--study NAME" in done.stderr
    assert done.stderr.count("\n") == 2  # the first says what is searched
    assert len(load_study("first_version", results_dir=first).optuna.trials) == 3


def test_repeats_of_the_first_ids_are_known_again(first: Path) -> None:
    """By their networks: what was confirmed once is not trained anew, the quantised twin included."""
    study, heard = load_study("first_version", results_dir=first), Heard()
    confirmation.confirm(study, 1, ann_twin=True, device="cpu", observer=heard)
    assert "All 4 training runs are done." in heard.text


def test_a_study_of_today_names_its_version_of_ids(tmp_path: Path, micro: Path, run_here: Run) -> None:
    arguments = ("search", "--space", str(micro), "--device", "cpu", "--results-dir", str(tmp_path / "results"))
    for networks in (1, 2):  # begun, and continued
        done = run_here(*arguments, "--trials", str(networks))
        assert done.returncode == 0, done.stderr
    study = load_study("micro", results_dir=tmp_path / "results")
    assert study.identity["ids"] == identity.VERSION
    assert len(study.snapshot().begun) == 2
    assert all(candidate.config_id == candidate.config.config_id for candidate in study.candidates.values())


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """`spikformer.config` as a later version may have it: every part has one more field, and so on."""
    names = ("stem_config", "parts", "canonical", "config")  # in the order in which they import each other
    sources = {name: Path(spikformer.config.__file__).with_name(f"{name}.py").read_text() for name in names}
    check = "    def __post_init__(self)"
    assert sum(source.count(check) for source in sources.values()) == len(id_record.PARTS)
    changes = {
        check: f'    added: int | str = "as ever"\n\n{check}',
        "    num_classes: int = 10\n": '    kind: str = "mean"\n    num_classes: int = 10\n',
        "    drop_path: float = 0.0\n": "    drop_path: float = 0.0\n"
        "    extra: HeadConfig = field(default_factory=lambda: HeadConfig(num_classes=5))\n",
        "from spikformer import canonical, identity\n": "import later_canonical as canonical\n"
        "from spikformer import identity\n",
    } | {f"from spikformer.{name} import": f"from later_{name} import" for name in names}
    for name, source in sources.items():
        for old, new in changes.items():
            source = source.replace(old, new)
        module = types.ModuleType(f"later_{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, module.__name__, "exec"), module.__dict__)  # the project's own text
    return module  # pyrefly: ignore[unbound-name]


def _with_layer_scale(config: SpikformerConfig, value: float) -> SpikformerConfig:
    stage = config.stages[0]
    scaled = dataclasses.replace(stage, mlp=dataclasses.replace(stage.mlp, layer_scale=value))
    return dataclasses.replace(config, stages=(scaled,))


def _with_block(part: str, name: str, options: dict[str, Any]) -> SpikformerConfig:
    values = small_config().to_dict()
    values["stages"][0][part] = {"kind": f"late_blocks:{name}", "options": options}
    return SpikformerConfig.from_dict(values)


def _varied(config: SpikformerConfig, rng: random.Random) -> SpikformerConfig:
    """The same network but for one or two fields, which may have no effect."""
    for _ in range(100):
        values = config.to_dict()
        for _ in range(rng.choice([1, 2])):
            table: Any = rng.choice(list(_tables(values)))
            name = rng.choice([name for name, value in table.items() if isinstance(value, bool | int | float)] or [""])
            if name:
                table[name] = rng.choice(_near(table[name]))
        try:
            return SpikformerConfig.from_dict(values)
        except ConfigError:
            continue
    return config


def _near(value: float) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    return [value * 2, value + 1] + ([value // 2] if isinstance(value, int) else [value / 2])


def _tables(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield values
    for value in values.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and item:
                yield from _tables(item)
