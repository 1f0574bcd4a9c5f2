"""What a table of trained networks says: rank correlations, noise, axes, signals, conventions; as text and as plots.

    python benchmarks/table_says.py FILE --out FOLDER

Everything is computed from the file alone. Accuracy is that on the search-val images and energy that under the
convention `measured`, unless said otherwise. Kendall's tau-b orders networks; "within thirds" is the mean of the taus
within three equal parts of the networks by energy, and "beyond energy" is Kendall's partial tau,
(t_xy - t_xz t_yz) / sqrt((1 - t_xz^2)(1 - t_yz^2)) with z the energy (Kendall, Biometrika 32:277, 1942). Intervals are
those of 95 % by 1,000 bootstrap samples of networks.
"""

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from axis_effects import HEADINGS, Fit, Floats, Rows, design, effects
from header import header, table
from scipy import stats

from nas import tables
from nas.costs import energy
from nas.stats import bootstrapped, pareto
from nas.tables import Table

matplotlib.use("Agg")
from matplotlib import pyplot as plt

Statistic = Callable[[Floats, Floats, Floats], float]
_SIGNALS = ("gradient_l1", "gradient_l2", "parameters", "macs", "spikes", "firing_rate", "naswot", "sahd")


def tau(x: Floats, y: Floats, _energy: Floats) -> float:
    return float(stats.kendalltau(x, y).statistic)


def within_thirds(x: Floats, y: Floats, energy: Floats) -> float:
    thirds = np.array_split(np.argsort(energy, kind="stable"), 3)
    return float(np.nanmean([tau(x[third], y[third], energy) for third in thirds]))


def beyond_energy(x: Floats, y: Floats, energy: Floats) -> float:
    xy, xz, yz = tau(x, y, energy), tau(x, energy, energy), tau(y, energy, energy)
    rest = math.sqrt(max(0.0, (1 - xz**2) * (1 - yz**2)))
    return (xy - xz * yz) / rest if rest > 1e-9 else math.nan


def cell(statistic: Statistic, x: Floats, y: Floats, energy: Floats) -> str:
    """The value and its interval."""
    found = bootstrapped(lambda i: statistic(x[i], y[i], energy[i]), len(x))
    return "" if math.isnan(found.value) else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


class Facts:
    """The frame of a table, and one row a network with all that is known of seed 0."""

    def __init__(self, found: Table) -> None:
        self.table, self.frame = found, found.to_dataframe()
        self.frame["log_energy"] = np.log10(self.frame["energy_mj"].astype(float))
        first = self.frame[self.frame["seed"] == 0]
        self.full = first[(first["share"] == 1) & first["log_energy"].notna()].set_index("config_id")
        self.shares = sorted(self.frame["share"].unique())
        self.at = {share: first[first["share"] == share].set_index("config_id") for share in self.shares}

    def pair(self, share: float, column: str) -> tuple[Floats, Floats, Floats]:
        """Of the networks with a result at a share and in full: figure there, the same in full, final energy."""
        joined = self.full.join(self.at[share][[column]].add_suffix("_early")).dropna(subset=[f"{column}_early"])
        return _floats(joined[f"{column}_early"]), _floats(joined[column]), _floats(joined["log_energy"])


def _floats(column: "pd.Series[float]") -> Floats:
    return np.asarray(column, dtype=float)


def contents(facts: Facts) -> str:
    frame = facts.frame
    hours = frame["seconds"].sum() / 3600
    lines = [
        f"{len(facts.table.networks):,} networks, {len(frame):,} trainings in {hours:.1f} h, "
        f"{int(frame['images_seen'].sum()):,} images",
        *(f"  status {status}: {count:,}" for status, count in frame["status"].value_counts().items()),
        f"  accuracy in full {facts.full['accuracy'].min():.1%} to {facts.full['accuracy'].max():.1%}, energy "
        f"{facts.full['energy_mj'].min():.2e} to {facts.full['energy_mj'].max():.2e} mJ",
    ]
    return "\n".join(lines)


