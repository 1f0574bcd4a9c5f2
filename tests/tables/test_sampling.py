"""The sample of a space: the same networks in the same order, however many are asked for."""

import dataclasses
from pathlib import Path

import pytest

from nas.costs import weighted_macs
from nas.errors import TableError
from nas.spaces import SearchSpace, load_space
from nas.tables import sampling
from nas.tables.sampling import Macs
from spikformer import SpikformerConfig
from tests.conftest import MICRO


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> SearchSpace:
    path = tmp_path_factory.mktemp("space") / "micro.toml"
    path.write_text(MICRO)
    return load_space(path)


class _Widths(Macs):
    """Stands for MACs, at once: how wide a network is, which decides most of them."""

    def of(self, configs: list[SpikformerConfig]) -> list[int]:
        return [config.stages[0].embed_dim for config in configs]


def test_a_larger_table_begins_with_the_networks_of_a_smaller_one(space: SearchSpace) -> None:
    every = sampling.networks(space, 12, _Widths())
    assert len({config.config_id for config in every}) == 12
    for count in range(1, 12):
        assert sampling.networks(space, count, _Widths()) == every[:count]


def test_the_thirds_of_cost_take_turns(space: SearchSpace) -> None:
    """By hand: of 12 networks 6 are 8 wide and 6 are 16 wide, so the cheap third is narrow and the dear one wide."""
    every = sampling.networks(space, 12, _Widths())
    widths = [config.stages[0].embed_dim for config in every]
    assert widths[0::3] == [8] * 4
    assert widths[2::3] == [16] * 4
    assert sorted(widths[1::3]) == [8, 8, 16, 16]


def test_a_space_too_large_to_list_comes_in_blocks(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five networks each; the last has what is left of the twelve."""
    monkeypatch.setattr(SearchSpace, "listable", False)
    monkeypatch.setattr(sampling, "BLOCK", 5)
    every = sampling.networks(space, 12, _Widths())
    assert len({config.config_id for config in every}) == 12
    assert sampling.networks(space, 7, _Widths()) == every[:7]
    with pytest.raises(TableError, match="has 12 networks, but --networks asks for 13"):
        sampling.networks(space, 13, _Widths())


def test_multiplications_are_counted_once(space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs, path, told = list(space.configs())[:2], tmp_path / "macs.json", list[tuple[str, int, int]]()
    macs = Macs(path, lambda text, done, total: told.append((text, done, total))).of(configs)
    assert macs == [weighted_macs(config) for config in configs]
    assert told == [("counting operations", 1, 2), ("counting operations", 2, 2)]
    monkeypatch.setattr(sampling, "_macs", lambda _config: 0)
    assert Macs(path).of(configs) == macs
    path.write_text("damaged")
    assert Macs(path).of(configs) == [0, 0]


def test_an_interruption_keeps_what_was_counted(space: SearchSpace, tmp_path: Path) -> None:
    def stop(_what: str, done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    configs, path = list(space.configs())[:4], tmp_path / "macs.json"
    with pytest.raises(KeyboardInterrupt):
        Macs(path, stop).of(configs)
    told: list[int] = []
    Macs(path, lambda _what, _done, total: told.append(total)).of(configs)
    assert told == [len({config.config_id for config in configs}) - 2] * len(told)


def test_too_many_networks_are_refused(space: SearchSpace) -> None:
    with pytest.raises(TableError, match="space micro has 12 networks, but --networks asks for 99"):
        sampling.networks(dataclasses.replace(space), 99, _Widths())
