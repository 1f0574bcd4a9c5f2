"""Search spaces: axes over a base config, read from TOML.

paths     dotted paths into a config
parameters  names of what a sampler is asked for
space     axes and the space of them
document  a TOML file whose errors name a line
effects   axes that would change no network
axes      the axes of a file
parser    a space from its file
"""

from nas.spaces.parameters import axis_of, by_axis
from nas.spaces.parser import check_blocks, load_space, space_names, with_proxy
from nas.spaces.space import Axis, Choice, SearchSpace, completed

__all__ = [
    "Axis",
    "Choice",
    "SearchSpace",
    "axis_of",
    "by_axis",
    "check_blocks",
    "completed",
    "load_space",
    "space_names",
    "with_proxy",
]
