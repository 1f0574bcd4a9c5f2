"""Statistics that know nothing of networks.

pareto     fronts, hypervolume, the reference point and the knee
intervals  rank correlation, bootstrap, intervals of shares and of differences between means
"""

from nas.stats import pareto
from nas.stats.intervals import (
    Interval,
    Verdict,
    bootstrapped,
    deviation,
    differences,
    enough,
    means,
    promoted,
    recall,
    tau_interval,
    verdict,
    wilson,
)

__all__ = [
    "Interval",
    "Verdict",
    "bootstrapped",
    "deviation",
    "differences",
    "enough",
    "means",
    "pareto",
    "promoted",
    "recall",
    "tau_interval",
    "verdict",
    "wilson",
]
