"""A search: which networks are tried, until when, and what is kept.

opening    `search`, which refuses what cannot be searched before torch is imported
loop       the loop of one process
settings   `SearchSettings`: all that a search may be told
setup      what a search begins with: space, images, study
warm_start  prior observations, out of other studies and tables
speed      how fast the networks of a space are trained, before any was
forecast   how many networks a study will have
proposals  which network is trained next, by the searcher or by a sampler of Optuna's
draws      networks by a sampler, at given choices, or at random
budget     how much a study may spend, and what that buys
stopping   when a study is done
writer     what is written into trials
retention  which weights and pictures are kept
artifacts  what optuna-dashboard shows of a network
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.searching.opening import recipe_of, search
    from nas.searching.proposals import reductions
    from nas.searching.settings import SearchSettings

__getattr__ = attributes(
    __name__,
    {
        "SearchSettings": "nas.searching.settings",
        "recipe_of": "nas.searching.opening",
        "reductions": "nas.searching.proposals",
        "search": "nas.searching.opening",
    },
)

__all__ = ["SearchSettings", "recipe_of", "reductions", "search"]
