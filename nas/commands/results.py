"""Commands that read what a search found: report, export, and the costs of one network."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from nas.commands import following, options, refusals, tables

if TYPE_CHECKING:
    from nas.reports import Report


@click.command()
@options.STUDY
@options.WHERE_STUDIES_ARE
@options.CONVENTION
@options.HARDWARE
@click.option("--compare", multiple=True, metavar="STUDY", help="Another one's front in the same frame; repeatable.")
@click.option("--latex", is_flag=True, help="Also the front as a LaTeX table.")
@click.option("--out", metavar="DIR", help="Folder for all files of the report.  [default: the study's]")
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
@options.BLOCKS
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
    out: str | None,
    show: bool,
) -> None:
    """Print the Pareto front, then write a page, tables and figures into the study's folder.

    Safe while a search runs. With --out nothing is written into the study's folder, which may be read-only. Another
    convention prices the study anew, from the operations in its records: nothing is trained or loaded.
    """
    import nas

    refusals.check_prices(convention, unit_costs, chip)
    console = tables.console()

    def show_front(built: "Report") -> None:
        console.print(built.table())
        for line in built.findings:
            console.print(line, highlight=False, markup=False)

    with following.without_garbage_collection():
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
    for path in result.files:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if show:
        click.launch(str(result.files[0].absolute()))
    if result.repeats is None or result.repeats.confirmed.empty:
        following.print_next_about(loaded.name, "confirm", results_dir, storage, *following.images(loaded.data_dir))
    following.print_next_about(loaded.name, "export", results_dir, storage)


@click.command()
@click.option("--study", is_flag=False, flag_value="", default="", metavar="[NAME]", help="Without a name, the latest.")
@click.option(
    "--pick",
    default="front",
    show_default=True,
    metavar="front|knee|accuracy|energy|TRIAL",
    help="Networks to export: the front, one of its members by what it is best in, or a trial.",
)
@click.option("--params", type=options.COUNT, metavar="N", help="For ImageNet, as large as N parameters allow; as 16M.")
@click.option("--macs", type=options.COUNT, metavar="N", help="The same for dense MACs per image; as 5G.")
@click.option("--as-is", is_flag=True, help="The searched networks themselves, for the images they were searched on.")
@click.option(
    "--classes", type=click.IntRange(1), metavar="N", help="Number of output classes.  [default: 1000; as searched]"
)
@click.option("--network", metavar="NAME|BUNDLE", help="Instead of a study's: a published network, or a bundle.")
@options.WEIGHTS
@click.option(
    "--format", "form", type=click.Choice(["onnx"]), help="Also the deployable form, which is run to check it."
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
    """Write folders with the best networks, to be trained in full.

    They are made for ImageNet, without --params and --macs as wide and deep as they were searched. With --as-is, and
    after a search on grey or small images, they are the searched networks themselves.
    """
    import nas
    from nas.bundles import config_of
    from nas.exports import check_pick

    check_pick(pick)
    sized = as_is or params is not None or macs is not None or classes is not None
    if network is not None and sized:
        raise click.UsageError("--network is written as it is: --params, --macs, --as-is and --classes are for studies")
    new = network is None or not Path(network).is_dir()
    if network is not None:
        options.refuse_unread("--network does not read", "--study", "--pick", "--storage", "--results-dir")
    if weights is not None and (network is None or not new):
        raise click.UsageError("--weights are of a published network: --network NAME")
    if not new:
        options.refuse_unread("a bundle is converted where it is and does not read", "--out")
        if form is None:
            raise click.UsageError(f"{network} is a bundle already. Give --format to convert its trained network")
    elif network is not None:
        config_of(network)
    loaded = None if network is not None else nas.load_study(study or None, storage=storage, results_dir=results_dir)
    from nas.exports import Size, convert, export_published, why_as_is  # torch, only now

    def wrote(folder: Path) -> None:
        if new:
            click.echo(f"wrote {folder}")
        if form is not None:
            path, difference = convert(folder)
            click.echo(f"wrote {path}, whose logits are the network's up to a relative difference of {difference:.1g}")

    if loaded is not None:
        size = Size(as_is, params, macs, classes or 0)
        last = nas.export(loaded, pick, out, size, wrote, following.program(here=False))[-1]
        for sentence in why_as_is(loaded, size):
            click.echo(sentence)
    elif network is not None:
        last = export_published(network, out, weights, following.program(here=False)) if new else Path(network)
        wrote(last)
    if new:
        following.print_next("train", str(last), "--dry-run")


@click.command()
@click.argument("network", metavar="CONFIG.json|NAME|STUDY", required=False)
@click.option("--network", "published", metavar="NAME|CONFIG.json", help="Instead: the network that --weights are of.")
@options.WEIGHTS
@click.option("--trial", type=int, metavar="N", help="The network is this trial of a study: costs by layer.")
@click.option(
    "--check", type=click.Choice(["spike-driven"]), help="Name what multiplies by real numbers when deployed."
)
@click.option("--image-size", type=int, metavar="PIXELS", help="Instead of the config's.")
@click.option("--fused", is_flag=True, help="The deployable form: batch norm folded, convolutions merged.")
@click.option("--rates", metavar="NUMBER|FILE", help="Price it at these firing rates: one, or JSON by path of a layer.")
@click.option(
    "--data-dir", metavar="DIR", help="Price an exported folder's proxy, or --weights, by counting on these images."
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
    memory: bool,
    storage: str | None,
    results_dir: str,
    as_json: bool,
) -> None:
    """Structure, parameters and dense operations of a config file, an exported folder or a published network.

    What each layer costs is told with --trial, for a searched network; with --data-dir, for an exported folder, or
    for --network with the --weights that its authors released; and with --rates, at firing rates that you vouch for.
    An untrained network has no energy: it has no spikes.
    --check exits with 1 if something beyond the first convolution multiplies.
    """
    network = options.one_network(network, "CONFIG.json|NAME|STUDY", published, weights)
    options.one_of({"--trial": trial, "--data-dir": data_dir, "--rates": rates, "--check": check})
    if weights is not None:
        reason = "--weights are priced by counting (--data-dir), and inspect then does not read"
        options.refuse_unread(reason, "--trial", "--rates", "--check", "--image-size")
    if trial is not None and (fused or image_size):
        raise click.UsageError("--trial reads the study's record. Export it, and use --data-dir with --fused")
    if trial is None and data_dir is None and (chip is not None or memory):
        raise click.UsageError("--chip and --memory need counted spikes: --trial of a study, or --data-dir")
    _refuse_what_inspect_does_not_read(trial, check, rates, data_dir)
    if check is not None:
        _check_spike_driven(network, image_size, as_json)
    import nas

    refusals.check_prices(convention, unit_costs, chip)
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
        tables.console().print(result.table())
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


@click.command("check-block")
@click.argument("block", metavar="PACKAGE.MODULE:CLASS")
def check_block(block: str) -> None:
    """Check a custom mixer, channel mixer or neuron against the block contract: see docs/your_own_block.md.

    Exit code 1 if it breaks a promise.
    """
    from spikformer import plugins

    plugins.check_reference(block)
    from nas.costs import contract  # torch, only now

    checks = contract.check_block(block)
    tables.console().print(tables.promises(block, checks))
    if not all(check.passed for check in checks):
        sys.exit(1)
    click.echo(f'It can be named in a search space, such as  attention = ["ssa", "{block}"]')


__all__ = ["check_block", "export", "inspect", "report"]
