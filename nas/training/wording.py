"""Candidates and numbers in the words and units that people read, in a terminal, a notebook and a report."""

import html
from typing import TYPE_CHECKING

from nas.training.description import stem_name

if TYPE_CHECKING:
    from nas.training.candidate import Candidate


def in_words(candidate: "Candidate") -> str:
    """The axes that people compare, in a few words; with its name, if it is a reference."""
    config = candidate.config
    with_blocks = [stage for stage in config.stages if stage.depth]
    stage, depth = with_blocks[0], sum(s.depth for s in with_blocks)
    kinds = "+".join(dict.fromkeys(s.mixer.kind for s in with_blocks))
    stem = stem_name(config.stem)
    placement = [
        f"stem {stem}" if config.stem.kind == "chain" or ":" in config.stem.kind else "",
        "early pools" if stem.endswith("early pools") else "",
        "pool first" if config.stem.pool_order == "before_neuron" else "",
        "map neuron" if stage.mixer.kind == "ssa" and stage.mixer.neuron_on == "map" else "",
        "head neuron" if config.head.neuron else "",
    ]
    heads = f"heads {stage.mixer.num_heads} " if stage.mixer.kind in ("ssa", "qkta") else ""  # else hardly any effect
    words = f"{config.residual} {kinds} {depth}-{stage.embed_dim} {heads}mlp {stage.mlp.ratio:g} T{config.time_steps}"
    words = ", ".join([words, *filter(None, placement)])
    return f"{candidate.reference}: {words}" if candidate.reference else words


def in_si(value: float, unit: str) -> str:
    """0.00123, "J" -> "1.23 mJ"."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value / 1e-12:.3g} p{unit}"


def one_line(candidate: "Candidate") -> str:
    """The network, its accuracies with their splits and its energy; of one that cannot be ranked, why."""
    parts = [f"{split} {share}" for split, share in _accuracies(candidate).items()]
    if candidate.energy_mj is not None:
        parts.append(f"{in_si(candidate.energy_mj * 1e-3, 'J')} per image")
    if candidate.status != "complete":
        parts.append(f"{candidate.status}: {candidate.reason}")
    text = f"<Candidate {in_words(candidate)} | {', '.join(parts)}>"
    return " ".join(text.split())  # a reference may have any name


def as_html(candidate: "Candidate") -> str:
    """The same as a small table, for notebooks."""
    rows = {"network": in_words(candidate), "T": str(candidate.config.time_steps)}
    rows |= _accuracies(candidate)
    if candidate.energy_mj is not None:
        rows["energy per image"] = in_si(candidate.energy_mj * 1e-3, "J")
    rows |= {"parameters": f"{candidate.parameters:,}", "status": f"{candidate.status} {candidate.reason}".strip()}
    cells = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in rows.items())
    return f"<table><tbody>{cells}</tbody></table>"


def _accuracies(candidate: "Candidate") -> dict[str, str]:
    """By the split on which they were measured."""
    shares = {"search-val": candidate.search_val_accuracy, "report-val": candidate.report_val_accuracy}
    return {split: f"{100 * share:.1f} %" for split, share in shares.items() if share is not None}


__all__ = ["as_html", "in_si", "in_words", "one_line"]
