"""What a storage holds: the one room in which Optuna's own names are used to keep and read studies.

journal      the file of a study that needs no database: read strictly, and repaired at its end
storage      journals, databases and gRPC proxies
urls         what a storage is called when it is printed
handles      studies and trials by number; the one module that touches what Optuna keeps to itself
trials       what is written on an Optuna trial, and how it is read
claims       one training is begun by one process only
leases       whose training is running, and which were abandoned
constraints  violations of limits
records      the records of its trials, and what they say together
networks     the table of its networks, priced under a convention; it imports pandas, so it is loaded when asked for
shown        what a study says of itself in a notebook or a console
study        Study: candidates, front and settings of a search
identity     what results depend on, and whether a search may go on with a study
warm_start   what other studies showed before it began
preview      frames of a few recordings, for its report
starting     searches that have not trained anything yet
status       what is running now
"""

from nas.studies import (
    claims,
    constraints,
    handles,
    identity,
    preview,
    starting,
    status,
    storage,
    study,
    trials,
    urls,
    warm_start,
)
from nas.studies.claims import Claim, Drawn
from nas.studies.leases import DIED, INTERRUPTED, Leases
from nas.studies.preview import ShownFrames
from nas.studies.records import FullTraining, Spent, Training, trained_otherwise
from nas.studies.study import Study, load_study
from nas.studies.trials import Snapshot

__all__ = [
    "DIED",
    "INTERRUPTED",
    "Claim",
    "Drawn",
    "FullTraining",
    "Leases",
    "ShownFrames",
    "Snapshot",
    "Spent",
    "Study",
    "Training",
    "claims",
    "constraints",
    "handles",
    "identity",
    "load_study",
    "networks",
    "preview",
    "starting",
    "status",
    "storage",
    "study",
    "trained_otherwise",
    "trials",
    "urls",
    "warm_start",
]
