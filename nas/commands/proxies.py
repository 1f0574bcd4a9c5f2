"""Commands that train proxies, and those that list what can be searched and what was."""

import dataclasses
import json
from pathlib import Path

import click

from nas.commands import following, options, tables


@click.command()
@click.option("--space", required=True, metavar="NAME|FILE", help="Search space: see the command `spaces`.")
@click.option("--trials", type=int, help="Different networks that the study shall have evaluated in all.")
@click.option("--budget", metavar="AMOUNT", help="What its trainings may cost: images, as 2M, or time, as 90min or 8h.")
@click.option("--patience", type=int, metavar="N", help="Stop when the front has not moved for N networks.")
@click.option("--study", metavar="NAME", help="Name of the study.  [default: the space's]")
@options.SEARCH_IMAGES
@options.DEVICE
@options.SEED
@click.option(
    "--storage",
    envvar="SPIKFORMER_STORAGE",
    metavar="URL",
    help="Optuna storage, or grpc://HOST:PORT.  [default: a journal in the study's folder]",
)
@click.option("--epochs", type=int, metavar="N", help="Override the number of epochs in the search space file.")
@click.option("--train-images", type=int, metavar="N", help="Override the number of training images likewise.")
@click.option("--references/--no-references", default=True, show_default=True, help="Evaluate reference points first.")
@click.option(
    "--energy-of",
    type=click.Choice(["proxy", "target"]),
    default="proxy",
    show_default=True,
    help="Energy to rank by: as counted, or predicted for the network that `export` makes for ImageNet.",
)
@click.option(
    "--target-image-size",
    default=224,
    show_default=True,
    metavar="PIXELS",
    help="Input resolution of the exported ImageNet network, in pixels.",
)
@click.option("--max-params", type=options.COUNT, metavar="N", help="Do not train larger networks; as 500k or 16M.")
@click.option("--max-macs", type=options.COUNT, metavar="N", help="The same for dense MACs of the proxy per image.")
@click.option("--max-energy", type=float, metavar="MJ", help="Networks above it stay off the front; mJ per image.")
@click.option("--min-accuracy", type=float, metavar="SHARE", help="Networks below it stay off the front; as 0.9.")
@click.option(
    "--sampler",
    default="searcher",
    show_default=True,
    metavar="NAME",
    help="What proposes networks: searcher, or a sampler of Optuna, such as TPESampler or RandomSampler.",
)
@options.WORKERS
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where they run: here, or as tasks of a Ray cluster.",
)
@click.option("--proxy", metavar="FILE", help="Its [proxy] replaces the space's, as `validate-proxy` recommends.")
@click.option("--address", metavar="HOST:PORT", help="Address of the Ray cluster.  [default: one started here]")
@options.RESULTS_DIR
def search(
    max_params: int | None,
    max_macs: int | None,
    max_energy: float | None,
    min_accuracy: float | None,
    results_dir: str,
    storage: str | None,
    **settings: object,
) -> None:
    """Evaluate networks of a search space until the study has --trials of them, or has spent its --budget.

    All are trained on a few images, promising ones on more, and the best on all. Interrupt it as you like: the same
    command goes on where it stopped. Run it again elsewhere to work on one study together: see docs/cluster.md.
    """
    import nas
    from nas.settings import Constraints

    limits = Constraints(max_params, max_macs, max_energy, min_accuracy)
    study = nas.search(**settings, constraints=limits, results_dir=results_dir, storage=storage)  # type: ignore[arg-type]  # as click typed them
    following.print_next_about(study.name, "report", results_dir, storage)


