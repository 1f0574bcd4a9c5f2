"""Types of values, and options that several commands have. Nothing here imports torch."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nas.settings import ReferencePoint

Command = Callable[..., None]
Decorator = Callable[[Command], Command]


class Count(click.ParamType):  # pyrefly: ignore[implicit-any-type-argument]  # it takes one from click 8.4 on
    """A whole number, also written as 500k or 16M."""

    name = "count"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        factor = {"k": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
        try:
            return round(float(text[:-1] if factor > 1 else text) * factor)
        except (ValueError, OverflowError):
            self.fail(f'"{value}" is not a number. Give one such as 500000, 500k or 16M', param, ctx)


COUNT = Count()


class _Point(click.ParamType):  # pyrefly: ignore[implicit-any-type-argument]  # it takes one from click 8.4 on
    """Accuracy and energy of a reference point, as 0.8,0.01."""

    name = "point"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> "ReferencePoint":
        from nas.settings import ReferencePoint

        try:
            accuracy, energy_mj = map(float, str(value).split(","))
        except ValueError:
            self.fail(f'"{value}" is not an accuracy and an energy in mJ. Give both, such as 0.8,0.01', param, ctx)
        return ReferencePoint(accuracy, energy_mj)


HYPERVOLUME_FROM = click.option(
    "--hypervolume-from",
    type=_Point(),
    metavar="ACCURACY,ENERGY_MJ",
    help="Networks that are less accurate or need more energy than this add nothing; the search aims at networks "
    "beyond it. The accuracy is a share, and the energy is in mJ per image, as 0.8,0.01.  [default: derived from the "
    "networks]",
)


def together(*decorators: Decorator) -> Decorator:
    """Several options as one decorator; `--help` lists them in this order."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def _allow(_context: click.Context, _option: click.Parameter, blocks: tuple[str, ...]) -> None:
    from spikformer import plugins

    plugins.allow(*blocks)


