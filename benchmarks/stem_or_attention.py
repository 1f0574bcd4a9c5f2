"""Stem or attention: which axes move accuracy and energy of small spiking transformers on CIFAR-10?

Two studies by random search, each network trained in full once: one of `cifar10_cpu`, whose stem varies, and one of the
same space with one stem (`benchmarks/spaces/cifar10_one_stem.toml`), at equal images. The plan was fixed before the
first training:

* 60 networks each. The noise of a seed is 0.86 points there (standard deviation of the search-val accuracy), but
  networks that share one choice differ by more, about 1.7 points. Two choices of an axis with four, 15 networks each,
  are told apart with a power of 80 % if they are 1.7 * 2.8 * sqrt(2 / 15) = 1.7 points apart; of one with five, 12
  networks each, if they are 1.9 points apart. A second seed of half as many networks would tell less.
* A least squares fit of the search-val accuracy, and of the decimal logarithm of the energy, on all axes gives each
  choice's difference to the first choice of its axis, with its 95 % interval (t), and each axis's share of the variance
  that all others leave unexplained (partial eta squared), with its F test. Width, MLP ratio and time steps enter as
  categories like all others.
* Fronts are compared by hypervolume on report-val, from one reference point, with a bootstrap over networks.

The studies are kept compressed in `benchmarks/results/stem_or_attention/` after every training, and a run goes on from
these files alone.
"""

import argparse
import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from axis_effects import HEADINGS, Fit, design, effects
from header import header, note, table
from kept import keep_journal, restore_journal
from numpy.typing import NDArray

import nas
from nas.progress import Observer
from nas.spaces import Choice, load_space
from nas.spaces.parameters import axis_of
from nas.spaces.space import SearchSpace
from nas.stats import bootstrapped, pareto
from nas.training.candidate import Candidate, front_of

FOLDER = Path(__file__).parent
KEPT = FOLDER / "results" / "stem_or_attention"
SPACES = {"stems": "cifar10_cpu", "one_stem": str(FOLDER / "spaces" / "cifar10_one_stem.toml")}


class Keeper(Observer):
    """Tells of each training, and keeps the journal where it is committed."""

    def __init__(self, name: str, journal: Path) -> None:
        self.name, self.journal = name, journal

    def on_candidate(self, label: str, candidate: Candidate, candidates: list[Candidate], _energy_of: str) -> None:
        note(f"{self.name} {label}: {candidate.status} {candidate.search_val_accuracy}, {candidate.energy_mj} mJ")
        keep_journal(self.journal, kept_at(self.name))


def kept_at(name: str) -> Path:
    """Where the journal of a study is committed."""
    return KEPT / f"{name}.journal.xz"


def study(name: str, arguments: argparse.Namespace) -> nas.Study:
    journal = arguments.cache / name / "journal.log"
    restore_journal(kept_at(name), journal)
    if arguments.networks == 0:
        return nas.load_study(name, results_dir=arguments.cache)
    space = load_space(SPACES[name])
    found = nas.search(
        dataclasses.replace(space, recipe=dataclasses.replace(space.recipe, rungs=(1.0,))),
        arguments.networks,
        sampler="RandomSampler",
        study=name,
        references=False,
        data_dir=arguments.data_dir,
        device="cpu",
        results_dir=arguments.cache,
        observer=Keeper(name, journal),
    )
    keep_journal(journal, kept_at(name))
    return found


def _choices(space: SearchSpace, candidate: Candidate) -> dict[str, Choice]:
    return {axis_of(name): choice for name, choice in space.params(candidate.config).items()}


def compared(studies: dict[str, nas.Study]) -> list[str]:
    """Hypervolume and best accuracy of both studies."""
    trained = {name: _ranked(study) for name, study in studies.items()}
    reference = pareto.reference_point([_point(c) for found in trained.values() for c in found])
    lines = [f"Above {reference[0]:.1%} on report-val and below {10 ** reference[1]:.2e} mJ:"]
    for name, found in trained.items():

        def volume(rows: NDArray[np.intp], found: Sequence[Candidate] = found) -> float:
            front = front_of(dict(enumerate(found[i] for i in rows))).values()
            return 100 * pareto.hypervolume([_point(c) for c in front], reference)

        interval = bootstrapped(volume, len(found))
        images = sum(candidate.images_seen for candidate in found)
        best = max(found, key=lambda candidate: candidate.search_val_accuracy or 0.0)
        lines.append(
            f"  {name}: {len(found)} networks, {images:,} images, hypervolume {volume(np.arange(len(found))):.1f} "
            f"({interval.low:.1f} to {interval.high:.1f}), best {best.report_val_accuracy:.1%} on report-val "
            f"(chosen by search-val) at {best.energy_mj:.2e} mJ"
        )
    return lines


def _ranked(study: nas.Study) -> list[Candidate]:
    return [candidate for candidate in study.candidates.values() if candidate.point() is not None]


def _point(candidate: Candidate) -> pareto.Point:
    return candidate.report_val_accuracy or 0.0, math.log10(candidate.energy_mj or math.inf)


def report(name: str, study: nas.Study) -> None:
    space, found = study.space, _ranked(study)
    x_NP, names = design(space, [_choices(space, candidate) for candidate in found])
    unranked = [candidate.status for candidate in study.candidates.values() if candidate.point() is None]
    print(f"\n{name}: {len(found)} networks trained in full{f', and {len(unranked)} not ranked' if unranked else ''}")
    if len(found) <= len(names):
        print(f"They are too few for effects: there are {len(names)} choices, so train more")
        return
    accuracy = np.array([100 * (candidate.search_val_accuracy or 0.0) for candidate in found])
    energy = np.array([math.log10(candidate.energy_mj or math.nan) for candidate in found])
    for title, values, unit in (("search-val accuracy", accuracy, "points"), ("log10 energy", energy, "decades")):
        fit = Fit(x_NP, values)
        print(
            f"\n{title}: standard deviation {statistics.stdev(values):.2f} {unit}, {fit.spread:.2f} beside the axes' "
            f"own effects ({fit.freedom} degrees of freedom)\n"
        )
        print(table([HEADINGS, *effects(fit, names, space)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=60, help="of each study; 0 trains none and reports")
    parser.add_argument("--data-dir")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the studies")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    studies = {name: study(name, arguments) for name in SPACES}
    print(header("python benchmarks/stem_or_attention.py"))
    for name, found in studies.items():
        report(name, found)
    print()
    print("\n".join(compared(studies)))


if __name__ == "__main__":
    main()
