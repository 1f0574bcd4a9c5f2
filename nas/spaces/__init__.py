"""Search spaces: axes over a base config, read from TOML, with what a search needs to know of data and training."""

from nas.spaces import space
from nas.spaces.space import Axis, Choice, Constraints, DataSettings, Recipe, SearchSpace

__all__ = ["Axis", "Choice", "Constraints", "DataSettings", "Recipe", "SearchSpace", "space"]
