"""Trainings beside those of a search: more seeds of what it found, and proxies held against full trainings.

runs          trainings that are known beforehand, kept in a study of their own
confirmation  `confirm`: more seeds, penalties, quantised counterparts
validation    `validate-proxy`: does a short training rank networks as a long one does?
"""

from nas.replicates import runs
from nas.replicates.confirmation import WHAT, confirm
from nas.replicates.runs import Trained
from nas.replicates.validation import (
    GATE_RECALL,
    GATE_TAU,
    Noise,
    Quality,
    Validation,
    against_printed,
    noise,
    promoted_at,
    proxy_toml,
    quality,
    recommended,
    thirds,
    validate_proxy,
)

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
