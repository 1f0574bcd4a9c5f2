"""Commands of full training: train, evaluate, and images stored for it."""

import json
import shlex
from pathlib import Path
from typing import TypedDict

import click

from nas.commands import following, helping, options, refusals, tables


@helping.command(
    examples=(
        "train results/spikformer_tiny/exports/BUNDLE --dry-run",
        "train spikformer_cifar10_4_384 --data-dir DIR --epochs 100",
    )
)
@click.argument("bundle", metavar="BUNDLE|NAME", required=False)
@click.option(
    "--network", metavar="NAME|CONFIG.json", help="Network that the file of --weights belongs to, instead of a bundle."
)
@options.WEIGHTS
@options.TRAINING_IMAGES
@click.option(
    "--out",
    metavar="DIR",
    help="Directory for the trained bundle, checkpoint and log.  [default: results/trained/NAME]",
)
@click.option(
    "--recipe",
    default="",
    metavar="NAME|FILE",
    help="Training recipe: a name or a TOML file.  [default: the bundle's own]",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    metavar="N",
    help="Number of epochs; warm-up and cool-down keep their shares.  [default: as the recipe says]",
)
@click.option(
    "--classes",
    type=click.IntRange(1),
    metavar="N",
    help="Number of output classes; the classifier starts anew, all other weights stay.  [default: as in the network]",
)
@click.option(
    "--in-channels",
    type=click.Choice([1, 3]),
    help="Number of image channels: 1 for grey, 3 for colour; the first convolution is adapted.  [default: as in "
    "the network]",
)
@options.RECIPE_SETTINGS
@options.DEVICE
@click.option(
    "--dry-run",
    is_flag=True,
    help="Run only a few steps on random images, and print memory, images per second and the estimated "
    "time of the whole recipe; with --data-dir, also how fast images are read.",
)
@click.option("--study", metavar="NAME", help="Record the result in this study, from which the bundle was exported.")
@options.WHERE_STUDIES_ARE
@options.BLOCKS
def train(
    bundle: str | None,
    network: str | None,
    weights: str | None,
    data_dir: str | None,
    out: str | None,
    recipe: str,
    epochs: int | None,
    classes: int | None,
    in_channels: int | None,
    settings: tuple[str, ...],
    device: str,
    dry_run: bool,
    study: str | None,
    storage: str | None,
    results_dir: str,
) -> None:
    """Train an exported bundle, or a published network by its name, in full.

    For several GPUs, start it by torchrun --nproc-per-node 8 cli.py train ... (docs/training.md). You may interrupt
    it at any time and continue it by running the same command again.
    """
    named = options.one_network(bundle, "BUNDLE|NAME", network, weights)
    if epochs is not None and any(setting.startswith("epochs=") for setting in settings):
        raise click.UsageError(f"--epochs {epochs} and --set epochs=... are the same setting. Give only one of them")
    refusals.check_training(named, weights, recipe, settings, device)
    if study is None:
        options.refuse_unread("without --study, train does not read", "--storage", "--results-dir")
    changes: _Changes = {
        "weights": weights,
        "classes": classes or 0,
        "in_channels": in_channels or 0,
        "epochs": epochs or 0,
    }
    if dry_run:
        unread = ("--out", "--study", "--storage", "--results-dir")
        options.refuse_unread("--dry-run writes nothing and does not read", *unread)
        _dry_run(named, data_dir, recipe, settings, device, changes)
        return
    import nas
    from nas.full_training import attached

    target = attached.opened(named, study, storage, results_dir) if study is not None else None
    trained = nas.train(named, data_dir, out, recipe, settings, device, **changes)
    if trained is None:  # one of several processes, and not the first
        return
    if target is not None:
        attached.attach(target, trained)
    click.echo(f"wrote {trained.folder}")
    following.print_next("evaluate", str(trained.folder), *following.images(data_dir))


class _Changes(TypedDict):
    """What a training changes of a bundle before it begins: keywords of `nas.train`."""

    weights: str | None
    classes: int
    in_channels: int
    epochs: int


def _dry_run(
    network: str, data_dir: str | None, recipe: str, settings: tuple[str, ...], device: str, changes: _Changes
) -> None:
    """Print what a few steps tell, and how the training itself is started."""
    from nas.full_training import dry_run as dry_runs

    result = dry_runs.run(network, data_dir, recipe, settings, device, **changes)
    if result is None:  # one of several processes, and not the first
        return
    for line in result.lines():
        click.echo(line)
    weights = changes["weights"]
    words = [network] if weights is None else ["--network", network, "--weights", weights]
    numbers = {"--epochs": changes["epochs"], "--classes": changes["classes"], "--in-channels": changes["in_channels"]}
    words += [word for option, number in numbers.items() if number for word in (option, str(number))]
    words += ["--recipe", recipe] if recipe else []
    words += [word for setting in settings for word in ("--set", setting)]
    if data_dir is None and not result.has_images:
        click.echo("To train it, give the same command its images, --data-dir DIR, and leave --dry-run out")
        return
    following.print_next("train", *words, *following.images(data_dir))


