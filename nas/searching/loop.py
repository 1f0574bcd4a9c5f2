"""The loop over candidates: propose, train, measure, record, until the study is done."""

import contextlib
from collections.abc import Mapping

from optuna.trial import FrozenTrial

from nas.engines import ATTEMPTS, Died, Dispatcher, Done, Job, given_up
from nas.errors import StudyError
from nas.progress import Observer
from nas.searching import setup
from nas.searching.forecast import Forecast
from nas.searching.proposals import Proposal, Proposer, settings
from nas.searching.retention import Retention
from nas.searching.settings import SEARCHER, SearchSettings
from nas.searching.setup import Setup
from nas.searching.stopping import Goal, StoppingRule
from nas.searching.writer import Ending, TrialWriter, failed, recorded, refused, replayed
from nas.spaces import SearchSpace
from nas.studies import DIED, INTERRUPTED, Drawn, Leases, Snapshot, Study, starting
from nas.studies import constraints as limits
from nas.studies import trials as attributes
from nas.training import Candidate, in_words
from spikformer.config import SpikformerConfig

_CLAIMS_LOST = 3  # to other processes, before a look at what they do


def run(loaded: SearchSpace, goal: Goal, settings: SearchSettings, observer: Observer) -> Study:
    """The search that `nas.searching.opening.search` has checked."""
    with setup.opened(loaded, goal, settings, observer) as begun:
        Loop(begun, settings.sampler, begun.space.references if settings.references else {}).run()
    return begun.study


class Loop:
    """One process's part in a study: it proposes, an engine trains, it records; others may do the same.

    It reads the storage twice for each training, after the claim and after the record. What it decides between these
    moments follows from one snapshot.
    """

    snapshot: Snapshot
    proposer: Proposer
    stopping: StoppingRule

    def __init__(self, begun: Setup, sampler: str, references: Mapping[str, SpikformerConfig]) -> None:
        self.setup, self.study, self.space, self.observer = begun, begun.study, begun.space, begun.observer
        self.sampler, self.references = sampler, references
        self.leases = Leases(self.study.optuna)
        self.writer = TrialWriter(self.study, begun.identity, self.leases)
        self.retention = Retention(self.study, self.observer)
        self._reason = ""

    def run(self) -> None:
        """Train until the goal is reached or the space is exhausted."""
        with self.setup.engine as engine, self.leases:
            try:
                with starting.announced(self.study.optuna, self.leases.owner):
                    self.on_idle()
                    self.proposer, self.stopping = _plan(self.setup, self.snapshot, self.sampler, self.references)
                Dispatcher(engine, self.setup.trainer, self.observer, ends_when_all_die=True).run(self)
            except BaseException as error:
                self._release(error)
                raise
        if self._reason:
            self.observer.notice(self._reason)
        if not self.study.candidates_in(self.snapshot):
            raise StudyError(
                f"study {self.study.name} has no network: none was found within "
                f"{limits.in_words(self.space.constraints) or 'the budget'}. Loosen this limit"
            )

    def next_job(self) -> Job | None:
        """Claim the next training; None while there is none."""
        lost = 0
        while lost < _CLAIMS_LOST:
            proposal = self._proposal()
            drawn = self.proposer.draw(self.snapshot, proposal) if proposal is not None else None
            if proposal is None or drawn is None:
                return None
            # A repetition is no new network, and what a budget buys is an estimate: neither has a limit.
            networks = self.setup.goal.trials if "retry_of" not in proposal.attributes else None
            claim = self.writer.claim(proposal, drawn, networks)
            if claim is not None:
                self.snapshot = claim.snapshot
                job = _job(claim.trial, drawn, self.setup)
                if self._needs_training(job, claim.trial):
                    return job
            lost += claim is None
            self.on_idle()
        return None

    def waits(self) -> bool:
        """Whether another process trains: what it finds may call for more, and it may die."""
        running = len(self.snapshot.running)
        if running:
            self.observer.waiting(running)
        return running > 0

    def on_done(self, done: Done) -> None:
        """Keep what a training gave."""
        job = done.job
        self.retention.keep(done, self.snapshot)
        if not self._record(job, done.candidate):
            self.observer.notice(f"{job.label} was taken over by another process, because this one seemed dead.")
            self.on_idle()
            return
        self.setup.trainer.forget(job)
        stored = self.retention.stored()
        self.on_idle()
        self.retention.drop(stored, self.snapshot)
        feasible = list(self.study.keeping(self.study.candidates_in(self.snapshot)).values())
        label = f"{job.label}, {in_words(done.candidate)}"
        self.observer.on_candidate(label, done.candidate, feasible, self.study.energy_of)

    def on_died(self, dead: Died) -> bool:
        """Leave a training that ended with its process to be repeated."""
        self.writer.close(dead.job.trial, failed(dead.why))
        self.on_idle()
        return True

    def on_idle(self) -> None:
        """Look what other processes did, and reclaim what they left."""
        self.snapshot = self.study.snapshot()
        if self.leases.reclaim(self.snapshot):
            self.snapshot = self.study.snapshot()

    def _proposal(self) -> Proposal | None:
        """The next training, or None while there is none."""
        outlook = self.stopping.outlook(self.snapshot)
        rungs = [attributes.rung_of(trial) for trial in self.snapshot.furthest.values()]
        self.observer.counted(len(rungs), self.stopping.expected, rungs.count(len(self.setup.images) - 1))
        proposal = self.proposer.next(self.snapshot, new=outlook.is_short and not outlook.is_still)
        if proposal is None and outlook.is_open and not outlook.is_still:  # how many the budget buys was an estimate
            proposal = self.proposer.next(self.snapshot, new=True)
        self._reason = self.stopping.reason(outlook, proposal.rung if proposal is not None else None, self.snapshot)
        return None if self._reason else proposal

    def _needs_training(self, job: Job, trial: FrozenTrial) -> bool:
        """Whether a claimed trial is trained; else it ends at once: evaluated already, too large, or given up."""
        equal = self.snapshot.furthest.get(job.config.config_id)
        if equal is not None and attributes.rung_of(equal) >= attributes.rung_of(trial):
            self.writer.close(trial.number, replayed(equal))
        elif not self.proposer.allowed(job.config):
            self.writer.close(trial.number, self._refusal(job.config))
        elif attributes.attempt_of(trial) > ATTEMPTS:
            last = self.snapshot.trials[trial.user_attrs["retry_of"]]
            candidate = given_up(job, self.setup.trainer, last.user_attrs.get("reason", DIED))
            self._record(job, candidate)
            self.observer.notice(f"{job.label}: {candidate.reason}")
        else:
            return True
        return False

    def _refusal(self, config: SpikformerConfig) -> Ending:
        return refused(self.proposer.violations(config), limits.misfit(config, self.space.constraints))

    def _record(self, job: Job, candidate: Candidate) -> bool:
        """End a trial with a record; False where another process ended it already."""
        before = self.snapshot.furthest.get(candidate.config_id)
        rung = attributes.rung_of(self.snapshot.trials[job.trial])
        is_last = rung == len(self.setup.images) - 1
        ending = recorded(candidate, rung, is_last, before, self.space.constraints, self.study.energy_of)
        return self.writer.close(job.trial, ending)

    def _release(self, error: BaseException) -> None:
        """At an interruption: the next run, or another process, repeats what was being trained."""
        ours = isinstance(error, KeyboardInterrupt | StudyError)
        why = INTERRUPTED if ours else f"{type(error).__name__}: {error}"
        for number in list(self.leases.held):
            with contextlib.suppress(Exception):  # such as a full disk: then the next run sees that this one ended
                self.writer.close(number, failed(why))


