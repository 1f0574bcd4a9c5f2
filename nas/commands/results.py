"""Commands that read what a search found: report, export, and the costs of one network."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from nas.commands import following, helping, options, refusals, tables

if TYPE_CHECKING:
    from nas.reports import Report


@helping.command(examples=("report --open", "report --study spikformer_tiny --convention paper --latex"))
@options.STUDY
@options.WHERE_STUDIES_ARE
@options.CONVENTION
@options.HARDWARE
@click.option(
    "--compare",
    multiple=True,
    metavar="STUDY",
    help="Another study, whose front is drawn in the same chart. Repeatable.",
)
@click.option("--latex", is_flag=True, help="Also write the front as a LaTeX table.")
@click.option("--out", metavar="DIR", help="Directory for the files of the report.  [default: the study's folder]")
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
@options.BLOCKS
def report(
    study: str | None,
    storage: str | None,
    results_dir: str,
    convention: str,
    unit_costs: str,
    chip: str | None,
    memory: str | None,
    compare: tuple[str, ...],
    latex: bool,
    out: str | None,
    show: bool,
) -> None:
    """Print the Pareto front, then write a page, tables and figures into the study's folder.

    It is safe while a search runs. With --out, nothing is written into the study's folder, which may be read-only.
    Another --convention computes energies again from the operations in the study's records, without any training.
    """
    import nas

    refusals.check_prices(convention, unit_costs, chip, memory)
    console = tables.console()

    def show_front(built: "Report") -> None:
        console.print(built.table())
        for line in built.findings:
            console.print(line, highlight=False, markup=False)

    with following.without_garbage_collection() as for_ever:
        loaded = nas.load_study(study, storage=storage, results_dir=results_dir)
        others = [nas.load_study(name, storage=storage, results_dir=results_dir) for name in compare]
        result = nas.report(
            loaded,
            convention=convention,
            unit_costs=unit_costs,
            chip=chip,
            memory=memory,
            compare=others,
            latex=latex,
            options=following.place(results_dir, storage),
            program=following.program(here=False),
            out=out,
            on_built=show_front,
        )
        for_ever += [loaded, others]
    for path in result.files:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if show:
        click.launch(str(result.files[0].absolute()))
    if result.repeats is None or result.repeats.confirmed.empty:
        following.print_next_about(loaded.name, "confirm", results_dir, storage, *following.images(loaded.data_dir))
    following.print_next_about(loaded.name, "export", results_dir, storage)


@helping.command(examples=("export --study", "export --study spikformer_tiny --pick knee --params 16M"))
@click.option(
    "--study",
    is_flag=False,
    flag_value="",
    default="",
    metavar="[NAME]",
    help="Study to export from.  [default: the latest]",
)
@click.option(
    "--pick",
    default="front",
    show_default=True,
    metavar="front|knee|accuracy|energy|TRIAL",
    help="Networks to export: the whole front, its knee, its most accurate or most frugal member, or the network of "
    "a trial. For ImageNet, a word picks a network of each family of the front.",
)
@click.option(
    "--params", type=options.COUNT, metavar="N", help="Scale the networks for ImageNet to at most N parameters, as 16M."
)
@click.option(
    "--macs",
    type=options.COUNT,
    metavar="N",
    help="Scale the networks for ImageNet to at most N dense MACs per image, as 5G.",
)
@click.option(
    "--as-is", is_flag=True, help="Export the searched networks unchanged, for images like those of the search."
)
@click.option(
    "--classes",
    type=click.IntRange(1),
    metavar="N",
    help="Number of output classes.  [default: 1000; with --as-is, as in the search]",
)
@click.option(
    "--network",
    metavar="NAME|BUNDLE",
    help="Published network or exported bundle to write, instead of a study's networks.",
)
@options.WEIGHTS
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx"]),
    help="Also export the deployable model (batch norms folded) in this format, and run it as a check.",
)
@click.option("--out", metavar="DIR", help="Directory for the bundles.  [default: exports/ in the study's folder]")
@options.WHERE_STUDIES_ARE
@options.BLOCKS
def export(
    study: str,
    pick: str,
    params: int | None,
    macs: int | None,
    as_is: bool,
    classes: int | None,
    network: str | None,
    weights: str | None,
    form: Literal["onnx"] | None,
    out: str | None,
    storage: str | None,
    results_dir: str,
) -> None:
    """Write a folder, called a bundle, for each of the best networks, ready to be trained in full.

    The networks are adapted to ImageNet and keep their width and depth, unless --params or --macs scales them. With
    --as-is, and after a search on grey or small images, they stay as they were searched.
    """
    import nas
    from nas.bundles import config_of
    from nas.exports import check_pick

    check_pick(pick)
    sized = as_is or params is not None or macs is not None or classes is not None
    if network is not None and sized:
        raise click.UsageError(
            "--network exports a network unchanged. Leave out --params, --macs, --as-is and --classes"
        )
    new = network is None or not Path(network).is_dir()
    if network is not None:
        options.refuse_unread("--network does not read", "--study", "--pick", "--storage", "--results-dir")
    if weights is not None and (network is None or not new):
        raise click.UsageError("--weights needs the published network that the file belongs to: add --network NAME")
    if not new:
        options.refuse_unread("a bundle is converted where it is and does not read", "--out")
        if form is None:
            raise click.UsageError(f"{network} is a bundle already. Give --format to convert its trained network")
    elif network is not None:
        config_of(network)
    loaded = None if network is not None else nas.load_study(study or None, storage=storage, results_dir=results_dir)
    from nas.exports import Size, convert, export_published, notes, why_as_is  # torch, only now

    def wrote(folder: Path) -> None:
        if new:
            click.echo(f"wrote {folder}")
        if form is not None:
            path, difference = convert(folder)
            click.echo(f"wrote {path}, whose logits are the network's up to a relative difference of {difference:.1g}")

    if loaded is not None:
        size = Size(as_is, params, macs, classes or 0)
        last = nas.export(loaded, pick, out, size, wrote, following.program(here=False))[-1]
        for sentence in [*why_as_is(loaded, size), *notes(loaded, pick, size)]:
            click.echo(sentence)
    elif network is not None:
        last = export_published(network, out, weights, following.program(here=False)) if new else Path(network)
        wrote(last)
    if new:
        following.print_next("train", str(last), "--dry-run")  # pyrefly: ignore[unbound-name]


@helping.command(
    examples=(
        "inspect spikformer_cifar10_4_384",
        "inspect spikformer_tiny --trial 12",
        "inspect sdt2_in_15M --check spike-driven",
    )
)
@click.argument("network", metavar="CONFIG.json|NAME|STUDY", required=False)
@click.option(
    "--network", "published", metavar="NAME|CONFIG.json", help="Network that the file of --weights belongs to."
)
@options.WEIGHTS
@click.option(
    "--trial", type=int, metavar="N", help="Number of a trial of the study: show its network, with costs by layer."
)
@click.option(
    "--check",
    type=click.Choice(["spike-driven"]),
    help="List what multiplies real numbers in the deployable form; exit code 1 if anything beyond the first "
    "convolution does.",
)
@click.option(
    "--image-size", type=int, metavar="PIXELS", help="Side of the input images, in pixels.  [default: as in the config]"
)
@click.option(
    "--fused", is_flag=True, help="Inspect the deployable form: batch norms folded, parallel convolutions merged."
)
@click.option(
    "--rates",
    metavar="NUMBER|FILE",
    help="Compute energies at given firing rates: one number for all layers, or a JSON file with a rate per layer.",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    help="Directory with images or recordings, on which the operations of a bundle's proxy, or of --weights, are "
    "counted.",
)
@options.CONVENTION
@options.HARDWARE
@options.WHERE_STUDIES_ARE
@options.AS_JSON
@options.BLOCKS
def inspect(
    network: str | None,
    published: str | None,
    weights: str | None,
    trial: int | None,
    check: str | None,
    image_size: int | None,
    fused: bool,
    rates: str | None,
    data_dir: str | None,
    convention: str,
    unit_costs: str,
    chip: str | None,
    memory: str | None,
    storage: str | None,
    results_dir: str,
    as_json: bool,
) -> None:
    """Show structure, parameters and dense operations of a config file, a bundle or a published network.

    An untrained network has no energy, because its spikes are not known. Costs by layer are shown with --trial for a
    searched network, with --data-dir for a bundle or released weights, and with --rates at firing rates of your own.
    """
    network = options.one_network(network, "CONFIG.json|NAME|STUDY", published, weights)
    options.one_of({"--trial": trial, "--data-dir": data_dir, "--rates": rates, "--check": check})
    if weights is not None:
        reason = "--weights are priced by counting (--data-dir), and inspect then does not read"
        options.refuse_unread(reason, "--trial", "--rates", "--check", "--image-size")
    if trial is not None and (fused or image_size):
        raise click.UsageError(
            "--trial reads the study's record, so --fused and --image-size do not apply. Export the trial first"
        )
    if trial is None and data_dir is None and (chip is not None or memory is not None):
        raise click.UsageError("--chip and --memory need counted spikes: add --trial N or --data-dir DIR")
    _refuse_what_inspect_does_not_read(trial, check, rates, data_dir)
    if check is not None:
        _check_spike_driven(network, image_size, as_json)
    import nas

    refusals.check_prices(convention, unit_costs, chip, memory)
    inspected: str | nas.Study = network
    if trial is None and data_dir is None:
        refusals.check_network(network, image_size, rates)
    if trial is not None:
        inspected = nas.load_study(network, storage=storage, results_dir=results_dir)
        inspected.candidate(trial)
    result = nas.inspect(
        inspected,
        trial,
        image_size=image_size,
        fused=fused,
        rates=rates,
        data_dir=data_dir,
        convention=convention,
        unit_costs=unit_costs,
        chip=chip,
        memory=memory,
        weights=weights,
    )
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        for shown in result.tables():
            tables.console().print(shown)
        for line in result.lines():
            tables.console().print(line, highlight=False, markup=False)


def _refuse_what_inspect_does_not_read(
    trial: int | None, check: str | None, rates: str | None, data_dir: str | None
) -> None:
    if trial is None:
        options.refuse_unread("without --trial, inspect does not read", "--storage", "--results-dir")
        if data_dir is None and rates is None:
            reason = "without --trial, --data-dir or --rates there are no energies to price by"
            options.refuse_unread(reason, "--convention", "--unit-costs")
    if data_dir is not None:
        options.refuse_unread("--data-dir counts at the images' own size and does not read", "--image-size")
    if check is not None:
        options.refuse_unread("--check names what multiplies in the deployable form and does not read", "--fused")


def _check_spike_driven(network: str, image_size: int | None, as_json: bool) -> NoReturn:
    """Print what multiplies by real numbers; exit with 1 if anything beyond the first convolution does."""
    from nas.reports import structure

    remaining = structure.not_spike_driven(network, image_size)
    click.echo(json.dumps(remaining, indent=2) if as_json else "\n".join(remaining) or "nothing multiplies")
    sys.exit(0 if all(line.startswith("stem.embedding") for line in remaining) else 1)


@helping.command("check-block", examples=("check-block mine:MyAttention", "check-block mine:MyStem --part stem"))
@click.argument("block", metavar="PACKAGE.MODULE:CLASS")
@click.option(
    "--part",
    type=click.Choice(["stem", "down", "mixer", "mlp", "neuron"]),
    help="Part of the network that the class takes.  [default: neuron if it is a Neuron, else mixer]",
)
def check_block(block: str, part: Literal["stem", "down", "mixer", "mlp", "neuron"] | None) -> None:
    """Check a custom mixer, channel mixer, neuron, stem or downsampling (docs/your_own_block.md).

    The exit code is 1 if it breaks the contract.
    """
    from spikformer import plugins

    plugins.check_reference(block)
    from nas.costs import contract  # torch, only now

    checks = contract.check_block(block, part=part)
    tables.console().print(tables.promises(block, checks))
    if not all(check.passed for check in checks):
        sys.exit(1)
    click.echo(f"It can be named in a search space, such as  {_AXES.get(part or '', _AXES['mixer']).format(block)}")


_AXES = {
    "mixer": 'attention = ["ssa", "{}"]',
    "stem": '"stem.kind" = ["sps", "{}"]',
    "down": '"stages.1.down.kind" = ["conv", "{}"]',
    "mlp": 'mlp = ["mlp", "{}"]',
    "neuron": 'neuron = ["lif", "{}"]',
}
"""How an axis of a space names a class, by the part that it takes."""


__all__ = ["check_block", "export", "inspect", "report"]
