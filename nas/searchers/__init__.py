"""The searcher: which network to train next, and how far. It knows neither Optuna nor networks of torch.

searcher   observations, encoding and acquisition
surrogate  a Gaussian process over configs and rungs
"""

from nas.searchers.searcher import ConfigSpace, Network, Reading, Record, Searcher, Settings

__all__ = ["ConfigSpace", "Network", "Reading", "Record", "Searcher", "Settings"]