def _plan(
    begun: Setup, snapshot: Snapshot, sampler: str, references: Mapping[str, SpikformerConfig]
) -> tuple[Proposer, StoppingRule]:
    """What proposes trainings and what ends them, once it is known how many networks there will be; says so."""
    forecast, constraints = Forecast(begun, snapshot, references), begun.space.constraints
    notice = begun.observer.notice
    expected = forecast.expected()
    forecast.announce(expected)
    chosen = settings(begun.space.recipe.rungs, expected, forecast.per_promotion)
    proposer = Proposer(begun.study, begun.space, begun.trainer.seed, references, chosen, sampler, begun.prior)
    for name in sorted(references.keys() - proposer.references.keys()):
        notice(f"{name} is left out, because it exceeds {limits.in_words(constraints)}.")
    if sampler != SEARCHER and len(begun.images) > 1:
        notice(f"{sampler} learns only from networks trained in full. See docs/search.md.")
    return proposer, StoppingRule(begun.study, begun.goal, begun.images, expected, proposer.startup)


def _job(trial: FrozenTrial, drawn: Drawn, begun: Setup) -> Job:
    """The training of a claimed trial."""
    reference, rung = trial.user_attrs.get("reference"), attributes.rung_of(trial)
    reference = reference if reference in begun.space.references else None
    amount = f" on {begun.images[rung]:,} {begun.study.sample}s" if len(begun.images) > 1 else ""
    label = f"trial {trial.number}{amount}"
    return Job(trial.number, label, drawn.config, reference, begun.space.recipe.rungs[rung])


__all__ = ["Loop", "run"]
