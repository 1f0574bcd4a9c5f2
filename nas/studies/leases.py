"""Which process owns a trial, and whether it still lives.

A trial names the process that owns it, and that process writes a new heartbeat into it every half a minute. On the
owner's own machine the system knows at once whether the process has ended. Other machines wait until they have not
seen a new heartbeat for a while by their own clock, which no setting of a clock disturbs. A database's own heartbeat
is not used: the journal and gRPC have none, and one way serves all.

In a trial's attributes the owner is stored as "holder" and the heartbeat as "beat".
"""

import contextlib
import dataclasses
import logging
import os
import platform
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from nas.studies import handles
from nas.studies.trials import Snapshot
from nas.typed import hold

HEARTBEAT_S = 30.0
GRACE_S = 150.0
DIED = "its process ended"
INTERRUPTED = "interrupted"  # by the user or by an error of the search: no fault of the network
_LOGGER = logging.getLogger(__name__)
_THREAD, _ENDED_THREAD = "leases of ", "ended leases of "


@dataclass(frozen=True)
class Owner:
    """A search in a process, among all of all machines.

    Attributes:
        host: name of the machine, for people.
        machine: the machine since it was last started, and the namespace in which `pid` counts; empty if not known.
        pid: the process.
        began: when it began, in the system's ticks: numbers of processes are used again.
        search: which search of that process.
    """

    host: str
    machine: str
    pid: int
    began: str
    search: str

    @classmethod
    def here(cls) -> Self:
        """A new search of this process."""
        return cls(platform.node(), _machine(), os.getpid(), _began(os.getpid()) or "", uuid.uuid4().hex)

    def is_here(self) -> bool:
        """Whether the owner is a process of this machine, about which the system can be asked."""
        return bool(self.machine) and self.machine == _machine()

    def has_ended(self) -> bool:
        """Whether an owner on this machine has ended. A search of this process lives as long as its leases' thread."""
        if self.pid == os.getpid() and self.began == _began(self.pid):
            return not any(thread.name == _THREAD + self.search for thread in threading.enumerate())
        return _began(self.pid) != self.began


def owner_of(trial: FrozenTrial) -> Owner | None:
    """Whose a trial is; None of one that names nobody, as somebody else's program begins them."""
    try:
        owner = Owner(**trial.user_attrs["holder"])
        hold(owner)
    except (KeyError, TypeError):
        return None
    return owner


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return ""


def _began(pid: int) -> str | None:
    """When a process of this machine began; None if there is none, or only its remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # a program's name may hold anything
    return None if fields[0] in "ZX" else fields[19]


class Leases:
    """The trials that this process owns, kept alive by a thread: a training step may take longer than a heartbeat.

    Args:
        study: whose trials they are.

    Attributes:
        held: their numbers.
        owner: this search.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.study, self.owner = study, Owner.here()
        self.held: set[int] = set()
        self._seen: dict[int, tuple[object, float]] = {}
        self._looked = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name=_THREAD + self.owner.search, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.name = _ENDED_THREAD + self.owner.search  # the thread itself may still wait for a server
        self._end.set()
        self._thread.join(timeout=1.0)

    def attributes(self) -> dict[str, object]:
        """What a trial says from its beginning."""
        return {"holder": dataclasses.asdict(self.owner), "beat": _now()}

    def owns(self, trial: FrozenTrial) -> bool:
        """Whether a trial names this search as its owner."""
        return bool(trial.user_attrs.get("holder") == dataclasses.asdict(self.owner))

    def _keep_alive(self) -> None:
        while not self._end.wait(HEARTBEAT_S):
            for number in list(self.held):
                try:
                    handles.set_attribute(self.study, number, "beat", _now())
                except UpdateFinishedTrialError:  # another process declared this one dead
                    self.held.discard(number)
                except Exception as error:  # such as a full disk, which the search itself will meet
                    _LOGGER.warning("trial %d could not be kept alive: %s", number, error)
            with contextlib.suppress(Exception):
                self.abandoned(Snapshot.of(self.study))  # while a training goes on nobody else watches

    def abandoned(self, snapshot: Snapshot) -> list[FrozenTrial]:
        """Running trials whose owners are gone, as far as can be told by now."""
        if time.monotonic() - self._looked > GRACE_S / 2:  # this process was stopped, and maybe all others with it
            self._seen.clear()
        self._looked = time.monotonic()
        return [trial for trial in snapshot.running if trial.number not in self.held and self._is_abandoned(trial)]

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        owner = owner_of(trial)
        if owner is not None and owner.is_here():
            return owner.has_ended()
        beat = trial.user_attrs.get("beat")
        last, since = self._seen.get(trial.number, (None, 0.0))
        if trial.number not in self._seen or last != beat:
            self._seen[trial.number] = (beat, time.monotonic())
            return False
        return time.monotonic() - since > GRACE_S

    def reclaim(self, snapshot: Snapshot) -> list[int]:
        """Close the abandoned trials, so that they are repeated; those that were only queued are queued again.

        Returns:
            Numbers of the trials that were closed: by this process, however many see that an owner is gone.
        """
        return [trial.number for trial in self.abandoned(snapshot) if _close(self.study, trial)]


def _close(study: optuna.Study, trial: FrozenTrial) -> bool:
    queued = "config_id" not in trial.user_attrs and "fixed_params" in trial.system_attrs
    try:
        if not queued:
            handles.set_attribute(study, trial.number, "reason", DIED)
        return handles.set_state(study, trial.number, TrialState.WAITING if queued else TrialState.FAIL)
    except UpdateFinishedTrialError:  # another process was first
        return False


def _now() -> float:
    return round(time.time(), 3)


__all__ = ["DIED", "GRACE_S", "HEARTBEAT_S", "INTERRUPTED", "Leases", "Owner", "owner_of"]
