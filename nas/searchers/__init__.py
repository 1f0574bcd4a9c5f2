"""The searcher: which network to train next, and how far. It knows neither Optuna nor networks of torch.

networks      the networks to choose among
surrogate     a Gaussian process over configs and rungs
observations  what trainings showed
prior         what other studies showed before
encoding      choices as numbers
acquisition   expected hypervolume improvement
searcher      new networks and promotions
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.searchers.acquisition import Settings
    from nas.searchers.networks import ConfigSpace, Network
    from nas.searchers.observations import Observation, Record
    from nas.searchers.prior import NO_PRIOR, Prior
    from nas.searchers.searcher import Searcher

__getattr__ = attributes(
    __name__,
    {
        "NO_PRIOR": "nas.searchers.prior",
        "ConfigSpace": "nas.searchers.networks",
        "Network": "nas.searchers.networks",
        "Observation": "nas.searchers.observations",
        "Prior": "nas.searchers.prior",
        "Record": "nas.searchers.observations",
        "Searcher": "nas.searchers.searcher",
        "Settings": "nas.searchers.acquisition",
    },
)

__all__ = ["NO_PRIOR", "ConfigSpace", "Network", "Observation", "Prior", "Record", "Searcher", "Settings"]
