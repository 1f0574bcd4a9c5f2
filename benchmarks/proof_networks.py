"""Networks of a proof's fronts with their further trainings: found ones, published ones, and pairs of both."""

import math
from dataclasses import dataclass

from proof_measures import Measured, pairs
from proof_studies import Proof, opened

import nas
from nas.replicates import WHAT, Trained, runs
from nas.training import Candidate, in_words


@dataclass(frozen=True)
class Network:
    """A network of a front with its further trainings.

    Attributes:
        chosen: the training that put it on the front.
        report: its further trainings, on report-val.
    """

    study: str
    trial: int
    chosen: Candidate
    report: Measured

    @property
    def words(self) -> str:
        """The network in words."""
        return in_words(self.chosen)


def confirmed(study: nas.Study, seeds: int) -> list[Network]:
    """The networks of a front whose further trainings all gave a result, by rising energy."""
    log = runs.beside(study.optuna, WHAT)
    done = [trained for trained in (log.done().values() if log is not None else ()) if trained.what == "repeat"]
    networks = []
    for trial, candidate in study.front().items():
        repeats = sorted((t for t in done if t.of == candidate.config_id), key=lambda t: t.candidate.seed)
        if len(repeats) >= seeds and all(t.candidate.status == "complete" for t in repeats[:seeds]):
            networks.append(_network(study.name, trial, candidate, repeats[:seeds]))
    return networks


def _network(study: str, trial: int, candidate: Candidate, repeats: list[Trained]) -> Network:
    records = [trained.candidate for trained in repeats]
    accuracies = tuple(100 * (record.report_val_accuracy or 0.0) for record in records)
    energies = tuple(math.log10(record.energy_mj or math.nan) for record in records)
    return Network(study, trial, candidate, Measured(accuracies, energies, candidate.report_val_images))


def published_and_found(proof: Proof) -> tuple[list[Network], list[Network]]:
    """Published: the confirmed networks of all curves. Found: those of the search that lie on no curve."""
    studies = [opened(proof, name) for name in proof.curves()]
    published = [network for study in studies for network in confirmed(study, proof.seeds)]
    on_curves = {candidate.config_id for study in studies for candidate in study.candidates.values()}
    found = confirmed(opened(proof, "search"), proof.seeds)
    return published, [network for network in found if network.chosen.config_id not in on_curves]


def chosen_pairs(proof: Proof) -> list[tuple[Network, Network]]:
    """Found networks that are trained in full, each with its published partner."""
    published, found = published_and_found(proof)
    indices = pairs([n.report.point for n in found], [n.report.point for n in published])
    return [(found[i], published[j]) for i, j in indices]
