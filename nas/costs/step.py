"""Memory at one price for a bit, by STEP (arXiv 2505.11151, table 9) as SpikingJelly 2.0's simple energy model has it.

    weights     four bytes are read for each event of a layer that is fed zeros and ones; for each multiplication,
                padding included, of a layer that is fed anything else, such as counts of a camera's events
    biases      four bytes are read for each addition of a bias
    potentials  four bytes are read and four written for each neuron update

A bit costs 3.12 pJ, a byte 24.96 pJ. Left out: spikes, products inside attention, queues, addressing.
"""

from nas.costs.accesses import NEURONS, Accesses, Counts, MemoryModel, steps_of
from nas.costs.operations import Operation

_BYTE_PJ = 8 * 3.12  # STEP, table 9: 3.12 pJ a bit
_BYTES = 4  # of a weight, a bias and a membrane: 32-bit floating point
_DATUM_PJ = _BYTES * _BYTE_PJ


class Step(MemoryModel):
    """One price for every bit of parameters and membranes."""

    name = "step"
    summary = (
        "STEP (arXiv 2505.11151, table 9): 3.12 pJ for each bit of a 32-bit weight or bias that is used, and of a "
        "membrane that is read and written"
    )

    def layer(self, op: Operation, counts: Counts) -> Accesses:
        """Weights that spikes meet; all of them where numbers of spikes or real numbers are fed."""
        if op.kind != "weight":
            return Accesses()
        uses = op.events if op.operands[0].kind == "binary" else op.dense
        return Accesses(weights=uses * _DATUM_PJ, biases=op.biases * _DATUM_PJ)

    def neurons(self, counts: Counts) -> dict[str, Accesses]:
        """A membrane is read and written for each update."""
        if counts.knows_layers:
            return {path: Accesses(potentials=2 * n.updates * _DATUM_PJ) for path, n in counts.fired.items()}
        return {NEURONS: Accesses(potentials=2 * counts.overheads.neuron_updates * _DATUM_PJ)}

    def dense(self, op: Operation, counts: Counts, bits: int) -> Accesses:
        """All weights are used, once for each multiplication; nothing is remembered between steps."""
        if op.kind != "weight":
            return Accesses()
        share = op.repeats / steps_of(op, counts)
        return Accesses(weights=op.dense * share * _DATUM_PJ, biases=op.biases * share * _DATUM_PJ)


__all__ = ["Step"]
