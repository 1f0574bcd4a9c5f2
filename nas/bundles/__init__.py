"""Exported folders: a network, the recipe of its full training, and weights once it has them.

bundle    config.json, recipe.toml, card.md and weights
naming    folders and published names
networks  a published name, or a file with a config
recipe    settings of a full training, from TOML; those of the published families lie in `spikformer/recipes`
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.bundles.bundle import Bundle
    from nas.bundles.naming import check_name
    from nas.bundles.networks import config_of
    from nas.bundles.recipe import EXECUTION, TrainingRecipe

__getattr__ = attributes(
    __name__,
    {
        "Bundle": "nas.bundles.bundle",
        "EXECUTION": "nas.bundles.recipe",
        "TrainingRecipe": "nas.bundles.recipe",
        "check_name": "nas.bundles.naming",
        "config_of": "nas.bundles.networks",
    },
)

__all__ = ["EXECUTION", "Bundle", "TrainingRecipe", "bundle", "check_name", "config_of", "recipe"]