def of_shares(facts: Facts) -> str:
    """How a short training orders networks as a full one does."""
    rows: Rows = [("share", "networks", "tau", "within thirds", "beyond energy", "tau of energy", "energy to full")]
    for share in facts.shares[:-1]:
        early, full, energy = facts.pair(share, "accuracy")
        early_energy, _, _ = facts.pair(share, "log_energy")
        change = energy - early_energy
        rows.append(
            (
                f"{share:.0%}",
                str(len(early)),
                *(cell(statistic, early, full, energy) for statistic in (tau, within_thirds, beyond_energy)),
                f"{tau(early_energy, energy, energy):.2f}",
                f"{10 ** np.mean(change) - 1:+.0%} (sd of ln {np.std(change) * math.log(10):.2f})",
            )
        )
    return table(rows)


def noise(facts: Facts) -> str:
    """What another seed changes: the standard deviation of one training, and how two seeds order networks."""
    rows: Rows = [("share", "networks", "sd, points", "sd of ln energy", "tau of seeds 0 and 1", "within thirds")]
    for share in facts.shares:
        own = facts.frame[facts.frame["share"] == share]
        wide = own.pivot(index="config_id", columns="seed", values=["accuracy", "log_energy"]).astype(float)
        if 1 not in wide["accuracy"]:
            continue
        wide = wide[wide["accuracy"][0].notna() & wide["accuracy"][1].notna()]
        points = 100 * math.sqrt(wide["accuracy"].var(axis=1, ddof=1).mean())
        energies = math.log(10) * math.sqrt(wide["log_energy"].var(axis=1, ddof=1).mean())
        pair = (_floats(wide["accuracy"][0]), _floats(wide["accuracy"][1]), _floats(wide["log_energy"][0]))
        taus = [cell(statistic, *pair) for statistic in (tau, within_thirds)]
        rows.append((f"{share:.0%}", str(len(wide)), f"{points:.2f}", f"{energies:.3f}", *taus))
    return table(rows) if len(rows) > 1 else "No network has two seeds."


def of_axes(facts: Facts) -> str:
    choices = [facts.table.choices(identity) for identity in facts.full.index]
    x_NP, names = design(facts.table.space, choices)
    blocks = []
    for title, values, unit in (
        ("search-val accuracy", 100 * _floats(facts.full["accuracy"]), "points"),
        ("log10 energy", _floats(facts.full["log_energy"]), "decades"),
    ):
        fit = Fit(x_NP, values)
        spreads = f"standard deviation {values.std(ddof=1):.2f} {unit}, {fit.spread:.2f} beside the axes' own effects"
        blocks.append(f"{title}: {spreads}\n\n{table([HEADINGS, *effects(fit, names, facts.table.space)])}")
    return "\n\n".join(blocks)


def of_front(facts: Facts) -> str:
    """How many networks are on the true front, and how many of them another seed keeps there."""
    members = _front(facts.full)
    text = f"{len(members)} of {len(facts.full):,} networks ({len(members) / len(facts.full):.1%}) are on the front"
    second = facts.frame[(facts.frame["seed"] == 1) & (facts.frame["share"] == 1)].set_index("config_id")
    both = facts.full.index.intersection(second.dropna(subset=["log_energy"]).index)
    if len(both) > 1:
        one, other = _front(facts.full.loc[both]), _front(second.loc[both])
        text += (
            f"\nOf the {len(both)} with two seeds, {len(one)} are on the front of seed 0, {len(other)} on that of seed "
            f"1, and {len(one & other)} on both"
        )
    return text


def _front(frame: pd.DataFrame) -> set[str]:
    points = list(zip(_floats(frame["accuracy"]), _floats(frame["log_energy"]), strict=True))
    return {str(frame.index[i]) for i in pareto.front(points)}


@functools.cache
def of_signals(facts: Facts) -> Rows:
    """What is known before a training, and how it orders networks as a full training does."""
    energy, accuracy = _floats(facts.full["log_energy"]), _floats(facts.full["accuracy"])
    rows: Rows = [("signal", "tau", "within thirds", "beyond energy")]
    for share in facts.shares[:-1]:
        rows.append((f"training at {share:.0%}", *_cells(*facts.pair(share, "accuracy"))))
    rows += [(name, *_cells(_floats(facts.full[f"signal_{name}"]), accuracy, energy)) for name in _SIGNALS]
    rows.append(
        ("energy in full", cell(tau, energy, accuracy, energy), cell(within_thirds, energy, accuracy, energy), "")
    )
    return rows


