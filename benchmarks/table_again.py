"""Do trainings that take place now give what a table says, and do its counts price as new counts do?

    OMP_NUM_THREADS=1 python benchmarks/table_again.py FILE --networks 3

Networks are drawn from those that the table trained with one thread on a processor of this name; others may round
otherwise. Each of their trainings takes place again with its share and seed. Compared to the last bit are the
accuracies, the curve, the energy under the convention `measured` and, at share 1, the integer counts of each operation,
the firing rates, and energies under three conventions.
"""

import argparse
import random
from pathlib import Path

import torch
from header import header, note, table

from nas import tables
from nas.costs import energy
from nas.datasets import Splits, loaders
from nas.tables import Key, Table
from nas.training import Candidate, evaluate, provenance

CONVENTIONS = ("measured+repeat", "paper", "measured_mac")
_FIGURES = (
    *("status", "parameters", "train_images", "images_seen", "counted_images", "report_val_images", "history"),
    *("search_val_accuracy", "report_val_accuracy", "search_val_balanced", "report_val_balanced"),
    *("energy_mj", "energy_repeated_mj", "energy_error", "spike_operations", "real_macs", "dense_macs"),
)
_COUNTS = ("operations", "overheads", "firing_rates")


def differences(kept: Candidate, again: Candidate) -> list[str]:
    """Names of the figures and conventions that differ."""
    names = [*_FIGURES, *(_COUNTS if kept.operations else ())]
    found = [name for name in names if getattr(kept, name) != getattr(again, name)]
    if kept.operations:
        found += [name for name in CONVENTIONS if _energy_mj(kept, name) != _energy_mj(again, name)]
    return found


def _energy_mj(candidate: Candidate, convention: str) -> float:
    return energy.price(candidate.operations, candidate.counted_images, energy.convention(convention)).energy_mj


def repeatable(found: Table) -> dict[str, list[Key]]:
    """Trainings by network, of the networks all of whose trainings this process can repeat to the last bit."""
    here = provenance.machine(torch.device("cpu"))
    same = ("device", "processor", "threads")
    keys: dict[str, list[Key]] = {}
    for key, record in found.contents().trainings.items():
        keys.setdefault(key.config_id, [])
        if all(record.provenance[name] == here[name] for name in same):
            keys[key.config_id].append(key)
    return {network: trainings for network, trainings in keys.items() if trainings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = tables.load(arguments.file)
    splits = loaders.load(found.space, arguments.data_dir, int(found.identity["seed"]))
    if splits.fingerprint != found.identity["data.images"]:
        parser.error("the table was trained on other images. Give them with --data-dir")
    keys = repeatable(found)
    drawn = random.Random(arguments.seed).sample(sorted(keys), min(arguments.networks, len(keys)))
    rows = [_row(found, key, splits) for network in drawn for key in keys[network]]
    print(header(f"python benchmarks/table_again.py {arguments.file.name} --networks {arguments.networks}"))
    print(f"\n{len(keys)} of {len(found.networks)} networks can be repeated here; {len(drawn)} were\n")
    print(table([("network", "share", "seed", "search-val", *CONVENTIONS, "differs"), *rows]))


def _row(found: Table, key: Key, splits: Splits) -> tuple[str, ...]:
    kept = found.candidate(key.config_id, key.share, key.seed)
    again, _ = evaluate(kept.config, splits, found.space.recipe, key.seed, share=key.share)
    note(f"{key}: {again.search_val_accuracy}")
    accuracy = "" if kept.search_val_accuracy is None else f"{kept.search_val_accuracy:.2%}"
    energies = [f"{1e6 * _energy_mj(again, name):.4g} nJ" if kept.operations else "" for name in CONVENTIONS]
    different = ", ".join(differences(kept, again)) or "nothing"
    return (key.config_id, f"{key.share:g}", str(key.seed), accuracy, *energies, different)


if __name__ == "__main__":
    main()
