"""How long does the report of a large study take?

A few networks of the digits are searched; a study is made of their records, moved at random and under other ids, as
many as asked for, every fourth of them trained in full. Then `report` runs on it, as a user runs it.
"""

import argparse
import copy
import datetime
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
from header import header, note
from optuna.trial import FrozenTrial, TrialState

from nas.progress import Observer
from nas.searching import opening
from nas.spaces import load_space
from nas.studies import storage, trials
from nas.studies.study import Study

ROOT = Path(__file__).parent.parent


def sources(folder: Path) -> Study:
    return opening.search(load_space("spikformer_tiny"), 24, results_dir=folder, observer=Observer())


def made(study: Study, count: int, folder: Path) -> None:
    rng, start = random.Random(0), datetime.datetime(2026, 1, 1)
    last = max(trials.rung_of(trial) for trial in study.snapshot().trained)
    by_rung = [[t for t in study.snapshot().trained if trials.rung_of(t) == rung] for rung in (0, last)]
    folder.mkdir(parents=True)
    with storage.quiet_optuna():
        large = storage.create(folder.name, storage.journal(folder))
        large.set_user_attr("identity", study.identity)
        large.add_trials([moved(rng.choice(by_rung[i % 4 == 3]), i, rng, start) for i in range(count)])


def moved(source: FrozenTrial, i: int, rng: random.Random, start: datetime.datetime) -> FrozenTrial:
    said = copy.deepcopy({**source.user_attrs, "config_id": f"{i:012x}"})
    said.pop("reference", None)
    record = said["candidate"]
    record |= {"config_id": said["config_id"], "reference": None}
    record["search_val_accuracy"] = min(1.0, max(0.0, record["search_val_accuracy"] + rng.gauss(0, 0.02)))
    record["energy_mj"] *= 10 ** rng.gauss(0, 0.1)
    full = record["status"] == "complete"
    trial = optuna.trial.create_trial(
        state=TrialState.COMPLETE if full else TrialState.PRUNED,
        values=[record["search_val_accuracy"], math.log10(record["energy_mj"])] if full else None,
        params=source.params,
        distributions=source.distributions,
        user_attrs=said,
    )
    trial.datetime_start = start + datetime.timedelta(seconds=2 * i)
    trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=1)
    return trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        results = Path(place) / "results"
        made(sources(Path(place) / "few"), arguments.networks, results / "many")
        command = [sys.executable, str(ROOT / "cli.py"), "report", "--study", "many", "--results-dir", str(results)]
        taken = []
        for _ in range(arguments.rounds):
            begun = time.monotonic()
            subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            taken.append(time.monotonic() - begun)
            note(f"{taken[-1]:.1f} s")
        page, journal = (results / "many" / name for name in ("report.html", "journal.log"))
        print(header(f"python benchmarks/report_speed.py --networks {arguments.networks}"))
        print(f"\n{arguments.networks:,} networks, a journal of {journal.stat().st_size / 1e6:.0f} MB")
        print(f"report: {min(taken):.1f} to {max(taken):.1f} s, a page of {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
