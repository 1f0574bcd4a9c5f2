"""Space files: what they hold, what they refuse, and that every sample is a valid network."""

import itertools
import random
from pathlib import Path

import pytest

from nas import space
from nas.errors import SpaceError
from spikformer import published
from tests.conftest import MICRO


@pytest.mark.parametrize("name", space.names())
def test_shipped_spaces(name: str) -> None:
    """Every sample is valid, is found again by its parameters, and references lie in the space."""
    loaded = space.load(name)
    rng = random.Random(0)
    for config in [*(loaded.random(rng) for _ in range(30)), *loaded.references.values()]:
        params = loaded.params(config)
        answers = dict(params)
        walked = loaded.sample(lambda parameter, _choices, answers=answers: answers[parameter])  # type: ignore[misc]
        assert loaded.params(walked) == params
    assert loaded.references


def test_size_counts_networks_not_spellings(micro: Path) -> None:
    """By hand: 2 widths x 2 residuals x (ssa with 2 head counts + sdsa, to which heads mean nothing)."""
    assert space.load(micro).size() == (2 * 2 * (2 + 1), True)


def test_heads_are_offered_where_they_divide_the_width(tmp_path: Path) -> None:
    """Widths 8 and 24 with heads 1, 3, 8: of six pairs only (8, 3) is impossible."""
    text = MICRO.replace("[8, 16]", "[8, 24]").replace("num_heads = [1, 2]", "num_heads = [1, 3, 8]")
    loaded = _space(tmp_path, _without_references(text))
    seen: set[tuple[int, int]] = set()
    offered: set[tuple[str, tuple[space.Choice, ...]]] = set()
    rng = random.Random(0)

    def suggest(name: str, choices: list[space.Choice]) -> space.Choice:
        offered.add((name, tuple(choices)))
        return rng.choice(choices)

    for _ in range(100):
        stage = loaded.sample(suggest).stages[0]
        seen.add((stage.embed_dim, stage.mixer.num_heads))
    assert seen == set(itertools.product([8, 24], [1, 3, 8])) - {(8, 3)}
    assert ("num_heads{1,8}", (1, 8)) in offered
    assert ("num_heads", (1, 3, 8)) in offered


def test_a_name_always_comes_with_the_same_choices(tmp_path: Path) -> None:
    """Optuna refuses a parameter whose choices change."""
    for name in space.names():
        offered: dict[str, list[space.Choice]] = {}
        rng = random.Random(1)

        def suggest(
            parameter: str,
            choices: list[space.Choice],
            offered: dict[str, list[space.Choice]] = offered,
            rng: random.Random = rng,
        ) -> space.Choice:
            assert offered.setdefault(parameter, choices) == choices
            return rng.choice(choices)

        for _ in range(50):
            space.load(name).sample(suggest)


def test_references_of_the_gpu_space_are_the_published_networks() -> None:
    references = space.load("spikformer_small").references
    assert references["Spikformer-4-384"] == published.config("spikformer_cifar10_4_384")
    assert references["Spikingformer-2-384"] == published.config("spikingformer_cifar10_2_384")


def test_friendly_axes_and_paths_are_one_mechanism(tmp_path: Path) -> None:
    axes = """"stages.0.mlp.ratio" = [1, 3]
stem.pool = [[true, true, false, false], [false, true, true, false]]
[references]
mine = { stem.pool = [false, true, true, false] }"""
    text = MICRO.replace('residual = ["sew", "ms"]\n', "").replace('attention = ["ssa", "sdsa"]', axes)
    loaded = _space(tmp_path, _without_references(text))
    assert loaded.references["mine"].stem.pool == (False, True, True, False)
    found = {(c.stages[0].mlp.ratio, c.stem.pool) for c in loaded.configs()}
    assert found == set(itertools.product([1.0, 3.0], [(True, True, False, False), (False, True, True, False)]))