def _cells(x: Floats, y: Floats, energy: Floats) -> list[str]:
    return [cell(statistic, x, y, energy) for statistic in (tau, within_thirds, beyond_energy)]


def of_conventions(facts: Facts) -> str:
    """How other prices order the same networks, and whose front they draw."""
    rows: Rows = [("convention", "tau with measured", "ratio, median", "on the front", "of these on measured's")]
    members = _front(facts.full)
    for name in energy.names():
        frame = facts.table.to_dataframe(name)
        own = frame[(frame["share"] == 1) & (frame["seed"] == 0)].set_index("config_id").loc[facts.full.index]
        own["log_energy"] = np.log10(own["energy_mj"].astype(float))
        front = _front(own)
        agreement = tau(_floats(own["log_energy"]), _floats(facts.full["log_energy"]), _floats(own["log_energy"]))
        ratio = 10 ** np.median(_floats(own["log_energy"]) - _floats(facts.full["log_energy"]))
        rows.append((name, f"{agreement:.3f}", f"{ratio:.2f}", str(len(front)), str(len(front & members))))
    return table(rows)


def plots(facts: Facts, out: Path) -> None:
    """Accuracy against energy by attention, short trainings against full ones, and what signals say."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 4))
    _front_plot(facts, panels[0])
    for share in facts.shares[:-1]:
        early, full, _ = facts.pair(share, "accuracy")
        panels[1].plot(100 * early, 100 * full, ".", markersize=3, alpha=0.6, label=f"{share:.0%} of the images")
    panels[1].set(xlabel="accuracy after a short training, %", ylabel="accuracy in full, %")
    panels[1].legend(fontsize=8)
    _signal_plot(of_signals(facts)[1:], panels[2])
    figure.tight_layout()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"table_{facts.table.name}.png", dpi=110)
    plt.close(figure)


def _front_plot(facts: Facts, panel: "plt.Axes") -> None:
    column = next((c for c in ("choice_attention", "choice_residual") if c in facts.full), None)
    groups = facts.full.groupby(column) if column is not None else [("networks", facts.full)]
    for name, own in groups:
        panel.plot(own["energy_mj"], 100 * own["accuracy"], ".", markersize=3, label=str(name))
    members = facts.full.loc[sorted(_front(facts.full))].sort_values("energy_mj")
    panel.step(members["energy_mj"], 100 * members["accuracy"], where="post", color="black", linewidth=1, label="front")
    panel.set(xscale="log", xlabel="energy per image, mJ", ylabel="search-val accuracy, %")
    panel.legend(fontsize=7)


def _signal_plot(rows: Sequence[tuple[str, ...]], panel: "plt.Axes") -> None:
    for offset, (column, title) in enumerate(((1, "tau"), (2, "within thirds of energy"), (3, "beyond energy"))):
        values = [float(row[column].split(" ")[0]) if row[column] else math.nan for row in rows]
        panel.barh(np.arange(len(rows)) + 0.27 * (offset - 1), values, 0.25, label=title)
    panel.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=8)
    panel.invert_yaxis()
    panel.axvline(0, color="black", linewidth=0.5)
    panel.set_xlabel("Kendall's tau with the accuracy in full")
    panel.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=3, frameon=False)


def text(facts: Facts) -> str:
    blocks = [
        ("What it holds", contents(facts)),
        ("Short trainings and full ones", of_shares(facts)),
        ("Noise of the seed", noise(facts)),
        ("Axes", of_axes(facts)),
        ("The front", of_front(facts)),
        ("Signals of untrained networks", table(of_signals(facts))),
        ("Conventions", of_conventions(facts)),
    ]
    return "\n\n".join(f"{title}\n\n{body}" for title, body in blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="a table, or the name of a shipped one")
    parser.add_argument("--out", type=Path, help="folder for the plots; without it there are none")
    arguments = parser.parse_args()
    facts = Facts(tables.load(arguments.file))
    print(header(f"python benchmarks/table_says.py {Path(arguments.file).name}"))
    print(f"\n{text(facts)}")
    if arguments.out is not None:
        plots(facts, arguments.out)


if __name__ == "__main__":
    main()
