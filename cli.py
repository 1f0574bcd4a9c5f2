"""Commands: parse, call one function of `nas`, print. torch is imported only when a command needs it."""

import contextlib
import errno
import gc
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

PROGRAM = "python cli.py" if Path(__file__).name == "cli.py" else "python -m nas"


class _Count(click.ParamType[int]):
    """A whole number, as 500k or 16M."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        factors = {"k": 10**3, "M": 10**6, "G": 10**9}
        factor = factors.get(str(value)[-1:], 1)
        try:
            return round(float(str(value)[:-1] if factor > 1 else value) * factor)
        except (ValueError, OverflowError):
            self.fail(f'"{value}" is no number, such as 500000, 500k or 16M', param, ctx)


_COUNT = _Count()


def _allow(_context: click.Context, _option: click.Parameter, blocks: tuple[str, ...]) -> None:
    from spikformer import plugins

    plugins.allow(*blocks)


_BLOCKS = click.option(
    "--blocks",
    multiple=True,
    metavar="MODULE|FILE.py",
    expose_value=False,
    callback=_allow,
    help="A module of your own blocks that may be imported, as mypkg.mine; repeatable.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="spikformer-nas", prog_name="spikformer-nas")
def main() -> None:
    """Neural architecture search for spiking transformers: accuracy against spike operations and energy."""


@main.command()
@click.option("--space", required=True, metavar="NAME|FILE", help="Search space: see the command `spaces`.")
@click.option("--trials", type=int, help="Different networks that the study shall have evaluated in all.")
@click.option("--budget", metavar="AMOUNT", help="What its trainings may cost: images, as 2M, or time, as 90min or 8h.")
@click.option("--patience", type=int, metavar="N", help="Stop when the front has not moved for N networks.")
@click.option("--study", metavar="NAME", help="Name of the study.  [default: the space's]")
@click.option(
    "--data-dir", metavar="DIR", help="Where the images are.  [default: the user's cache; CIFAR is downloaded]"
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where to train.")
@click.option("--seed", default=0, show_default=True, type=int, help="Of the data's cut, of training and sampling.")
@click.option(
    "--storage",
    envvar="SPIKFORMER_STORAGE",
    metavar="URL",
    help="Optuna storage, or grpc://HOST:PORT.  [default: a journal in the study's folder]",
)
@click.option("--epochs", type=int, metavar="N", help="Instead of the space's.")
@click.option("--train-images", type=int, metavar="N", help="Instead of the space's.")
@click.option("--references/--no-references", default=True, show_default=True, help="Evaluate reference points first.")
@click.option(
    "--energy-of",
    type=click.Choice(["proxy", "target"]),
    default="proxy",
    show_default=True,
    help="Energy to rank by: as counted, or predicted for the network that `export` makes for ImageNet.",
)
@click.option("--target-image-size", default=224, show_default=True, metavar="PIXELS", help="Of that network.")
@click.option("--max-params", type=_COUNT, metavar="N", help="Larger networks are not trained; as 500k or 16M.")
@click.option("--max-macs", type=_COUNT, metavar="N", help="The same for dense multiplications of the proxy an image.")
@click.option("--max-energy", type=float, metavar="MJ", help="Networks above it stay off the front.")
@click.option("--min-accuracy", type=float, metavar="SHARE", help="Networks below it stay off the front; as 0.9.")
@click.option(
    "--sampler",
    default="searcher",
    show_default=True,
    metavar="NAME",
    help="Who proposes networks: searcher, or Optuna's, such as TPESampler or RandomSampler.",
)
@click.option("--workers", default=1, show_default=True, metavar="N", help="Trainings at a time, on all GPUs.")
@click.option("--per-gpu", default=1, show_default=True, metavar="K", help="At most so many of them on each GPU.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where they run: here, or as tasks of a Ray cluster.",
)
@click.option("--proxy", metavar="FILE", help="Its [proxy] replaces the space's, as `validate-proxy` recommends.")
@click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster.  [default: one started here]")
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="Studies lie in it.")
def search(
    results_dir: str,
    max_params: int | None,
    max_macs: int | None,
    max_energy: float | None,
    min_accuracy: float | None,
    **settings: Any,
) -> None:
    """Evaluate networks of a search space until the study has --trials of them, or has spent its --budget.

    All are trained on a few images, promising ones on more, and the best on all. Interrupt it as you like: the same
    command goes on where it stopped. Run it again elsewhere to work on one study together: see docs/cluster.md.
    """
    from nas.searching import loop  # torch, only now
    from nas.settings import Constraints

    constraints = Constraints(max_params, max_macs, max_energy, min_accuracy)
    found = loop.search(**settings, constraints=constraints, results_dir=results_dir)
    _next_command("report", found.name, results_dir, settings["storage"])


@main.command()
@click.option("--status", is_flag=True, help="Who works on what, since when, on which machine.")
@click.option("--study", metavar="NAME", help="That study only.  [default: all, or with --status the latest]")
@click.option("--storage", envvar="SPIKFORMER_STORAGE", metavar="URL", help="That of the search, if it was given one.")
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="Studies lie in it.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def studies(status: bool, study: str | None, storage: str | None, results_dir: str, as_json: bool) -> None:
    """List the studies, or with --status the trainings that run. Safe while a search runs."""
    import dataclasses
    import json

    from nas.studies import load_study
    from nas.studies import status as states  # torch, only now

    rows: list[Any]
    if status:
        rows = states.work(load_study(study, storage=storage, results_dir=results_dir))
    else:
        rows = [row for row in states.overview(Path(results_dir), storage) if study in (None, row.name)]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2, default=str))
    elif not rows:
        click.echo("Nothing is being trained." if status else f"No study in {results_dir}.")
    else:
        _console().print(_work_table(rows) if status else _studies_table(rows))


def _studies_table(rows: list[Any]) -> Any:
    headings = ("study", "evaluated", "fully", "on the front", "hypervolume", "running", "last change", "")
    cells = []
    for r in rows:
        counts = (r.evaluated, r.fully, r.front, _number(r.hypervolume), r.running)
        cells.append((r.name, *counts, _moment(r.changed), r.trouble))
    return _table(headings, cells)


def _work_table(rows: list[Any]) -> Any:
    alive = {True: "yes", False: "no", None: "not known here"}
    headings = ("trial", "rung", "attempt", "network", "host", "process", "since", "last beat", "lives")
    cells = []
    for r in rows:
        host, process = (r.holder.host, r.holder.pid) if r.holder is not None else ("", "")
        beat = f"{r.beat_s:.0f} s ago" if r.beat_s is not None else ""
        cells.append((r.trial, r.rung, r.attempt, r.network, host, process, _moment(r.since), beat, alive[r.alive]))
    return _table(headings, cells)


def _table(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def _number(value: float | None) -> str:
    return f"{value:.3g}" if value is not None else ""


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment is not None else ""


@main.command()
@click.option("--study", metavar="NAME", help="Name of the study.  [default: the latest]")
@click.option("--storage", envvar="SPIKFORMER_STORAGE", metavar="URL", help="That of the search, if it was given one.")
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="Studies lie in it.")
@click.option("--convention", default="measured", show_default=True, metavar="NAME", help="Of energy: docs/costs.md.")
@click.option("--unit-costs", default="45nm_fp32", show_default=True, metavar="NAME|FILE", help="pJ of an operation.")
@click.option("--chip", metavar="NAME|MODULE:FUNCTION", help="Model of a chip, such as loihi: docs/costs.md.")
@click.option("--memory", is_flag=True, help="Estimate memory accesses too, as a line of their own.")
@click.option("--compare", multiple=True, metavar="STUDY", help="Another one's front in the same frame; repeatable.")
@click.option("--latex", is_flag=True, help="Also the front as a LaTeX table.")
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
@_BLOCKS
def report(
    study: str | None,
    storage: str | None,
    results_dir: str,
    convention: str,
    unit_costs: str,
    chip: str | None,
    memory: bool,
    compare: tuple[str, ...],
    latex: bool,
    show: bool,
) -> None:
    """Print the Pareto front and write a page, tables and figures into the study's folder.

    Safe while a search runs. Another convention prices the study anew, from the operations in its records: nothing is
    trained or loaded.
    """
    from nas.costs import chip as chips  # torch, only now
    from nas.costs import energy
    from nas.reports import build, write
    from nas.studies import study as studies

    chosen = energy.convention(convention, unit_costs)
    model = chips.load(chip) if chip is not None else None
    with _without_garbage_collection():
        loaded = studies.load_study(study, storage=storage, results_dir=results_dir)
        others = [studies.load_study(name, storage=storage, results_dir=results_dir) for name in compare]
        result = build(loaded, chosen, model, memory=memory, compare=others)
        place = _place(results_dir, storage)
        written = write(result, loaded.folder, latex=latex, options=place, program=PROGRAM)
    console = _console()
    console.print(result.table())
    for sentence in result.findings:
        console.print(sentence, highlight=False, markup=False)
    for path in written:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if show:
        click.launch(str(written[0].absolute()))
    repeated = result.repeats is not None and not result.repeats.confirmed.empty
    _next_command("export" if repeated else "confirm", loaded.name, results_dir, storage)


@main.command()
@click.option("--study", is_flag=False, flag_value="", default="", metavar="[NAME]", help="Without a name, the latest.")
@click.option("--pick", default="front", show_default=True, metavar="front|knee|accuracy|energy|TRIAL", help="Which.")
@click.option("--params", type=_COUNT, metavar="N", help="For ImageNet, as large as N parameters allow; as 16M.")
@click.option("--macs", type=_COUNT, metavar="N", help="The same for dense multiplications an image; as 5G.")
@click.option("--as-is", is_flag=True, help="The searched networks themselves, for the images they were searched on.")
@click.option("--classes", type=click.IntRange(1), metavar="N", help="Told apart.  [default: 1000; as searched]")
@click.option("--network", metavar="NAME|BUNDLE", help="Instead of a study's: a published network, or a bundle.")
@click.option(
    "--format", "form", type=click.Choice(["onnx"]), help="Also the deployable form, which is run to check it."
)
@click.option("--out", metavar="DIR", help="Where to.  [default: exports/ in the study's folder]")
@click.option("--storage", envvar="SPIKFORMER_STORAGE", metavar="URL", help="That of the search, if it was given one.")
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="Studies lie in it.")
@_BLOCKS
def export(
    study: str,
    pick: str,
    params: int | None,
    macs: int | None,
    as_is: bool,
    classes: int | None,
    network: str | None,
    form: Any,
    out: str | None,
    storage: str | None,
    results_dir: str,
) -> None:
    """Write folders with the best networks, for ImageNet unless --as-is, to be trained in full.

    Without --params and --macs they are as wide and deep as they were searched.
    """
    from nas.exports import export as exports  # torch, only now
    from nas.studies import study as studies

    size = exports.Size(as_is, params, macs, classes or 0)
    if network is not None and size != exports.Size():
        raise click.UsageError("--network is written as it is: --params, --macs, --as-is and --classes are for studies")
    new = network is None or not Path(network).is_dir()
    if network is not None:
        _refuse_unread("--network does not read", "--study", "--pick", "--storage", "--results-dir")
    if not new:
        _refuse_unread("a bundle is converted where it is and does not read", "--out")

    def wrote(folder: Path) -> None:
        if new:
            click.echo(f"wrote {folder}")
        if form is not None:
            path, difference = exports.convert(folder)
            click.echo(f"wrote {path}, whose logits are the network's up to a relative difference of {difference:.1g}")

    if network is None:
        loaded = studies.load_study(study or None, storage=storage, results_dir=results_dir)
        last = exports.export(loaded, pick, out, size, wrote)[-1]
    else:
        if not new and form is None:
            raise click.UsageError(f"{network} is a bundle already. Give --format to convert its trained network")
        last = exports.export_published(network, out) if new else Path(network)
        wrote(last)
    if new:
        click.echo(f"Next: {PROGRAM} train {_shell(str(last), '--dry-run')}")


def _where_to_train(command: Any) -> Any:
    """Options of commands that train many proxies."""
    images = "Where the images are.  [default: the user's cache; CIFAR is downloaded]"
    for option in (
        click.option("--per-gpu", default=1, show_default=True, metavar="K", help="At most so many of them on a GPU."),
        click.option("--workers", default=1, show_default=True, metavar="N", help="Trainings at a time, on all GPUs."),
        click.option(
            "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where to train."
        ),
        click.option("--data-dir", metavar="DIR", help=images),
    ):
        command = option(command)
    return command


@main.command()
@click.option("--study", metavar="NAME", help="Name of the study.  [default: the latest]")
@click.option("--seeds", default=3, show_default=True, metavar="N", help="Beside the search's own.")
@click.option("--top", default="front", show_default=True, metavar="front|K", help="Which: references come with them.")
@click.option("--spike-penalties", default="", metavar="P,P", help="Also by the recipe with each of these: as 0,0.1,1.")
@click.option("--ann-twin", is_flag=True, help="Also the same-shaped quantised networks without spikes.")
@_where_to_train
@click.option("--storage", envvar="SPIKFORMER_STORAGE", metavar="URL", help="That of the search, if it was given one.")
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="Studies lie in it.")
@_BLOCKS
def confirm(
    study: str | None, top: str, spike_penalties: str, storage: str | None, results_dir: str, **settings: Any
) -> None:
    """Train the front and the references with more seeds, so that the report says which differences are real.

    Interrupt it as you like: the same command goes on where it stopped.
    """
    from nas.replicates import confirmation  # torch, only now
    from nas.studies import load_study

    if top != "front" and not (top.isascii() and top.isdecimal()):
        raise click.UsageError(f'--top "{top}" must be front or a whole number')
    penalties = _numbers("--spike-penalties", spike_penalties)
    loaded = load_study(study, storage=storage, results_dir=results_dir)
    confirmation.confirm(loaded, top="front" if top == "front" else int(top), spike_penalties=penalties, **settings)
    _next_command("report", loaded.name, results_dir, storage)


@main.command("validate-proxy")
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
@click.option("--full-epochs", type=int, metavar="N", help="Of the whole training, instead of the space's.")
@click.option("--train-images", type=int, metavar="N", help="Instead of the space's.")
@_where_to_train
@click.option(
    "--seed", default=0, show_default=True, type=int, help="Of the data's cut, of training and of the choice."
)
@click.option(
    "--storage", envvar="SPIKFORMER_STORAGE", metavar="URL", help="Optuna storage.  [default: a journal in the folder]"
)
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="proxies/ lies in it.")
def validate_proxy(space: str, shares: str, results_dir: str, **settings: Any) -> None:
    """Measure whether a short training ranks the space's networks as the whole one, and recommend the cheapest.

    Interrupt it as you like: the same command goes on where it stopped.
    """
    from nas.replicates import validation  # torch, only now
    from nas.reports import proxies

    found = validation.validate(space, shares=_numbers("--shares", shares), results_dir=results_dir, **settings)
    written, said = proxies.write(found)
    for sentence in said:
        click.echo(sentence)
    for path in written:
        click.echo(f"wrote {path}")
    if found.against == "full":
        recommended = next(path for path in written if path.suffix == ".toml")
        click.echo(f"Next: {PROGRAM} search {shlex.join(['--space', space, '--proxy', str(recommended)])} --trials 200")
    else:
        click.echo(f"Next: {PROGRAM} validate-proxy {shlex.join(['--space', space])}")


def _refuse_unread(why: str, *options: str) -> None:
    """Raises click.UsageError if one of these options stands on the command line: it would have no effect."""
    context = click.get_current_context()
    names = {word: p.name or "" for p in context.command.params for word in p.opts}
    given = [o for o in options if context.get_parameter_source(names[o]) is click.core.ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"{why} {', '.join(given)}: leave it out")


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise click.UsageError(f'{option} "{text}" must be numbers, such as 0.1,0.5') from None


_RECIPE = click.option("--recipe", default="", metavar="NAME|FILE", help="Instead of the bundle's own.")
_SETTINGS = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the recipe, as epochs=100; repeatable."
)
_DATA_DIR = click.option(
    "--data-dir", metavar="DIR", help="Class folders, WebDataset shards or CIFAR.  [default: CIFAR is downloaded]"
)
_DEVICE = click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where to run.")


@main.command()
@click.argument("bundle", metavar="BUNDLE|NAME")
@_DATA_DIR
@click.option("--out", metavar="DIR", help="The trained bundle, checkpoint and log.  [default: results/trained/NAME]")
@_RECIPE
@_SETTINGS
@_DEVICE
@click.option(
    "--dry-run",
    is_flag=True,
    help="Run a few steps on noise and print memory, images/s and the time of the whole recipe; with --data-dir, "
    "time the readers too.",
)
@click.option("--study", metavar="NAME", help="Attach the result to the study that the bundle came from.")
@click.option("--storage", envvar="SPIKFORMER_STORAGE", metavar="URL", help="That of the search, if it was given one.")
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="Studies lie in it.")
@_BLOCKS
def train(
    bundle: str,
    data_dir: str | None,
    out: str | None,
    recipe: str,
    settings: tuple[str, ...],
    device: str,
    dry_run: bool,
    study: str | None,
    storage: str | None,
    results_dir: str,
) -> None:
    """Train an exported folder, or a published network by its name, in full.

    Alone, or on many GPUs: torchrun --nproc-per-node 8 cli.py train ...; see docs/training.md. Interrupt it as you
    like: the same command goes on where it stopped.
    """
    if study is None:
        _refuse_unread("without --study, train does not read", "--storage", "--results-dir")
    if dry_run:
        _refuse_unread("--dry-run writes nothing and does not read", "--out", "--study", "--storage", "--results-dir")
        from nas.full_training import rehearsal  # torch, only now

        rehearsed = rehearsal.rehearse(bundle, data_dir, recipe, settings, device)
        for line in rehearsed.lines() if rehearsed is not None else ():
            click.echo(line)
        return
    from nas.full_training import attached, loop

    target = attached.opened(bundle, study, storage, results_dir) if study is not None else None
    trained = loop.train(bundle, data_dir, out, recipe, settings, device)
    if trained is None:  # one of several processes, and not the first
        return
    if target is not None:
        attached.attach(target, trained)
    options = ["--data-dir", data_dir] if data_dir else []
    click.echo(f"wrote {trained.folder}")
    click.echo(f"Next: {PROGRAM} evaluate {_shell(str(trained.folder), *options)}")


@main.command()
@click.argument("data_dir", metavar="DIR")
@click.option("--out", required=True, metavar="DIR", help="Directory for the shards (required).")
@click.option(
    "--side", default=256, show_default=True, help="Images with a longer short side are reduced to it, in pixels."
)
@click.option("--workers", default=1, show_default=True, help="Number of processes that write shards.")
def shrink(data_dir: str, out: str, side: int, workers: int) -> None:
    """Copy the images of DIR to WebDataset shards, reduced in size so that training reads them faster.

    DIR holds class folders or WebDataset shards. If interrupted, run the same command again to continue.
    """
    from nas.datasets import shrinking  # torch, only now

    def on_progress(what: str, done: int, total: int) -> None:
        click.echo(f"{what}: {done} of {total}", err=True)

    folder = shrinking.shrink(data_dir, out, side, workers, on_progress)
    click.echo(f"wrote {folder}")
    click.echo(f"Next: {PROGRAM} train BUNDLE --data-dir {shlex.quote(str(folder))}")


@main.command()
@click.argument("networks", nargs=-1, required=True, metavar="BUNDLE|CHECKPOINT...")
@_DATA_DIR
@_SETTINGS
@_DEVICE
@click.option("--convention", default="measured", show_default=True, metavar="NAME", help="Of energy: docs/costs.md.")
@click.option("--unit-costs", default="45nm_fp32", show_default=True, metavar="NAME|FILE", help="pJ of an operation.")
@click.option("--time-steps", default="", metavar="T,T", help="Time steps, instead of the trained; as 1,2,4.")
@click.option("--image-sizes", default="", metavar="PIXELS,PIXELS", help="Image sizes, likewise; as 32,40.")
@click.option(
    "--csv",
    "table",
    metavar="FILE",
    help="File for the table.  [default: with the two options above or --plot, results/evaluated/NAME.csv]",
)
@click.option(
    "--plot",
    metavar="FILE",
    help="Figure of accuracy, energy and spike operations against T, a line per image size: .svg, .png or .pdf.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_BLOCKS
def evaluate(
    networks: tuple[str, ...],
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
    """Accuracy and costs of trained networks on test images; of several, as of several seeds, mean and deviation.

    Balanced accuracy is the mean over classes of each class's own. With --time-steps or --image-sizes the same weights
    run at each of them, without being trained for it.
    """
    import json

    from nas.costs import energy  # torch, only now
    from nas.full_training import evaluation

    steps, sizes = _whole("--time-steps", time_steps), _whole("--image-sizes", image_sizes)
    if plot is not None:
        from nas.reports import evaluated  # matplotlib, only now

        evaluated.check(Path(plot))
    chosen = energy.convention(convention, unit_costs)
    found = evaluation.evaluate(networks, data_dir, chosen, settings, device, steps, sizes)
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found], indent=2))
    else:
        _console().print(_evaluations_table(found))
    if table is not None or plot is not None or steps or sizes:
        place = Path(table or Path("results", "evaluated", f"{Path(networks[0]).resolve().name}.csv"))
        click.echo(f"wrote {evaluation.write_csv(found, place)}", err=as_json)
    if plot is not None:
        click.echo(f"wrote {evaluated.write(found, Path(plot))}", err=as_json)


def _whole(option: str, text: str) -> list[int]:
    numbers = [part.strip() for part in text.split(",") if part.strip()]
    if not all(number.isascii() and number.isdecimal() and len(number) < 10 and int(number) for number in numbers):
        raise click.UsageError(f'{option} "{text}" must be whole numbers from 1, such as 1,2,4')
    return [int(number) for number in numbers]


def _evaluations_table(found: list[Any]) -> Any:
    from nas.full_training import mean_and_deviation
    from nas.progress import in_si

    headings = (
        "network",
        "T",
        "pixels",
        "top-1",
        "top-5",
        "balanced",
        "images",
        f"energy, {found[0].convention}",
        "spike operations",
        "parameters",
    )
    rows: list[tuple[Any, ...]] = []
    for one in found:
        costs: tuple[str, ...] = ("silent", "")
        if one.energy_mj is not None:
            costs = (in_si(one.energy_mj * 1e-3, "J"), in_si(one.spike_operations, ""))
        shares = [f"{100 * share:.2f} %" for share in (one.scores.top1, one.scores.top5, one.scores.balanced)]
        form = (one.config.time_steps, one.config.stem.image_size)
        images = f"{one.scores.images:,} of {one.part}"
        rows.append((one.name, *form, *shares, images, *costs, f"{one.parameters:,}"))
    if len({(one.config.time_steps, one.config.stem.image_size) for one in found}) == 1 < len(found):
        shares_of = [(one.scores.top1, one.scores.top5, one.scores.balanced) for one in found]
        columns = [[100 * share for share in column] for column in zip(*shares_of, strict=True)]
        means = [mean_and_deviation(column) for column in columns]
        words = [f"{mean:.2f} +- {deviation:.2f} %" for mean, deviation in means]
        rows.append(("mean +- standard deviation", "", "", *words, "", "", "", ""))
    return _table(headings, rows)


@main.command()
def spaces() -> None:
    """List the search spaces that come with the project, with their size."""
    from rich.table import Table

    from nas.spaces import load_space, space_names

    table = Table(title="Search spaces", title_justify="left")
    for heading in ("name", "networks", "data", "epochs", "axes", "references"):
        table.add_column(heading, justify="right" if heading in ("networks", "epochs") else "left")
    for name in space_names():
        loaded = load_space(name)
        size, exact = loaded.size()
        axes = ", ".join(f"{axis.name} ({len(axis.choices)})" for axis in loaded.axes)
        count = f"{size:,}" if exact else f"up to {size:,}"
        table.add_row(name, count, loaded.data.dataset, str(loaded.recipe.epochs), axes, str(len(loaded.references)))
    _console().print(table)
    click.echo(f"Next: {PROGRAM} search --space NAME --trials 200")


@main.command()
@click.argument("network", metavar="CONFIG.json|NAME|STUDY")
@click.option("--trial", type=int, metavar="N", help="The network is this trial of a study: costs by layer.")
@click.option(
    "--check", type=click.Choice(["spike-driven"]), help="Name what multiplies by real numbers when deployed."
)
@click.option("--image-size", type=int, metavar="PIXELS", help="Instead of the config's.")
@click.option("--fused", is_flag=True, help="The deployable form: batch norm folded, convolutions merged.")
@click.option("--rates", metavar="NUMBER|FILE", help="Price it at these firing rates: one, or JSON by path of a layer.")
@click.option("--data-dir", metavar="DIR", help="Price an exported folder's proxy by counting on these images.")
@click.option("--convention", default="measured", show_default=True, metavar="NAME", help="Of energy: docs/costs.md.")
@click.option("--unit-costs", default="45nm_fp32", show_default=True, metavar="NAME|FILE", help="pJ of an operation.")
@click.option("--chip", metavar="NAME|MODULE:FUNCTION", help="Model of a chip, such as loihi: docs/costs.md.")
@click.option("--memory", is_flag=True, help="Estimate memory accesses too, as a line of their own.")
@click.option("--storage", envvar="SPIKFORMER_STORAGE", metavar="URL", help="That of the search, if it was given one.")
@click.option("--results-dir", default="results", show_default=True, metavar="DIR", help="Studies lie in it.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_BLOCKS
def inspect(
    network: str, trial: int | None, check: str | None, image_size: int | None, as_json: bool, **rest: Any
) -> None:
    """Structure, parameters and dense operations of a config file, an exported folder or a published network.

    What each layer costs is told with --trial, for a searched network; with --data-dir, for an exported folder;
    and with --rates, at firing rates that you vouch for. An untrained network has no energy: it has no spikes.
    --check exits with 1 if something beyond the first convolution multiplies.
    """
    import json

    from nas.reports import inspection  # torch, only now

    _one_source({"--trial": trial, "--data-dir": rest["data_dir"], "--rates": rest["rates"], "--check": check})
    if trial is not None and (rest["fused"] or image_size):
        raise click.UsageError("--trial reads the study's record. Export it, and use --data-dir with --fused")
    if trial is None and rest["data_dir"] is None and (rest["chip"] is not None or rest["memory"]):
        raise click.UsageError("--chip and --memory need counted spikes: --trial of a study, or --data-dir")

    if trial is None:
        _refuse_unread("without --trial, inspect does not read", "--storage", "--results-dir")
        if rest["data_dir"] is None and rest["rates"] is None:
            _refuse_unread("without --trial, --data-dir or --rates there are no energies to price by", *_PRICED_BY)
    if rest["data_dir"] is not None:
        _refuse_unread("--data-dir counts at the images' own size and does not read", "--image-size")
    if check is not None:
        _refuse_unread("--check names what multiplies in the deployable form and does not read", "--fused")
        remaining = inspection.not_spike_driven(network, image_size)
        click.echo(json.dumps(remaining, indent=2) if as_json else "\n".join(remaining) or "nothing multiplies")
        sys.exit(0 if all(line.startswith("stem.embedding") for line in remaining) else 1)
    result = _inspected(network, trial, image_size, **rest)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _console().print(result.table())
        for line in result.lines():
            _console().print(line, highlight=False, markup=False)


_PRICED_BY = ("--convention", "--unit-costs")


def _one_source(given: dict[str, Any]) -> None:
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise click.UsageError(f"{' and '.join(named)} are different questions. Give one of them")


def _inspected(
    network: str,
    trial: int | None,
    image_size: int | None,
    *,
    rates: str | None,
    data_dir: str | None,
    fused: bool,
    convention: str,
    unit_costs: str,
    chip: str | None,
    memory: bool,
    storage: str | None,
    results_dir: str,
) -> Any:
    from nas.costs import chip as chips
    from nas.costs import energy
    from nas.costs import rates as firing
    from nas.reports import inspection
    from nas.studies import study as studies

    chosen = energy.convention(convention, unit_costs)
    on = None if chip is None else chips.load(chip)
    if trial is not None:
        loaded = studies.load_study(network, storage=storage, results_dir=results_dir)
        return inspection.costs(loaded, trial, chosen, on, memory=memory)
    if data_dir is not None:
        return inspection.costs_on_images(network, data_dir, chosen, on, fused=fused, memory=memory)
    if rates is not None:
        return inspection.costs_at_rates(network, firing.read(rates), chosen, image_size, fused=fused)
    return inspection.inspect(network, image_size, fused=fused)


@main.command("check-block")
@click.argument("block", metavar="PACKAGE.MODULE:CLASS")
def check_block(block: str) -> None:
    """Hold a mixer, channel mixer or neuron of your own to what every block owes: see docs/your_own_block.md.

    Exit code 1 if it breaks a promise.
    """
    from rich.table import Table

    from nas.costs import contract  # torch, only now

    checks = contract.check_block(block)
    table = Table(title=block, title_justify="left")
    for heading in ("promise", "network", "", "seen"):
        table.add_column(heading)
    for check in checks:
        table.add_row(check.name, check.network, "kept" if check.passed else "BROKEN", check.detail)
    _console().print(table)
    if not all(check.passed for check in checks):
        sys.exit(1)
    click.echo(f'Next: name it in a space, such as  attention = ["ssa", "{block}"]')


def _console() -> Any:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160  # a file or a pipe has no width of its own
    return Console(width=width)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Thousands of records are made, none of them garbage: looking for some, also at the end, doubles the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _next_command(command: str, study: str, results_dir: str, storage: str | None) -> None:
    click.echo(f"Next: {PROGRAM} {command} {_shell('--study', study, *_place(results_dir, storage))}")


def _shell(*arguments: str) -> str:
    """Arguments of the next command, which may import the same blocks."""
    from spikformer import plugins

    return shlex.join([*arguments, *plugins.arguments()])


def _place(results_dir: str, storage: str | None) -> list[str]:
    """Options that lead another command to the same study."""
    options = [] if results_dir == "results" else ["--results-dir", results_dir]
    if storage and "SPIKFORMER_STORAGE" not in os.environ:
        from nas.studies import urls

        options += ["--storage", urls.hidden(storage)]
    return options


def _let_threads_sleep() -> None:
    """Before torch loads: OpenMP's threads spin while they wait, which slows others on the machine many times over."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def run() -> NoReturn:
    """Run a command; bad input ends in one line on stderr and exit code 1, an interruption in 130."""
    from spikformer.errors import SpikformerError

    _let_threads_sleep()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        main.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SpikformerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = str(error.filename)
        click.echo(f"Error: the path {name[:60]}... has {len(name):,} characters, too many. Correct it", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. Nothing is lost: the same command goes on.", err=True)
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    run()
