"""What the words of a report mean, and the shorthand of networks, each in a sentence or two beside where it is used."""

from collections.abc import Iterable, Iterator

import pandas as pd

Words = list[tuple[str, str]]
"""A word and what it means, in the order in which a reader meets them."""

TERMS = {
    "search-val": "Accuracy on images that no network trains on, and by which the search chooses. It flatters what it "
    "chose.",
    "report-val": "Accuracy on other images, which neither train nor choose. It is the accuracy to quote.",
    "front": "The networks that no other one beats in both search-val accuracy and energy (the Pareto front).",
    "dominated": "Another network is as good in search-val accuracy and energy, and better in one of them.",
    "knee": "The network of the front beyond which more energy buys little accuracy: it lies farthest above the line "
    "between the front's ends, energy on a logarithmic scale.",
    "reference": "A published network, scaled to this search space and trained like the others.",
    "limit": "What the search was asked to keep. A network that breaks a limit is not on the front.",
    "spike operations": "Additions that spikes cause, per image.",
    "hypervolume": "The area between the front and a reference point of low accuracy and high energy, in points of "
    "search-val accuracy times decades of energy. Larger is better; it compares within one report.",
    "rung": "A step of the search, which says on how many images a network trains. Promising networks are trained anew "
    "on the images of the next rung; only the last rung has all of them.",
    "complete": "Trained in full, on all images of the recipe. Only such networks can be on the front.",
    "stopped": "Trained on a part of the images and not chosen for more. This saves time and is no failure.",
    "silent": "The classifier sees the same for every image, as neurons do not fire. Such a network is not ranked.",
    "diverged": "The training's loss was no finite number any more, so there is no result.",
    "out_of_memory": "The training needed more memory than there was, twice.",
    "died": "The process that trained it ended without a result each time.",
}
_RESIDUALS = {
    "ms": "membrane shortcut: blocks add membrane currents, and each neuron stands in front of its convolution",
    "sew": "spike-element-wise shortcut: blocks add spikes, and each neuron stands behind its convolution",
    "sew_iand": "as sew, but a branch's spike deletes the stream's, which stays 0 or 1",
}
_MIXERS = {
    "ssa": "spiking self-attention: queries, keys and values are spikes, multiplied without softmax (Spikformer)",
    "sdsa": "spike-driven self-attention: queries, masked by where keys and values agree (Spike-driven Transformer)",
    "qkta": "Q-K token attention: keys, masked token by token by the queries' sums (QKFormer)",
    "qkca": "Q-K channel attention: keys, masked channel by channel by the queries' sums (QKFormer)",
    "dssa": "dual spike self-attention, to summaries of patches (SpikingResformer)",
    "sepconv": "separable convolution instead of attention (Spike-driven Transformer V2)",
    "dwconv": "depthwise convolution instead of attention (Max-Former)",
    "identity": "no mixing of tokens",
}


def terms(names: Iterable[str]) -> Words:
    """Those of the names that have an entry."""
    return [(name, TERMS[name]) for name in names if name in TERMS]


def statuses(table: pd.DataFrame) -> Words:
    """Of the endings in a report's `statuses`, and of rungs where trainings were stopped at one."""
    names = list(dict.fromkeys(table["status"]))
    return terms([*(["rung"] if "stopped" in names else []), *names])


def shorthand(trials: pd.DataFrame) -> Words:
    """How the column `network` is read, word by word: only words that networks of this table have."""
    return list(_entries(trials)) if not trials.empty else []


def _entries(trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    first = trials.iloc[0]
    kinds = [str(joined).split("+") for joined in trials["attention"]]  # of each network, the first stage's in front
    for residual in sorted(set(trials["residual"])):
        yield residual, _RESIDUALS.get(residual, "a custom residual connection")
    for kind in sorted({kind for several in kinds for kind in several}):
        yield kind, _MIXERS.get(kind, "a custom block, which mixes tokens")
    depth, width = first["depth"], first["embed_dim"]
    blocks = "1 block" if depth == 1 else f"{depth} blocks"
    joined = "; + joins the kinds of several stages" if any(len(several) > 1 for several in kinds) else ""
    yield f"{depth}-{width}", f"depth and width: {blocks}, tokens of {width} channels in the first stage{joined}"
    with_heads = trials[[several[0] in ("ssa", "qkta") for several in kinds]]
    if not with_heads.empty:
        yield f"heads {with_heads['num_heads'].iloc[0]}", "number of groups of channels that attend on their own"
    meaning = "width of the hidden layer of each block's MLP, as a multiple of the tokens' width"
    yield f"mlp {first['mlp_ratio']:g}", meaning
    yield f"T{first['time_steps']}", "number of time steps for which each image is shown"
    yield from _flags(trials, trials[[several[0] == "ssa" for several in kinds]])


def _flags(trials: pd.DataFrame, with_map: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """What stands behind a comma; `with_map` are the networks whose first stage has an attention map."""
    if (trials["pool_order"] == "before_neuron").any():
        yield "pool first", "the stem pools membrane currents, before the neuron, and not spikes"
    if (with_map["neuron_on"] == "map").any():
        yield "map neuron", "the neuron of ssa fires on the attention map, and not on the output"
    if trials["head_neuron"].astype(bool).any():
        yield "head neuron", "a neuron stands in front of the classifier"


__all__ = ["TERMS", "Words", "shorthand", "statuses", "terms"]