@click.command()
@options.STUDY
@click.option("--seeds", default=3, show_default=True, metavar="N", help="Seeds to add to the search's own.")
@click.option(
    "--top",
    default="front",
    show_default=True,
    metavar="front|K",
    help="Networks to retrain: the front or the best K. References are always included.",
)
@click.option("--spike-penalties", default="", metavar="P,P", help="Also by the recipe with each of these: as 0,0.1,1.")
@click.option("--ann-twin", is_flag=True, help="Also the same-shaped quantised networks without spikes.")
@options.SEARCH_IMAGES
@options.DEVICE
@options.WORKERS
@options.WHERE_STUDIES_ARE
@options.BLOCKS
def confirm(
    study: str | None,
    seeds: int,
    top: str,
    spike_penalties: str,
    ann_twin: bool,
    data_dir: str | None,
    device: str,
    workers: int,
    per_gpu: int,
    storage: str | None,
    results_dir: str,
) -> None:
    """Train the front and the references with more seeds, so that the report says which differences are real.

    Interrupt it as you like: the same command goes on where it stopped.
    """
    import nas

    if top != "front" and not (top.isascii() and top.isdecimal()):
        raise click.UsageError(f'--top "{top}" must be front or a whole number')
    penalties = options.numbers("--spike-penalties", spike_penalties)
    loaded = nas.load_study(study, storage=storage, results_dir=results_dir)
    nas.confirm(
        loaded,
        seeds,
        "front" if top == "front" else int(top),
        penalties,
        ann_twin=ann_twin,
        data_dir=data_dir,
        device=device,
        workers=workers,
        per_gpu=per_gpu,
    )
    following.print_next_about(loaded.name, "report", results_dir, storage)


@click.command("validate-proxy")
@click.option("--space", required=True, metavar="NAME|FILE", help="Search space: see the command `spaces`.")
@click.option("--configs", default=30, show_default=True, metavar="N", help="Networks, stratified by cost.")
@click.option("--replicates", default=8, show_default=True, metavar="N", help="Of them with more seeds and rates.")
@click.option(
    "--against",
    type=click.Choice(["full", "published"]),
    default="full",
    show_default=True,
    help="The whole training, or what papers print of their networks.",
)
@click.option("--shares", default="0.05,0.1,0.25,0.5", show_default=True, metavar="S,S", help="Of the whole training.")
@click.option("--full-epochs", type=int, metavar="N", help="Override the epochs of the whole training.")
@click.option("--train-images", type=int, metavar="N", help="Override the number of training images.")
@options.SEARCH_IMAGES
@options.DEVICE
@options.WORKERS
@options.SEED
@click.option(
    "--storage", envvar="SPIKFORMER_STORAGE", metavar="URL", help="Optuna storage.  [default: a journal in the folder]"
)
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="Directory with proxies/.")
def validate_proxy(space: str, shares: str, data_dir: str | None, **settings: object) -> None:
    """Measure whether a short training ranks the space's networks as the whole one, and recommend the cheapest.

    Interrupt it as you like: the same command goes on where it stopped.
    """
    import nas

    validation = nas.validate_proxy(space, shares=options.numbers("--shares", shares), data_dir=data_dir, **settings)  # type: ignore[arg-type]  # as click typed them
    from nas.reports import proxies  # pandas, only now

    paths, sentences = proxies.write(validation)
    for line in (*sentences, *(f"wrote {path}" for path in paths)):
        click.echo(line)
    if validation.against == "full":
        recommended = next(path for path in paths if path.suffix == ".toml")
        words = ["search", "--space", space, "--proxy", str(recommended), "--trials", "200"]
    else:
        words = ["validate-proxy", "--space", space]
    following.print_next(*words, *following.images(data_dir))


@click.command()
@click.option("--status", is_flag=True, help="Who works on what, since when, on which machine.")
@click.option("--study", metavar="NAME", help="That study only.  [default: all, or with --status the latest]")
@options.WHERE_STUDIES_ARE
@options.AS_JSON
def studies(status: bool, study: str | None, storage: str | None, results_dir: str, as_json: bool) -> None:
    """List the studies, or with --status the trainings that run. Safe while a search runs."""
    import nas
    from nas.studies import status as states  # Optuna, only now

    if status:
        work = states.work(nas.load_study(study, storage=storage, results_dir=results_dir))
        listed = [dataclasses.asdict(row) for row in work]
        table, empty = tables.trainings(work), "Nothing is being trained."
    else:
        rows = states.overview(Path(results_dir), storage, study)
        listed = [dataclasses.asdict(row) for row in rows]
        table, empty = tables.studies(rows), f"No study in {results_dir}."
    if as_json:
        click.echo(json.dumps(listed, indent=2, default=str))
    elif not listed:
        click.echo(empty)
    else:
        tables.console().print(table)


@click.command()
def spaces() -> None:
    """List the search spaces that come with the project, with their size."""
    from nas.spaces import load_space, space_names

    tables.console().print(tables.spaces(load_space(name) for name in space_names()))
    following.print_next("search", "--space", "spikformer_tiny", "--trials", "24")


__all__ = ["confirm", "search", "spaces", "studies", "validate_proxy"]