def test_placements_move_one_neuron_each(tmp_path: Path) -> None:
    every = 'neuron_placement = ["published", "pool_first", "attention_map", "head"]\nresidual = ["sew", "ms"]'
    loaded = _space(tmp_path, MICRO.replace('residual = ["sew", "ms"]', every))
    assert {(c.stem.pool_order, c.stages[0].mixer.neuron_on, c.head.neuron) for c in loaded.configs()} == {
        ("after_neuron", "output", False),
        ("before_neuron", "output", False),
        ("after_neuron", "map", False),
        ("after_neuron", "output", True),
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "num_heads = [1, 2]",
            "num_head = [1, 2]",
            'line 13, [axes] num_head: unknown axis. Did you mean "num_heads"?',
        ),
        ("num_heads = [1, 2]", "num_heads = [1, 5]", "line 13, [axes] num_heads: 5 fits no network of this space"),
        ("num_heads = [1, 2]", "num_heads = [1, 5]", "5 does not divide embed_dim 8. Use one of 1, 2, 4, 8"),
        ("num_heads = [1, 2]", "num_heads = 2", "must be a list of choices, not 2"),
        ("num_heads = [1, 2]", "num_heads = []", "must be a list of choices, not []"),
        ("num_heads = [1, 2]", "num_heads = [2, 2]", "has a choice twice"),
        ("num_heads = [1, 2]", '"stages.0.mixer.head" = [1]', "unknown axis. Did you mean"),
        ("num_heads = [1, 2]", 'neuron_placement = ["hed"]', '"hed" is no placement. Did you mean "head"?'),
        ("[axes]", "[axis]", '[axis] unknown section. Did you mean "axes"?'),
        ("epochs = 1", "epoch = 1", '[proxy] epoch: unknown key. Did you mean "epochs"?'),
        ("epochs = 1", "epochs = 0", "[proxy] epochs: 0 must be at least 1"),
        ("epochs = 1", "epochs = 1.5", "[proxy] epochs: must be int, not 1.5"),
        ('augment = "none"', 'augment = "flip"', "use one of none, shift, shift_flip"),
        ("search_val = 0.1", "search_val = 0.9", "must be a share between 0 and 0.5"),
        ('dataset = "digits"', 'dataset = "mnist"', "use one of digits, cifar10"),
        (
            "stem.in_channels = 1",
            "stem.in_channel = 1",
            'line 6, [base] stem.in_channel: unknown field "stem.in_channel"',
        ),
        ("neuron.threshold = 0.5", 'published = "spikformer_4"', '[base] no published network is named "spikformer_4"'),
        ('residual = "sew", ', 'residual = "add", ', "residual 'add' is not one of the axis' choices sew, ms"),
        ('residual = "sew", ', "heads = 3, ", 'unknown axis or field "heads". Did you mean "num_heads"?'),
        ("num_heads = [1, 2]", "num_heads = [1979-05-27]", "has a choice that no field can have"),
        ("num_heads = [1, 2]", '"stem.image_size" = [8, 16]', "is fixed by the data"),
        ("num_heads = [1, 2]", '"stages.0.embed_dim" = [8]', 'sets stages.0.embed_dim, as does the axis "embed_dim"'),
        ("num_heads = [1, 2]", "# num_head = [1]\nnum_head = [1]", "line 14, [axes] num_head: unknown axis"),
        ("stem.in_channels = 1", "stem.in_channels = 2", "must be 1 (grey) or 3 (colour)"),
        ("stem.in_channels = 1", "heads = {}", 'unknown field "heads"'),
        ("mlp = { ratio = 1 }", "mlp = { ratio = 1e308 }", "is no whole number of channels"),
        ("mlp = { ratio = 1 }", f"mlp = {{ ratio = {'9' * 400} }}", "is larger than"),
        ('residual = "sew", ', "head.num_classes = 100, ", "head.num_classes is 100, the data of this space need 10"),
        ('residual = "sew", ', "num_heads = [1], ", "num_heads [1] is not one of the axis' choices"),
        ("[data]", '["("]\n[data]', "unknown section"),
        ("[data]", "[data", "is no valid TOML"),
        ("[axes]", "[axes]\n[proxy]", "is no valid TOML"),
    ],
)
def test_bad_files_are_refused_with_line_key_and_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MICRO
    with pytest.raises(SpaceError) as caught:
        _space(tmp_path, MICRO.replace(old, new, 1))
    assert message in str(caught.value)
    assert "space.toml" in str(caught.value)


def test_unknown_space_gives_the_nearest() -> None:
    with pytest.raises(SpaceError, match='Did you mean "spikformer_small"'):
        space.load("spikformer_smal")


def test_a_space_without_axes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="has no \\[axes\\]"):
        _space(tmp_path, "[base]\n")


def _without_references(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "miniature" not in line).replace("\n[references]\n\n", "\n")


def _space(folder: Path, text: str) -> space.SearchSpace:
    path = folder / "space.toml"
    path.write_text(text)
    return space.load(path)
