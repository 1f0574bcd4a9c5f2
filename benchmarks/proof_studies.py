"""The studies of a proof: which there are, how each is run, and how it is kept in files that are committed."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from header import note
from kept import keep_journal, restore_journal
from proof_spaces import curve_spaces, in_full, ladder_space

import nas
from nas.errors import StudyError
from nas.progress import Observer, summary
from nas.spaces import SearchSpace
from nas.training import Candidate, images_seen

SEED = 0  # of the data split, and of every training that chooses
_KEEP_EVERY_S = 240.0  # with a training of some minutes behind it, ten minutes at most


@dataclass(frozen=True)
class Proof:
    """What a run of the proof is told.

    Attributes:
        results: folder of the studies and of all that can be made again.
        kept: folder of the files that a run continues from.
        networks: of the search.
        seeds: further trainings of each network.
        full_images: training images of a full training; 0 takes all.
        full_epochs: epochs of a full training, beside its cool-down.
    """

    space: SearchSpace
    data_dir: str | None
    device: str
    results: Path
    kept: Path
    networks: int = 200
    seeds: int = 3
    full_images: int = 10_000
    full_epochs: int = 40

    def settings(self) -> dict[str, object]:
        """Those on which results depend."""
        counts = ("networks", "seeds", "full_images", "full_epochs")
        return {"space": self.space.name} | {name: getattr(self, name) for name in counts}

    @property
    def further_seeds(self) -> range:
        """Those of the trainings that judge."""
        return range(SEED + 1, SEED + 1 + self.seeds)

    def curves(self) -> dict[str, SearchSpace]:
        """Name of a study -> the space of a published structure."""
        return curve_spaces(self.space)

    def studies(self) -> list[str]:
        """Names of all studies, those that the first two claims need first."""
        return ["search", *self.curves(), "random", "ladder"]

    def kept_journal(self, name: str) -> Path:
        """Where the journal of a study is kept."""
        return self.kept / f"{name}.journal.xz"


class Keeper(Observer):
    """Says what is trained, and keeps the journal every few minutes."""

    def __init__(self, name: str, journal: Path, path: Path) -> None:
        self._name, self._journal, self._path = name, journal, path
        self._kept_at = time.monotonic()

    def notice(self, text: str) -> None:
        note(f"{self._name}: {text}")

    def on_candidate(self, label: str, candidate: Candidate, _candidates: list[Candidate], _energy_of: str) -> None:
        note(f"{self._name}, {label}: {summary(candidate)}")

    def counted(self, _done: int, _total: int | None, _fully: int | None) -> None:
        if time.monotonic() - self._kept_at > _KEEP_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Keep the journal as it is now."""
        keep_journal(self._journal, self._path)
        self._kept_at = time.monotonic()


@contextlib.contextmanager
def keeping(proof: Proof, name: str) -> Iterator[Keeper]:
    """A study is run within: it continues from what is kept, and is kept however the run ends."""
    journal = proof.results / name / "journal.log"
    restore_journal(proof.kept_journal(name), journal)
    keeper = Keeper(name, journal, proof.kept_journal(name))
    try:
        yield keeper
    finally:
        keeper.keep()


def opened(proof: Proof, name: str) -> nas.Study:
    """A study that was run, from the results folder or else from what is kept.

    Raises:
        StudyError: it was not begun.
    """
    restore_journal(proof.kept_journal(name), proof.results / name / "journal.log")
    return nas.load_study(name, results_dir=proof.results)


def _run(proof: Proof, name: str, space: SearchSpace, networks: int | None, **settings: object) -> nas.Study:
    with keeping(proof, name) as keeper:
        return nas.search(
            space,
            networks,
            study=name,
            seed=SEED,
            data_dir=proof.data_dir,
            device=proof.device,
            results_dir=proof.results,
            observer=keeper,
            **settings,
        )


def search(proof: Proof) -> None:
    """The search that is judged, as a user runs it."""
    _run(proof, "search", proof.space, proof.networks)


def random_search(proof: Proof) -> None:
    """Random search, all networks in full, on as many images."""
    budget = str(opened(proof, "search").spent.images)
    _run(proof, "random", in_full(proof.space), None, budget=budget, sampler="RandomSampler", references=False)


def ladder(proof: Proof) -> None:
    """Networks of all sizes, in full, on as many images."""
    try:
        space = opened(proof, "ladder").space  # as it was begun: counting MACs takes a minute
    except StudyError:
        done = opened(proof, "search")
        space = ladder_space(proof.space, max(1, done.spent.images // images_of_one(done)))
    _run(proof, "ladder", space, space.size()[0])


def images_of_one(study: nas.Study) -> int:
    """Images that a training in full sees."""
    trained = next(candidate for candidate in study.candidates.values() if candidate.status == "complete")
    return images_seen(trained.train_images, trained.recipe)


def curves(proof: Proof) -> None:
    """Each published structure at every size."""
    for name, space in proof.curves().items():
        _run(proof, name, space, space.size()[0])


def confirm(proof: Proof) -> None:
    """The fronts of all studies with further seeds."""
    for name in proof.studies():
        _confirm(proof, name, ann_twin=False)


def counterparts(proof: Proof) -> None:
    """The quantised counterparts of the networks that the search found."""
    _confirm(proof, "search", ann_twin=True)


def _confirm(proof: Proof, name: str, *, ann_twin: bool) -> None:
    study = opened(proof, name)
    with keeping(proof, name) as keeper:
        nas.confirm(
            study,
            proof.seeds,
            ann_twin=ann_twin,
            data_dir=proof.data_dir,
            device=proof.device,
            observer=keeper,
        )


STUDIES: dict[str, Callable[[Proof], None]] = {
    "search": search,
    "random": random_search,
    "ladder": ladder,
    "curves": curves,
    "confirm": confirm,
}
