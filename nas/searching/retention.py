"""What a search keeps of networks beside their records: weights of the front, and pictures for optuna-dashboard."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError

from nas import files
from nas.engines import Done
from nas.errors import OutputError
from nas.progress import Observer
from nas.searching import artifacts
from nas.studies import Snapshot, Study, handles
from nas.training import Candidate, front_of


class Retention:
    """Keeps files of a study's networks, and drops them. A file that cannot be kept costs a notice, never a record."""

    def __init__(self, study: Study, observer: Observer) -> None:
        self.study, self.observer = study, observer

    def keep(self, done: Done, snapshot: Snapshot) -> None:
        """Keep what belongs to a training that ended, before its trial is closed."""
        self._keep_weights(done, snapshot)
        self._keep_artifacts(done)

    def stored(self) -> list[Path]:
        """Files of weights that are there. List them before the snapshot for `drop`, which then knows their trials."""
        return list((self.study.folder / "weights").glob("*.safetensors"))

    def drop(self, stored: Iterable[Path], snapshot: Snapshot) -> None:
        """Drop weights of networks that left the front, once the record of what beat them is stored.

        Args:
            stored: files that were there before the snapshot: a file that came later may belong to a training which
                the snapshot does not know.
        """
        front = self._on_front(self.study.candidates_in(snapshot))
        for path in stored:
            if path not in front and path.stem not in snapshot.in_flight:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _keep_weights(self, done: Done, snapshot: Snapshot) -> None:
        if done.weights is None:
            return
        path, weights = self.study.weights(done.candidate), done.weights
        candidates = self.study.candidates_in(snapshot)
        if path not in self._on_front(dict(enumerate([*candidates.values(), done.candidate]))):
            return
        try:
            files.write(path, lambda partial: partial.write_bytes(weights))
        except OutputError as error:
            self.observer.notice(f"The weights of {done.candidate.config_id} were not saved: {error}")

    def _keep_artifacts(self, done: Done) -> None:
        """What optuna-dashboard shows of a trial; Optuna takes it for a running trial only."""
        trial = handles.trial_of(self.study.optuna, done.job.trial)
        try:
            artifacts.keep(trial, done.candidate, self.study.folder)
        except UpdateFinishedTrialError:  # taken over by another process
            pass
        except OSError as error:
            self.observer.notice(f"The card and curve of {done.candidate.config_id} were not saved: {error.strerror}")

    def _on_front(self, candidates: dict[int, Candidate]) -> set[Path]:
        """Files of the front's members, with and without the limits, which may change."""
        energy_of = self.study.energy_of
        fronts = front_of(candidates, energy_of), front_of(self.study.keeping(candidates), energy_of)
        return {self.study.weights(member) for front in fronts for member in front.values()}


__all__ = ["Retention"]
