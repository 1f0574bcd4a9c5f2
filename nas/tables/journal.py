"""The trainings of a table while it grows: runs in a journal of their own, with the signals of their networks."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.errors import RecordError, TableError
from nas.replicates import runs
from nas.studies import storage as storages
from nas.tables.contents import SIGNALS, Contents, Key, Settings, Signals, kept
from nas.training import Candidate
from nas.typed import hold_value
from spikformer.fields import nearest

_WHAT = "table"
_SETTINGS, _SPACE, _ACCOUNT, _SIGNALS = "settings", "space", "account", "signals:"


def folder_of(results: str | Path, name: str) -> Path:
    """Where the journal of a table lies.

    Raises:
        TableError: the name is none for a folder and a file.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w-]{0,99}", name, re.ASCII):
        raise TableError(f"table name {name[:60]!r} cannot name a file. Use up to 100 letters, digits, - and _")
    return Path(results) / "tables" / name


@dataclass(frozen=True)
class Journal(runs.Runs):
    """Runs that are kept as a table keeps them.

    Attributes:
        on_added: is called once a training is stored.
    """

    on_added: Callable[[Key, Candidate], None] = lambda _key, _candidate: None

    def add(self, run: runs.Run, candidate: Candidate) -> None:
        """Keep a record, without what no table holds."""
        stripped = kept(candidate, run.share)
        super().add(run, stripped)
        self.on_added(Key(candidate.config_id, run.share, candidate.seed), stripped)

    def keep_signals(self, config_id: str, signals: Signals) -> None:
        """Keep the signals of an untrained network."""
        self.optuna.set_user_attr(f"{_SIGNALS}{config_id}", [signals[name] for name in SIGNALS])

    @property
    def signals(self) -> dict[str, Signals]:
        """config_id -> signals, of the networks whose signals were computed; those that cannot be read are left out."""
        attributes: Mapping[str, object] = self.optuna.user_attrs
        stored = {key.removeprefix(_SIGNALS): v for key, v in attributes.items() if key.startswith(_SIGNALS)}
        return {identity: of for identity, values in stored.items() if (of := _signals_of(values)) is not None}

    @property
    def trainings(self) -> dict[Key, Candidate]:
        """The records of all trainings."""
        every = [(trained.share, kept(trained.candidate, trained.share)) for trained in self.done().values()]
        return {Key(record.config_id, share, record.seed): record for share, record in every}

    @property
    def settings(self) -> Settings:
        """What all its trainings share.

        Raises:
            TableError: the journal is damaged.
        """
        stored = self.optuna.user_attrs
        try:
            hold_value(_SETTINGS, stored[_SETTINGS], dict[str, object])
            hold_value(_SPACE, stored[_SPACE], str)
            hold_value(_ACCOUNT, stored[_ACCOUNT], list[str])
        except (KeyError, TypeError, RecordError) as error:
            raise TableError(f"the journal {self.optuna.study_name} is damaged ({error}). Restore a backup") from None
        return Settings(stored[_SPACE], stored[_SETTINGS], tuple(stored[_ACCOUNT]))

    def contents(self) -> Contents:
        """All that was trained so far."""
        trainings, signals = self.trainings, self.signals
        networks = {key.config_id for key in trainings}
        return Contents(self.settings, trainings, {i: of for i, of in signals.items() if i in networks})


def _signals_of(values: object) -> Signals | None:
    if not isinstance(values, list) or len(values) != len(SIGNALS) or any(type(v) not in (int, float) for v in values):
        return None
    return dict(zip(SIGNALS, map(float, values), strict=True))


def begun(name: str, folder: Path, settings: Settings) -> Journal:
    """The journal of a table, made if it is not there.

    Raises:
        StudyError: it was begun with other settings.
    """
    log = runs.opened(name, _WHAT, storages.journal(folder), settings.identity)
    for key, value in ((_SPACE, settings.space), (_ACCOUNT, list(settings.account))):
        if log.optuna.user_attrs.get(key) != value:
            log.optuna.set_user_attr(key, value)
    return Journal(log.optuna)


def existing(name: str, results: str | Path) -> Journal:
    """The journal of a table that was begun.

    Raises:
        TableError: there is none.
    """
    folder = folder_of(results, name)
    with storages.quiet_optuna():
        known = storages.known_studies(folder.parent, None)
        log = runs.existing(name, _WHAT, storages.journal(folder)) if name in known else None
    if log is None:
        listed = nearest(name, known) if known else "Begin one with `table run`"
        raise TableError(f'no table "{name}" is in {folder.parent}. {listed}')
    return Journal(log.optuna)


__all__ = ["Journal", "begun", "existing", "folder_of"]
