"""Commands that train proxies, and those that list what can be searched and what was."""

import dataclasses
import json
from pathlib import Path

import click

from nas.commands import following, helping, options, priors, tables


@helping.command(
    examples=(
        "search --space spikformer_tiny --trials 24",
        "search --space spikformer_small --budget 8h --max-params 2M --workers 4",
    )
)
@click.option(
    "--space", required=True, metavar="NAME|FILE", help="Search space: a name that `spaces` lists, or a file."
)
@click.option(
    "--trials",
    type=int,
    metavar="N",
    help="Number of different networks in the study when the search ends, earlier runs included.",
)
@click.option(
    "--budget",
    metavar="AMOUNT",
    help="Limit on all training runs together: a number of images, as 2M, or a time, as 90min or 8h.",
)
@click.option(
    "--patience",
    type=int,
    metavar="N",
    help="Stop when N networks in a row have not changed the Pareto front.  [default: never]",
)
@click.option("--study", metavar="NAME", help="Name of the study.  [default: the name of the space]")
@options.SEARCH_IMAGES
@options.DEVICE
@options.SEED
@click.option(
    "--storage",
    envvar="SPIKFORMER_STORAGE",
    metavar="URL",
    help="Database for the study, as an SQLAlchemy URL or grpc://HOST:PORT.  [default: a journal in the study's "
    "folder]",
)
@click.option(
    "--epochs",
    type=int,
    metavar="N",
    help="Number of epochs of a whole proxy training run.  [default: as the space file says]",
)
@click.option(
    "--train-images",
    type=int,
    metavar="N",
    help="Number of images or recordings that each proxy is trained on.  [default: as the space file says]",
)
@click.option(
    "--references/--no-references",
    default=True,
    show_default=True,
    help="Train the reference networks of the space file first.",
)
@click.option(
    "--energy-of",
    type=click.Choice(["proxy", "target"]),
    default="proxy",
    show_default=True,
    help="Energy to rank by: that of the proxy, as counted, or that predicted for the network that `export` makes "
    "for ImageNet.",
)
@click.option(
    "--rank-by",
    default="energy",
    show_default=True,
    metavar="energy|energy+memory|energy+MODEL|chip:NAME",
    help="What ranks networks, per image: the energy of their operations; that and the energy of memory accesses, by "
    "horowitz64 or the MODEL that --memory takes; or their energy on a chip, loihi or digital.",
)
@click.option(
    "--target-image-size",
    default=224,
    show_default=True,
    metavar="PIXELS",
    help="Input resolution of the exported ImageNet network, in pixels.",
)
@click.option(
    "--max-params",
    type=options.COUNT,
    metavar="N",
    help="Largest number of parameters of a network that is trained, as 500k or 16M.  [default: no limit]",
)
@click.option(
    "--max-macs",
    type=options.COUNT,
    metavar="N",
    help="Largest number of dense MACs per image of a proxy that is trained, as 200M.  [default: no limit]",
)
@click.option(
    "--max-energy",
    type=float,
    metavar="MJ",
    help="Largest energy of a network on the front, in mJ per image.  [default: no limit]",
)
@click.option(
    "--min-accuracy",
    type=float,
    metavar="SHARE",
    help="Lowest accuracy of a network on the front, as 0.9 for 90 %.  [default: no limit]",
)
@options.HYPERVOLUME_FROM
@click.option(
    "--max-latency-ms",
    type=float,
    metavar="MS",
    help="Largest latency of a network on the front, in ms per image, on the chip of --fits or --rank-by.  "
    "[default: no limit]",
)
@click.option(
    "--fits",
    metavar="CHIP",
    help="Train only networks that fit on this chip, loihi or digital.  [default: any network]",
)
@click.option(
    "--sampler",
    default="searcher",
    show_default=True,
    metavar="NAME",
    help="Algorithm that proposes networks: searcher, or a sampler of Optuna such as TPESampler or RandomSampler.",
)
@options.WORKERS
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where training runs: on this machine, or as tasks of a Ray cluster.",
)
@click.option(
    "--proxy",
    metavar="FILE",
    help="TOML file whose [proxy] table replaces that of the space; `validate-proxy` writes one.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Address of the Ray cluster.  [default: a cluster is started on this machine]",
)
@priors.OPTION
@options.RESULTS_DIR
def search(
    max_params: int | None,
    max_macs: int | None,
    max_energy: float | None,
    min_accuracy: float | None,
    max_latency_ms: float | None,
    fits: str | None,
    results_dir: str,
    storage: str | None,
    warm_start: tuple[str, ...],
    **settings: object,
) -> None:
    """Train networks of a search space until --trials of them are evaluated or the --budget is spent.

    Every network is first trained on few images; only promising ones are trained on more. You may interrupt the
    search at any time and continue it by running the same command again. The same command in another terminal or on
    another machine joins the study (docs/cluster.md).
    """
    import nas
    from nas.settings import Constraints

    settings["constraints"] = Constraints(max_params, max_macs, max_energy, min_accuracy, max_latency_ms, fits)
    settings["warm_start"] = priors.loaded(warm_start, storage, results_dir)
    study = nas.search(**settings, results_dir=results_dir, storage=storage)  # pyrefly: ignore[bad-argument-type]  # as click typed them
    following.print_next_about(study.name, "report", results_dir, storage)


