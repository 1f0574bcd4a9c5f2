"""Commands about tables of trained networks: fill one, put files together, and ask them."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.commands import following, helping, options, tables

if TYPE_CHECKING:
    from nas.tables import Table


@helping.group()
def table() -> None:
    """Fill, merge and query tables of networks that were really trained (docs/table.md).

    A table is one file with the trainings of many networks of a space, at shares of the recipe and with several seeds.
    Samplers and proxies can be compared on it without training anything.
    """


@table.command(
    examples=(
        "table run spikformer_tiny --networks 60 --seeds 2",
        "table run spikformer_tiny --networks 300 --shares 0.05,0.25,1 --name tiny --parts tables/tiny",
    )
)
@click.argument("space", metavar="SPACE")
@click.option(
    "--networks",
    required=True,
    type=int,
    metavar="N",
    help="Number of networks in the table, as many from each third of cost. More can be added later.",
)
@click.option(
    "--seeds", default=1, show_default=True, metavar="S", help="Number of seeds of each training, which count from 0."
)
@click.option(
    "--shares",
    default="0.05,0.25,1",
    show_default=True,
    metavar="S,S",
    help="Shares of a whole training run, rising to 1. Each is a training with a whole schedule of its own.",
)
@click.option("--name", metavar="NAME", help="Name of the table.  [default: the name of the space]")
@click.option(
    "--parts",
    metavar="DIR",
    help="Directory for finished trainings in files of at most 1 MiB, from which a run continues where results/ is "
    "gone.  [default: none are written]",
)
@options.SEARCH_IMAGES
@options.DEVICE
@options.WORKERS
@click.option("--seed", default=0, show_default=True, help="Random seed of the split of the images.")
@click.option(
    "--results-dir", default="results", show_default=True, metavar="DIR", help="Directory in which tables/ is written."
)
@options.BLOCKS
def run(space: str, networks: int, seeds: int, shares: str, results_dir: str, **settings: object) -> None:
    """Train a stratified sample of a space, network by network, at every share and with every seed.

    You may interrupt it at any time and continue it by running the same command again, also with more networks, seeds
    or shares. Signals of the untrained networks are measured too.
    """
    from nas import tables as trained

    numbers = options.numbers("--shares", shares)
    name = trained.run(space, networks, seeds, numbers, results_dir=results_dir, **settings)  # pyrefly: ignore[bad-argument-type]  # as click typed them
    following.print_next("table", "export", name, *following.place(results_dir, None))


@table.command(examples=("table export tiny", "table export tiny --out tables"))
@click.argument("name", metavar="NAME")
@click.option("--out", metavar="DIR", help="Directory of the file.  [default: that of the table in results/]")
@click.option(
    "--results-dir", default="results", show_default=True, metavar="DIR", help="Directory in which tables/ lies."
)
@options.BLOCKS
def export(name: str, out: str | None, results_dir: str) -> None:
    """Write a table that `table run` fills as one file, whose name holds the beginning of its SHA-256."""
    from nas import tables as trained

    path = trained.export(name, out, results_dir=results_dir)
    click.echo(f"wrote {path} ({path.stat().st_size:,} bytes)")
    following.print_next("table", "info", str(path))


@table.command(examples=("table merge tables/all first.safetensors second.safetensors spikformer_tiny",))
@click.argument("out", metavar="OUT")
@click.argument("sources", metavar="FILE|STUDY...", nargs=-1, required=True)
@options.RESULTS_DIR
@options.BLOCKS
def merge(out: str, sources: tuple[str, ...], results_dir: str) -> None:
    """Write one table, OUT.DIGITS.safetensors, of the trainings of tables, of parts of tables, and of studies.

    All must have the same recipe and images. The order of the files makes no difference.
    """
    from nas import tables as trained

    path = trained.merge(out, sources, results_dir=results_dir)
    click.echo(f"wrote {path} ({path.stat().st_size:,} bytes)")
    following.print_next("table", "info", str(path))


@table.command(
    examples=(
        "table query tables/tiny.safetensors --where embed_dim=64 --seed mean",
        "table query tables/tiny.safetensors n1-0123456789ab --convention paper --chip loihi",
    )
)
@click.argument("file", metavar="FILE")
@click.argument("network", metavar="[NETWORK]", required=False)
@click.option(
    "--where",
    multiple=True,
    metavar="AXIS=CHOICE",
    help="List only networks with this choice on an axis of the space. Repeatable.",
)
@click.option(
    "--share", default=1.0, show_default=True, metavar="SHARE", help="Share of a whole training run, as 0.05 or 1."
)
@click.option(
    "--seed",
    default="0",
    show_default=True,
    metavar="N|mean",
    help="Seed of the training, or mean for the mean over all seeds.",
)
@click.option(
    "--convention",
    default="measured",
    show_default=True,
    metavar="NAME",
    help="Convention that turns counts of operations into energy; docs/costs.md lists the names.",
)
@click.option(
    "--chip",
    metavar="NAME|MODULE:FUNCTION",
    help="Chip model, such as loihi, that adds latency and energy; docs/costs.md lists the models.  [default: none]",
)
@options.MEMORY
@click.option("--csv", "csv_file", metavar="FILE", help="CSV file for the rows.  [default: none is written]")
@options.AS_JSON
@options.BLOCKS
def query(
    file: str,
    network: str | None,
    where: tuple[str, ...],
    share: float,
    seed: str,
    convention: str,
    chip: str | None,
    memory: str | None,
    csv_file: str | None,
    as_json: bool,
) -> None:
    """List networks of a table with their accuracies and costs, or one of them by its id, its name or its config file.

    FILE is a table, or the name of one that comes with the package. --json and --csv have more columns than the
    terminal shows.
    """
    from nas import tables as trained
    from nas.commands import refusals

    if seed != "mean" and not (seed.isascii() and seed.isdecimal() and len(seed) < 10):
        raise click.UsageError(f'--seed "{seed}" must be mean or a whole number')
    refusals.check_prices(convention, "45nm_fp32", chip, memory)
    loaded = trained.load(file)
    rows = trained.selected(
        loaded, network, where, share, "mean" if seed == "mean" else int(seed), convention, chip, memory
    )
    if csv_file is not None:
        from nas import files

        files.write(Path(csv_file), lambda path: path.write_text(_as_csv(rows), encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        tables.console().print(tables.rows(rows))


def _as_csv(rows: list[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@table.command(examples=("table info tables/tiny.safetensors",))
@click.argument("file", metavar="FILE")
@options.AS_JSON
@options.BLOCKS
def info(file: str, as_json: bool) -> None:
    """Print what a table holds: its data card, shares, seeds, axes and licence.

    FILE is a table, or the name of one that comes with the package.
    """
    from nas import tables as trained

    loaded = trained.load(file)
    facts = {"name": loaded.name, "licence": loaded.licence, "checked": _checked(loaded), **loaded.card}
    facts["axes"] = {axis.name: axis.choices for axis in loaded.space.axes}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' ')}: {_in_words(value)}")
    following.print_next("table", "query", file)


def _checked(loaded: "Table") -> str:
    if loaded.names_digits:
        return "the name of the file agrees with its SHA-256"
    return "the name of the file carries no digits of a SHA-256, so nothing was compared with it"


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_in_words(of)}" for key, of in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not known" if value is None else str(value)


__all__ = ["table"]
