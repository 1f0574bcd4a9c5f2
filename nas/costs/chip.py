"""What a network costs on a chip, by a model of it: a function of the counts in a record.

A model of one's own is named "package.module:function"; `docs/costs.md` writes one in ten lines. It is called as

    model(config, operations, overheads, images) -> ChipCosts

    config      SpikformerConfig: of the network; `config.time_steps` is T
    operations  sequence of `nas.costs.Operation`, one a layer, in the order in which they run; its whole numbers are
                sums over all images and time steps
    overheads   `nas.costs.Overheads`: neuron updates and additions, summed likewise
    images      over how many was counted: divide by it for figures of one image

Two models come with the project, `loihi` and `digital`: classes that state what they assume (`nas.costs.chip_model`).
A module is imported when it is named: name only code that you trust.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.costs.accesses import Counts
from nas.costs.chip_model import ChipCosts, ChipModel
from nas.costs.digital import Digital
from nas.costs.loihi import Loihi
from nas.costs.operations import Operation, Overheads
from nas.errors import CostError
from spikformer import plugins
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import nearest

Model = Callable[[SpikformerConfig, Sequence[Operation], Overheads, int], ChipCosts]


@dataclass(frozen=True)
class Chip:
    """A model under its name; calling it checks what the model returns.

    Attributes:
        model: a class that comes with the project, or a function of the user's own.
    """

    name: str
    model: ChipModel | Model

    @property
    def summary(self) -> str:
        """What the model is, in a line: the first of its docstring, or ""."""
        if isinstance(self.model, ChipModel):
            return self.model.summary
        return (self.model.__doc__ or "").strip().partition("\n")[0]

    def __call__(self, counts: Counts) -> ChipCosts:
        """What the model says of one image.

        Raises:
            CostError: nothing was counted; the model failed, or returned something else than `ChipCosts` of finite
                positive figures.
        """
        if not counts.operations or counts.images < 1:
            raise CostError(f'chip "{self.name}" needs counted operations. Measure the network first')
        try:
            costs = self._asked(counts)
        except Exception as error:  # a user's code may fail in any way
            raise CostError(f'chip "{self.name}" failed: {_named(error)}. Correct the model') from error
        self._check(costs)
        return costs

    def misfit(self, config: SpikformerConfig) -> str | None:
        """Why a network does not fit, from its shapes alone; None where it fits, or where the model is a function."""
        if not isinstance(self.model, ChipModel):
            return None
        from nas.costs.static import static_operations  # torch, only now

        return self.model.misfit(Counts(config, static_operations(config), Overheads(), 1, {}))

    @property
    def tells_fit(self) -> bool:
        """Whether it says from shapes alone what fits."""
        return isinstance(self.model, ChipModel)

    def _asked(self, counts: Counts) -> ChipCosts:
        if isinstance(self.model, ChipModel):
            return self.model.price(counts)
        return self.model(counts.config, counts.operations, counts.overheads, counts.images)

    def _check(self, costs: object) -> None:
        if not isinstance(costs, ChipCosts):
            raise CostError(
                f'chip "{self.name}" returned {costs!r}. Return a nas.costs.ChipCosts(energy_mj, latency_ms, fits)'
            )
        for name in ("energy_mj", "latency_ms"):
            value = getattr(costs, name)
            if value is not None and not _is_positive(value):
                raise CostError(
                    f'chip "{self.name}" returned {name}={value!r}; "{name}" must be a finite positive number, or '
                    "None if the model does not say"
                )
        if costs.fits is not None and type(costs.fits) is not bool:
            raise CostError(f'chip "{self.name}" returned fits={costs.fits!r}; "fits" must be True, False or None')
        if not isinstance(costs.note, str):
            raise CostError(f'chip "{self.name}" returned note={costs.note!r}; "note" must be text')


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _named(error: Exception) -> str:
    """Kind, message and the line where it arose."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{place}"


def names() -> list[str]:
    """Of the models that come with the project."""
    return list(_MODELS)


def load(name: str) -> Chip:
    """A model that comes with the project, or the function that a "package.module:function" names.

    Raises:
        CostError: no such model, module or function; a module that fails while it is imported.
    """
    if name in _MODELS:
        return Chip(name, _MODELS[name])
    try:
        plugins.check_reference(name)
    except ConfigError:
        raise CostError(
            f'no chip is named "{name}". {nearest(name, _MODELS)} Or write "package.module:function"'
        ) from None
    module_name, _, function = name.partition(":")
    try:
        model = plugins.imported(name, "chip")
    except ConfigError as error:
        raise CostError(str(error)) from None
    except Exception as error:  # a user's code may fail in any way
        raise CostError(f'chip "{name}": {module_name} fails while it is imported: {_named(error)}') from error
    if not callable(model):
        raise CostError(f'chip "{name}": {module_name} has no function {function}')
    return Chip(name, model)


_MODELS: dict[str, ChipModel] = {model.name: model for model in (Loihi(), Digital())}

__all__ = ["Chip", "ChipCosts", "ChipModel", "Model", "load", "names"]
