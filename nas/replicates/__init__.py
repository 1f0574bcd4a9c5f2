"""Trainings beside those of a search: more seeds of what it found, and proxies held against full trainings.

runs          trainings that are known beforehand, kept in a study of their own
training      those of them that are not done yet
confirmation  `confirm`: more seeds, penalties, quantised counterparts
selection     networks that a proxy is validated on
validation    `validate-proxy`: these trained by shares of the recipe and by all of it
rank_quality  does a short training rank networks as a long one does?
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.replicates.confirmation import WHAT, confirm
    from nas.replicates.rank_quality import (
        GATE_RECALL,
        GATE_TAU,
        Noise,
        Quality,
        against_printed,
        energy_mj,
        noise,
        promoted_at,
        proxy_toml,
        quality,
        recommended,
        thirds,
    )
    from nas.replicates.runs import Trained
    from nas.replicates.validation import Validation, validate_proxy

__getattr__ = attributes(
    __name__,
    {
        "GATE_RECALL": "nas.replicates.rank_quality",
        "GATE_TAU": "nas.replicates.rank_quality",
        "Noise": "nas.replicates.rank_quality",
        "Quality": "nas.replicates.rank_quality",
        "Trained": "nas.replicates.runs",
        "Validation": "nas.replicates.validation",
        "WHAT": "nas.replicates.confirmation",
        "against_printed": "nas.replicates.rank_quality",
        "confirm": "nas.replicates.confirmation",
        "energy_mj": "nas.replicates.rank_quality",
        "noise": "nas.replicates.rank_quality",
        "promoted_at": "nas.replicates.rank_quality",
        "proxy_toml": "nas.replicates.rank_quality",
        "quality": "nas.replicates.rank_quality",
        "recommended": "nas.replicates.rank_quality",
        "thirds": "nas.replicates.rank_quality",
        "validate_proxy": "nas.replicates.validation",
    },
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
    "energy_mj",
    "noise",
    "promoted_at",
    "proxy_toml",
    "quality",
    "recommended",
    "runs",
    "thirds",
    "training",
    "validate_proxy",
]