@helping.command(examples=("confirm --seeds 3", "confirm --study spikformer_tiny --top 5"))
@options.STUDY
@click.option(
    "--seeds", default=3, show_default=True, metavar="N", help="Number of further training seeds for each network."
)
@click.option(
    "--top",
    default="front",
    show_default=True,
    metavar="front|K",
    help="Networks to retrain: the front or the best K. References are always included.",
)
@click.option(
    "--spike-penalties",
    default="",
    metavar="P,P",
    help="Also train with each of these spike penalties in the recipe, as 0,0.1,1.  [default: none]",
)
@click.option(
    "--ann-twin",
    is_flag=True,
    help="Also train the quantised counterpart of each network: the same layers without spikes.",
)
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
    """Train the networks of the front and the references again with more seeds, to tell real differences from chance.

    The next report shows intervals and which networks differ. You may interrupt it at any time and
    continue it by running the same command again.
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


@helping.command(
    "validate-proxy",
    examples=("validate-proxy --space cifar10_cpu --configs 30", "validate-proxy --table tables/tiny.safetensors"),
)
@click.option(
    "--space",
    metavar="NAME|FILE",
    help="Search space: a name that `spaces` lists, or a file.  [default: that of --table; required without one]",
)
@click.option(
    "--table",
    metavar="FILE",
    help="Table of trained networks (docs/table.md), whose training runs are taken in place of new ones.  [default: "
    "none]",
)
@click.option(
    "--configs",
    default=30,
    show_default=True,
    metavar="N",
    help="Number of networks to train, sampled over the whole range of costs.",
)
@click.option(
    "--replicates",
    default=8,
    show_default=True,
    metavar="N",
    help="Number of the --configs networks to train again with another seed and other learning rates.",
)
@click.option(
    "--against",
    type=click.Choice(["full", "published"]),
    default="full",
    show_default=True,
    help="Ranking to compare with: that of whole proxy training runs, or the accuracies that papers print.",
)
@click.option(
    "--shares",
    metavar="S,S",
    help="Shares of a whole proxy training run to test, each between 0 and 1.  [default: 0.05,0.1,0.25,0.5, or those "
    "of --table]",
)
@click.option(
    "--full-epochs",
    type=int,
    metavar="N",
    help="Number of epochs of a whole proxy training run.  [default: as the space file says]",
)
@click.option(
    "--train-images",
    type=int,
    metavar="N",
    help="Number of images or recordings that each proxy is trained on.  [default: as the space file says]",
)
@options.SEARCH_IMAGES
@options.DEVICE
@options.WORKERS
@options.SEED
@click.option(
    "--storage",
    envvar="SPIKFORMER_STORAGE",
    metavar="URL",
    help="Database for the training runs, as an SQLAlchemy URL.  [default: a journal in the folder]",
)
@click.option(
    "--results-dir", default="results", show_default=True, metavar="DIR", help="Directory in which proxies/ is written."
)
def validate_proxy(
    space: str | None, table: str | None, shares: str | None, data_dir: str | None, **settings: object
) -> None:
    """Measure whether short training runs rank the networks of a space as full ones do, and recommend the
    shortest that does.

    You may interrupt it at any time and continue it by running the same command again.
    """
    import nas

    if table is not None:
        why = "a table holds training runs that took place, so nothing is read from"
        options.refuse_unread(why, "--data-dir", "--device", "--workers", "--per-gpu", "--storage")
    if space is None and table is None:
        raise click.UsageError("Missing option '--space'. Give a search space, or a table with --table")
    numbers = None if shares is None else options.numbers("--shares", shares)
    trained = None
    if table is not None:
        from nas.tables import load

        trained = load(table)
    searched = trained.space if space is None and trained is not None else space
    validation = nas.validate_proxy(searched, shares=numbers, table=trained, data_dir=data_dir, **settings)  # pyrefly: ignore[bad-argument-type]  # as click typed them
    from nas.reports import proxies  # pandas, only now

    paths, sentences = proxies.write(validation)
    for line in (*sentences, *(f"wrote {path}" for path in paths)):
        click.echo(line)
    if validation.against == "full":
        recommended = next(path for path in paths if path.suffix == ".toml")
        words = ["search", "--space", space or validation.name, "--proxy", str(recommended), "--trials", "200"]
    else:
        words = ["validate-proxy", "--space", str(space)]
    following.print_next(*words, *following.images(data_dir))


@helping.command(examples=("studies", "studies --status"))
@click.option("--status", is_flag=True, help="List the training runs under way: network, machine, process and time.")
@click.option("--study", metavar="NAME", help="Only this study.  [default: all studies; with --status, the latest]")
@options.WHERE_STUDIES_ARE
@options.AS_JSON
def studies(status: bool, study: str | None, storage: str | None, results_dir: str, as_json: bool) -> None:
    """List the studies, or with --status the training runs under way. It is safe while a search runs."""
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


@helping.command(examples=("spaces",))
def spaces() -> None:
    """List the search spaces that come with the project, and how many networks each has."""
    from nas.spaces import load_space, space_names

    tables.console().print(tables.spaces(load_space(name) for name in space_names()))
    following.print_next("search", "--space", "spikformer_tiny", "--trials", "24")


__all__ = ["confirm", "search", "spaces", "studies", "validate_proxy"]
