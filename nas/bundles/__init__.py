"""Exported folders: a network, the recipe of its full training, and weights once it has them.

bundle    config.json, recipe.toml, card.md and weights
recipe    settings of a full training, from TOML; those of the published families lie in `spikformer/recipes`
networks  a published name, or a file with a config
"""

from nas.bundles import bundle, recipe
from nas.bundles.bundle import Bundle
from nas.bundles.networks import config_of
from nas.bundles.recipe import EXECUTION, TrainingRecipe

__all__ = ["EXECUTION", "Bundle", "TrainingRecipe", "bundle", "config_of", "recipe"]
