"""Does the searcher find a better front than random search, at equal images seen, with real trainings?

Both search a space with the same cut of the data; random search trains every network in full. An answer is the front by
search-val accuracy and energy among the networks trained in full so far; report-val accuracy, which neither looked at,
scores it: hypervolume in points of accuracy times decades of energy, from the reference point of all networks that
either trained in full (`nas.stats.pareto.reference_point`).
"""

import argparse
import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from header import header, note, table

import nas
from nas.progress import Observer
from nas.spaces import load_space
from nas.spaces.space import SearchSpace
from nas.stats import pareto
from nas.training.candidate import Candidate, front_of

PARTS = (0.25, 0.5, 0.75, 1.0)
METHODS = {"searcher": "searcher", "random, all in full": "RandomSampler"}


class Said(Observer):
    def on_candidate(self, label: str, candidate: Candidate, _candidates: list[Candidate], _energy_of: str) -> None:
        note(f"{label}: {candidate.search_val_accuracy}, {candidate.energy_mj} mJ")


def answers(study: nas.Study, images: int) -> list[list[pareto.Point]]:
    """The front after each part of the budget, as (report-val accuracy, log10 energy)."""
    found, spent = [], 0
    trained = [record for _, record in study.records_of(study.snapshot().trained)]
    totals = [spent := spent + candidate.images_seen for candidate in trained]
    for part in PARTS:
        within = {i: c for i, (c, total) in enumerate(zip(trained, totals, strict=True)) if total <= part * images}
        front = front_of(within).values()
        found.append([_point(candidate) for candidate in front])
    return found


def trained_in_full(study: nas.Study) -> list[pareto.Point]:
    """All of them, as (report-val accuracy, log10 energy)."""
    return [_point(candidate) for candidate in study.candidates.values() if candidate.point() is not None]


def _point(candidate: Candidate) -> pareto.Point:
    return candidate.report_val_accuracy or 0.0, math.log10(candidate.energy_mj or math.inf)


def search(source: SearchSpace, method: str, seed: int, images: int, arguments: argparse.Namespace) -> nas.Study:
    rungs = source.recipe.rungs if method == "searcher" else (1.0,)
    return nas.search(
        dataclasses.replace(source, recipe=dataclasses.replace(source.recipe, rungs=rungs)),
        budget=str(images),
        sampler=METHODS[method],
        study=f"{source.name}-{METHODS[method]}-{seed}",
        seed=seed,
        references=False,
        data_dir=arguments.data_dir,
        device=arguments.device,
        results_dir=arguments.cache,
        observer=Said(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="cifar10_cpu")
    parser.add_argument("--data-dir")
    parser.add_argument("--budget", type=int, default=300_000, help="images that each search may train on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the studies: an interrupted run goes on")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = load_space(arguments.space)
    studies = {
        (method, seed): search(source, method, seed, arguments.budget, arguments)
        for seed in range(arguments.seeds)
        for method in METHODS
    }
    found = {key: answers(study, arguments.budget) for key, study in studies.items()}
    reference = pareto.reference_point([point for study in studies.values() for point in trained_in_full(study)])
    volumes = {key: [100 * pareto.hypervolume(front, reference) for front in fronts] for key, fronts in found.items()}
    print(header(f"python benchmarks/real_search.py --space {source.name} --seeds {arguments.seeds}"))
    accuracy, energy_mj = reference[0], 10 ** reference[1]
    print(f"\nHypervolume on report-val above {accuracy:.1%} and below {energy_mj:.2e} mJ, mean (sd) of seeds")
    print(f"0 to {arguments.seeds - 1}, after parts of a budget of {arguments.budget:,} images\n")
    print(table([_headings(), *(_line(method, studies, volumes) for method in METHODS)]))
    wins = [volumes["searcher", s][-1] - volumes["random, all in full", s][-1] for s in range(arguments.seeds)]
    print(f"\nSearcher less random at the end, by seed: {', '.join(f'{w:+.2f}' for w in wins)}")


def _headings() -> tuple[str, ...]:
    return ("method", "networks", "in full", "hours", *(f"{part:.0%}" for part in PARTS))


def _line(
    method: str, studies: dict[tuple[str, int], nas.Study], volumes: dict[tuple[str, int], Sequence[float]]
) -> tuple[str, ...]:
    mine = [study for (name, _), study in studies.items() if name == method]
    by_part = list(zip(*(v for (name, _), v in volumes.items() if name == method), strict=True))
    networks = [len(study.snapshot().furthest) for study in mine]
    full = [sum(c.status == "complete" for c in study.candidates.values()) for study in mine]
    hours = [study.spent.hours for study in mine]
    means = [f"{statistics.mean(x):.1f} ({statistics.stdev(x) if len(x) > 1 else 0:.1f})" for x in by_part]
    return (method, _range(networks), _range(full), f"{statistics.mean(hours):.2f}", *means)


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


if __name__ == "__main__":
    main()
