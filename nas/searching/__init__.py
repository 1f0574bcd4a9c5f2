"""A search: which networks are tried, until when, and what is kept.

loop       `search`, and the loop of one process
settings   `SearchSettings`: all that a search may be told
setup      what a search begins with: space, images, study
forecast   how many networks a study will have
proposals  which network is trained next, by the searcher or by a sampler of Optuna's
draws      networks by a sampler, at given choices, or at random
budget     how much a study may spend, and what that buys
stopping   when a study is done
writer     what is written into trials
retention  which weights and pictures are kept
artifacts  what optuna-dashboard shows of a network
"""

from nas.searching import setup
from nas.searching.loop import search
from nas.searching.proposals import reductions
from nas.searching.settings import SearchSettings

__all__ = ["SearchSettings", "reductions", "search", "setup"]
