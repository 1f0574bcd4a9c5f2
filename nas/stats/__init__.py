"""Statistics that know nothing of networks.

pareto     fronts, hypervolume, the reference point and the knee
intervals  rank correlation, bootstrap, intervals of shares and of differences between means
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
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

__getattr__ = attributes(
    __name__,
    {
        "Interval": "nas.stats.intervals",
        "Verdict": "nas.stats.intervals",
        "bootstrapped": "nas.stats.intervals",
        "deviation": "nas.stats.intervals",
        "differences": "nas.stats.intervals",
        "enough": "nas.stats.intervals",
        "means": "nas.stats.intervals",
        "promoted": "nas.stats.intervals",
        "recall": "nas.stats.intervals",
        "tau_interval": "nas.stats.intervals",
        "verdict": "nas.stats.intervals",
        "wilson": "nas.stats.intervals",
    },
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