@helping.command(
    examples=(
        "evaluate results/trained/NAME --data-dir DIR",
        "evaluate results/trained/NAME --time-steps 1,2,4 --plot steps.svg",
    )
)
@click.argument("networks", nargs=-1, metavar="BUNDLE|CHECKPOINT...")
@click.option(
    "--network", metavar="NAME|CONFIG.json", help="Network that the file of --weights belongs to, instead of bundles."
)
@options.WEIGHTS
@options.TRAINING_IMAGES
@options.RECIPE_SETTINGS
@options.DEVICE
@options.CONVENTION
@click.option(
    "--time-steps",
    default="",
    metavar="T,T",
    help="Numbers of time steps to evaluate at, as 1,2,4.  [default: as trained]",
)
@click.option(
    "--image-sizes",
    default="",
    metavar="PIXELS,PIXELS",
    help="Image sizes to evaluate at, in pixels, as 32,40.  [default: as trained]",
)
@click.option(
    "--csv",
    "table",
    metavar="FILE",
    help="CSV file for the table.  [default: results/evaluated/NAME.csv with --time-steps, --image-sizes or --plot, "
    "else none]",
)
@click.option(
    "--plot",
    metavar="FILE",
    help="File for a figure of accuracy, energy and spike operations against T: .svg, .png or .pdf.",
)
@options.AS_JSON
@options.BLOCKS
def evaluate(
    networks: tuple[str, ...],
    network: str | None,
    weights: str | None,
    data_dir: str | None,
    settings: tuple[str, ...],
    device: str,
    convention: str,
    unit_costs: str,
    time_steps: str,
    image_sizes: str,
    table: str | None,
    plot: str | None,
    as_json: bool,
) -> None:
    """Measure accuracy and costs of trained networks on test images.

    For several networks, such as those of several seeds, it also shows mean and standard deviation. Balanced accuracy
    is the mean of the accuracies within each class. With --time-steps or --image-sizes the same weights run at each
    of them, without being trained for it.
    """
    first = options.one_network(next(iter(networks), None), "BUNDLE|CHECKPOINT...", network, weights)
    steps = options.whole_numbers("--time-steps", time_steps)
    sizes = options.whole_numbers("--image-sizes", image_sizes)
    refusals.check_evaluation(networks, settings, device)
    refusals.check_prices(convention, unit_costs)
    import nas
    from nas.costs import energy
    from nas.full_training import evaluation

    if plot is not None:
        from nas.reports import evaluated  # matplotlib, only now

        evaluated.check(Path(plot))
    chosen = energy.convention(convention, unit_costs)
    results = nas.evaluate(networks or [first], data_dir, chosen, settings, device, steps, sizes, weights)
    if as_json:
        click.echo(json.dumps([result.to_dict() for result in results], indent=2))
    else:
        tables.console().print(tables.evaluations(results))
    if table is not None or plot is not None or steps or sizes:
        place = Path(table or Path("results", "evaluated", f"{Path(first).resolve().name}.csv"))
        click.echo(f"wrote {evaluation.write_csv(results, place)}", err=as_json)
    if plot is not None:
        click.echo(f"wrote {evaluated.write(results, Path(plot))}", err=as_json)  # pyrefly: ignore[unbound-name]


@helping.command(examples=("shrink DIR --out SMALL",))
@click.argument("data_dir", metavar="DIR")
@click.option("--out", required=True, metavar="DIR", help="Directory for the shards.")
@click.option(
    "--side",
    default=256,
    show_default=True,
    metavar="PIXELS",
    help="Length to which the shorter side of larger images is reduced, in pixels.",
)
@click.option("--workers", default=1, show_default=True, metavar="N", help="Number of processes that write shards.")
def shrink(data_dir: str, out: str, side: int, workers: int) -> None:
    """Copy the images of DIR into WebDataset shards, made smaller so that a training reads them faster.

    DIR holds class folders or WebDataset shards. If interrupted, run the same command again to continue.
    """
    from nas.datasets import shrinking  # torch, only now

    def on_progress(what: str, done: int, total: int) -> None:
        click.echo(f"{what}: {done} of {total}", err=True)

    folder = shrinking.shrink(data_dir, out, side, workers, on_progress)
    click.echo(f"wrote {folder}, which any training reads: --data-dir {shlex.quote(str(folder))}")


__all__ = ["evaluate", "shrink", "train"]
