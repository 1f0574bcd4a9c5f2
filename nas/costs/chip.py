"""What a network costs on a chip, by a model of it: a function of the counts in a record.

A model of one's own is named "package.module:function"; `docs/costs.md` writes one in ten lines. It is called as

    model(config, operations, overheads, images) -> ChipCosts

    config      SpikformerConfig: of the network; `config.time_steps` is T
    operations  sequence of `nas.costs.Operation`, one a layer, in the order in which they run; its whole numbers are
                sums over all images and time steps
    overheads   `nas.costs.Overheads`: neuron updates and additions, summed likewise
    images      over how many was counted: divide by it for figures of one image

One model comes with the project, `loihi`. A module is imported when it is named: name only code that you trust.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.costs.operations import Operation, Overheads
from nas.errors import CostError
from spikformer import plugins
from spikformer.config import SpikformerConfig
from spikformer.errors import ConfigError
from spikformer.fields import nearest


@dataclass(frozen=True)
class ChipCosts:
    """Costs of one image on a chip. None where the model does not say.

    Attributes:
        energy_mj: energy in millijoules.
        latency_ms: latency in milliseconds.
        fits: whether the network fits on the chip.
        note: what a reader should know of these figures.
    """

    energy_mj: float | None
    latency_ms: float | None
    fits: bool | None
    note: str = ""


Model = Callable[[SpikformerConfig, Sequence[Operation], Overheads, int], ChipCosts]


@dataclass(frozen=True)
class Chip:
    """A model under its name; calling it checks what the model returns."""

    name: str
    model: Model

    @property
    def summary(self) -> str:
        """First line of the model's docstring, or ""."""
        return (self.model.__doc__ or "").strip().partition("\n")[0]

    def __call__(
        self, config: SpikformerConfig, operations: Sequence[Operation], overheads: Overheads, images: int
    ) -> ChipCosts:
        """What the model says of one image.

        Raises:
            CostError: nothing was counted; the model failed, or returned something else than `ChipCosts` of finite
                positive figures.
        """
        if not operations or images < 1:
            raise CostError(f'chip "{self.name}" needs counted operations. Measure the network first')
        try:
            costs = self.model(config, operations, overheads, images)
        except Exception as error:  # a user's code may fail in any way
            raise CostError(f'chip "{self.name}" failed: {_named(error)}. Correct the model') from error
        self._check(costs)
        return costs

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


# Davies et al., "Loihi: A Neuromorphic Manycore Processor with On-Chip Learning", IEEE Micro 38(1), 2018, table 2,
# titled "pre-silicon performance and energy measurements": simulated (SDF, SPICE), "consistent with early
# post-silicon characterization". Read in two independent transcriptions of the table, not in the paper itself.
_SYNAPSE_PJ, _SYNAPSE_NS = 23.6, 3.5  # "per synaptic spike op": the energy is the table's min, the time its max
_UPDATE_PJ, _UPDATE_NS = 81.0, 8.4  # "per neuron update", active; inactive 52 pJ and 5.3 ns
_BARRIER_NS = 465.0  # "mesh-wide barrier sync time (1-32 tiles)" 113-465 ns: of the whole mesh
_CORES = 128
_NEURONS = 1024  # a core
_WEIGHTS = 128 * 1024  # a core: 128 KB of synaptic memory, at 8 bit a weight (the chip holds 1 to 9 bit)


def loihi(config: SpikformerConfig, operations: Sequence[Operation], overheads: Overheads, images: int) -> ChipCosts:
    """Many cores that wait for each other at each time step, by the figures printed for Loihi (Davies et al., 2018).

    A chip of this kind, not a prediction for the product: the figures of the paper's table 2 are simulated, before
    silicon, and nothing here was run on one.

    Each operation has cores of its own: as many as its results of a time step (1,024 a core) and its distinct weights
    (128 KB a core, 8 bit) need, both spread evenly. What a core does in a step is its share of the synaptic operations
    of a mean step, 3.5 ns each, and of the results, a neuron update of 8.4 ns each. A step lasts as long as the most
    loaded core of all, and a barrier over the whole mesh, 465 ns.

    energy   23.6 pJ a synaptic operation, 81 pJ a neuron update (all taken as active)
    latency  T steps. Layers form a pipeline: this is the time between two images of a stream; the way of the first
             one through the depth is not added
    fits     at most 128 cores in all

    What such a chip cannot do is counted as if it could: an event is an event. A multiplication of a real number that
    is not zero (first convolution, head) counts as a synaptic operation, once for a static image, and an event of a
    product inside attention likewise, although neither is a spike on a stored weight. Left out: routing, leakage,
    loading the image, limits of fan-in and fan-out (4,096 a core each), more than one chip.
    """
    steps = images * config.time_steps
    cores = [_cores(op, steps) for op in operations]
    loads_ns = [_step_ns(op, steps) / n for op, n in zip(operations, cores, strict=True)]
    busiest = max(range(len(loads_ns)), key=loads_ns.__getitem__)
    energy_pj = _SYNAPSE_PJ * sum(map(_synaptic, operations)) + _UPDATE_PJ * overheads.neuron_updates
    return ChipCosts(
        energy_mj=energy_pj / images * 1e-9,
        latency_ms=config.time_steps * (loads_ns[busiest] + _BARRIER_NS) * 1e-6,
        fits=sum(cores) <= _CORES,
        note=f"{sum(cores)} of {_CORES} cores, the most loaded of {operations[busiest].path}; by simulated figures of "
        "Davies et al. (2018), for a chip of this kind",
    )


def _synaptic(op: Operation) -> int:
    return op.nonzero if op.is_real else op.events


def _results(op: Operation, steps: int) -> float:
    """Of a mean time step; what is computed once for a static image takes its compartments at every step."""
    return op.results * op.repeats / steps


def _cores(op: Operation, steps: int) -> int:
    return max(1, math.ceil(_results(op, steps) / _NEURONS), math.ceil(op.weights / _WEIGHTS))


def _step_ns(op: Operation, steps: int) -> float:
    """What a mean time step of an operation would take on a single core."""
    return _SYNAPSE_NS * _synaptic(op) / steps + _UPDATE_NS * _results(op, steps)


_MODELS: dict[str, Model] = {"loihi": loihi}

__all__ = ["Chip", "ChipCosts", "Model", "load", "loihi", "names"]
