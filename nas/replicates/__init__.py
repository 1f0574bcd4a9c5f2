"""Trainings beside those of a search: more seeds of what it found, and proxies held against full trainings.

runs          trainings that are known beforehand, kept in a study of their own
confirmation  `confirm`: more seeds, penalties, quantised counterparts
selection     networks that a proxy is validated on
validation    `validate-proxy`: these trained by shares of the recipe and by all of it
rank_quality  does a short training rank networks as a long one does?
"""

from nas.replicates import runs
from nas.replicates.confirmation import WHAT, confirm
from nas.replicates.rank_quality import (
    GATE_RECALL,
    GATE_TAU,
    Noise,
    Quality,
    against_printed,
    noise,
    promoted_at,
    proxy_toml,
    quality,
    recommended,
    thirds,
)
from nas.replicates.runs import Trained
from nas.replicates.validation import Validation, validate_proxy

__all__ = [
    "GATE_RECALL",
    "GATE_TAU",
    "WHAT",
    "Noise",
    "Quality",
    "Trained",
    "Validation",
    "against_printed",
    "confirm",
    "noise",
    "promoted_at",
    "proxy_toml",
    "quality",
    "recommended",
    "runs",
    "thirds",
    "validate_proxy",
]
