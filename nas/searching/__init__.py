"""A search: which networks are tried, until when, and what is kept.

loop       `search`
setup      arguments that make sense, and a study that was made with the same ones
proposals  which network is trained next, by the searcher or by a sampler of Optuna's
budget     how much a study may spend, and what that buys
artifacts  what is kept of each network beside its record
"""

from nas.searching import setup
from nas.searching.loop import search
from nas.searching.proposals import reductions
from nas.searching.setup import device_of, places_of

__all__ = ["device_of", "places_of", "reductions", "search", "setup"]
