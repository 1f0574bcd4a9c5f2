"""A search: which networks are tried, until when, and what is kept.

loop       `search`
setup      arguments that make sense, and what is said of the study that they open
proposals  which network is trained next, by the searcher or by a sampler of Optuna's
budget     how much a study may spend, and what that buys
artifacts  what is kept of each network beside its record
"""

from nas.searching import loop, setup
from nas.searching.proposals import reductions

__all__ = ["loop", "reductions", "setup"]
