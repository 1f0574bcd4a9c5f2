"""Recipes: what the authors' files say, and nothing that a file or a flag says wrongly."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nas.bundles import bundle
from nas.bundles import recipe as recipes
from nas.bundles.recipe import TrainingRecipe
from nas.errors import TrainingError
from spikformer import published

_EXPECTED = json.loads((Path(__file__).parents[1] / "data" / "recipes.json").read_text())


@pytest.mark.parametrize(("network", "expected"), _EXPECTED["recipes"].items())
def test_recipes_are_the_authors(network: str, expected: dict[str, Any]) -> None:
    """Values from the authors' files (tests/data/recipes.json)."""
    _holds(bundle.read(network).recipe, expected)


@pytest.mark.parametrize(("name", "expected"), _EXPECTED["finetuning"].items())
def test_finetuning_is_the_authors(name: str, expected: dict[str, Any]) -> None:
    _holds(recipes.read(name), expected)


def _holds(recipe: TrainingRecipe, expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        found = getattr(recipe, key)
        assert (list(found) if isinstance(found, tuple) else found) == pytest.approx(value) if value else not found, key


@pytest.mark.parametrize("name", recipes.shipped())
def test_every_recipe_names_its_source_and_what_it_changes(name: str) -> None:
    recipe = recipes.read(name)
    assert len(recipe.source) > 20
    assert len(recipe.changes) > 20
    document = tomllib.loads((Path(published.__file__).parent / "recipes" / f"{name}.toml").read_text())
    for network in document.get("networks", {}):
        assert network in published.names()
        assert recipes.read(name, network) == bundle.read(network).recipe


def test_a_recipe_survives_its_file(tmp_path: Path) -> None:
    recipe = recipes.read("maxformer_cifar", "maxformer_cifar100_4_384")
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert recipes.read(str(tmp_path / "recipe.toml")) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "not valid TOML"),
        ("epoch = 3", 'unknown field "epoch". Did you mean "epochs"'),
        ("epochs = true", "epochs must be a whole number"),
        ("learning_rate = -1.0", r"learning_rate -1\.0 must be positive"),
        ("warmup_epochs = 400", "warmup_epochs 400 must be at most epochs 300"),
        ('rand_augment = "augment"', "is not a policy of timm"),
        ("workers = 1000000", "workers 1000000 must be at most 512"),
        ("networks = 3", '"networks" must be a table of settings for each network, but holds 3'),
        ("epochs = " + "[" * 5000, "not valid TOML"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=message):
        recipes.read(str(path))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(TrainingError, match='Did you mean "sdt2_imagenet"'):
        recipes.read("std2_imagenet")


def test_settings_are_read_as_toml_and_words_as_words() -> None:
    recipe = recipes.with_settings(
        TrainingRecipe(), ("optimizer=lamb", "epochs=70", "sync_norm=false", "crop_scale=[0.5, 1]", 'teacher="x"')
    )
    assert (recipe.optimizer, recipe.epochs, recipe.sync_norm) == ("lamb", 70, False)
    assert (recipe.crop_scale, recipe.teacher) == ((0.5, 1.0), "x")