BLOCKS = click.option(
    "--blocks",
    multiple=True,
    metavar="MODULE|FILE.py",
    expose_value=False,
    callback=_allow,
    help="Allow this Python module, such as mypkg.mine, to be imported: it defines custom blocks. Modules that are not "
    "named are never imported. Repeatable.",
)
RESULTS_DIR = click.option(
    "--results-dir", default="results", show_default=True, metavar="DIR", help="Directory that holds the studies."
)
STUDY = click.option("--study", metavar="NAME", help="Name of the study.  [default: the latest study]")
STORAGE = click.option(
    "--storage",
    envvar="SPIKFORMER_STORAGE",
    metavar="URL",
    help="Database that holds the study, as given to `search`.  [default: the journal in the study's folder]",
)
WHERE_STUDIES_ARE = together(STORAGE, RESULTS_DIR)
CONVENTION = together(
    click.option(
        "--convention",
        default="measured",
        show_default=True,
        metavar="NAME",
        help="Convention that turns counts of operations into energy; docs/costs.md lists the names.",
    ),
    click.option(
        "--unit-costs",
        default="45nm_fp32",
        show_default=True,
        metavar="NAME|FILE",
        help="Energy of each kind of operation in pJ: the name of a built-in table, or a TOML file.",
    ),
)
CHIP = click.option(
    "--chip",
    metavar="NAME|MODULE:FUNCTION",
    help="Chip model, loihi, digital or a function of your own, that adds latency in ms and energy in mJ per image; "
    "docs/costs.md explains the models.",
)
MEMORY = click.option(
    "--memory",
    is_flag=False,
    flag_value="horowitz64",
    metavar="[NAME]",
    help="Also estimate the energy of memory accesses in mJ, by lemaire2022, lemaire_64bit, step or, if no name is "
    "given, horowitz64. It is never added to the energy of operations.",
)
HARDWARE = together(CHIP, MEMORY)
DEVICE = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:i]",
    help="Device to train on; auto takes a GPU if there is one.",
)
SEARCH_IMAGES = click.option(
    "--data-dir",
    metavar="DIR",
    help="Directory with the images or recordings.  [default: the user's cache folder, into which CIFAR is downloaded]",
)
TRAINING_IMAGES = click.option(
    "--data-dir",
    metavar="DIR",
    help="Directory with class folders, WebDataset shards, CIFAR or recordings.  [default: CIFAR is downloaded; "
    "digits are bundled]",
)
WORKERS = together(
    click.option(
        "--workers",
        default=1,
        show_default=True,
        metavar="N",
        help="Number of training runs at the same time, on all GPUs together.",
    ),
    click.option(
        "--per-gpu",
        default=1,
        show_default=True,
        metavar="K",
        help="Largest number of training runs at the same time on one GPU.",
    ),
)
RECIPE_SETTINGS = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting of the recipe, such as batch_size=64. Repeatable.",
)
SEED = click.option(
    "--seed", default=0, show_default=True, help="Random seed for the data split, training and sampling."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


WEIGHTS = click.option(
    "--weights",
    metavar="FILE",
    help="File with weights that the authors of the network released. It is read as data; none of its code runs.",
)


def one_network(argument: str | None, metavar: str, network: str | None, weights: str | None) -> str:
    """The network of an argument, or that of --network with --weights.

    Raises:
        click.UsageError: none of them, both, or one option without the other.
    """
    if network is None and weights is None:
        if argument is None:
            raise click.UsageError(f"Missing argument '{metavar}'.", click.get_current_context())
        return argument
    if network is None or weights is None:
        raise click.UsageError("--network NAME and --weights FILE go together: give both, or the network's name alone")
    if argument is not None:
        raise click.UsageError(f"{argument} and --network {network} name two networks. Give only one of them")
    return network


def numbers(option: str, text: str) -> list[float]:
    """The numbers of a text such as "0.1,0.5".

    Raises:
        click.UsageError: something else.
    """
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise click.UsageError(f'{option} "{text}" must be a list of numbers, such as 0.1,0.5') from None


def whole_numbers(option: str, text: str) -> list[int]:
    """The numbers of a text such as "1,2,4".

    Raises:
        click.UsageError: something else.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 and int(part) for part in parts):
        raise click.UsageError(f'{option} "{text}" must be a list of whole numbers of at least 1, such as 1,2,4')
    return [int(part) for part in parts]


def refuse_unread(why: str, *options: str) -> None:
    """Refuse options that stand on the command line and would have no effect.

    Raises:
        click.UsageError: one of them does.
    """
    context = click.get_current_context()
    names = {word: p.name or "" for p in context.command.params for word in p.opts}
    unread = [o for o in options if context.get_parameter_source(names[o]) is click.core.ParameterSource.COMMANDLINE]
    if unread:
        raise click.UsageError(f"{why} {', '.join(unread)}. Leave out {', '.join(unread)}")


def one_of(values: dict[str, object]) -> None:
    """Refuse more than one of options that ask different questions.

    Raises:
        click.UsageError: several have a value.
    """
    flags = [name for name, value in values.items() if value is not None]
    if len(flags) > 1:
        raise click.UsageError(f"{' and '.join(flags)} cannot be combined. Give only one of them")


__all__ = [
    "AS_JSON",
    "BLOCKS",
    "CONVENTION",
    "COUNT",
    "DEVICE",
    "HARDWARE",
    "HYPERVOLUME_FROM",
    "MEMORY",
    "RECIPE_SETTINGS",
    "RESULTS_DIR",
    "SEARCH_IMAGES",
    "SEED",
    "STORAGE",
    "STUDY",
    "TRAINING_IMAGES",
    "WEIGHTS",
    "WHERE_STUDIES_ARE",
    "WORKERS",
    "numbers",
    "one_network",
    "one_of",
    "refuse_unread",
    "together",
    "whole_numbers",
]
