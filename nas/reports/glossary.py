"""What the words of a report mean, and the shorthand of networks, each in a sentence or two beside where it is used."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

Words = list[tuple[str, str]]
"""A word and what it means, in the order in which a reader meets them."""

TERMS = {
    "trial": "One training of the search. The number of a network's last one names the network in this report, so "
    "numbers have gaps.",
    "candidate": "A network that the search tried, with the result of its longest training.",
    "seed": "The number from which all randomness of a training follows. Another seed gives the same network other "
    "weights, and so a somewhat different accuracy.",
    "95 % interval": "A range that would hold the true value in 95 of 100 such experiments. Over further seeds it says "
    "how far chance in training may reach; over images, how far the choice of images may.",
    "search-val": "Accuracy on images that no network trains on, and by which the search chooses. It flatters what it "
    "chose.",
    "report-val": "Accuracy on other images, which neither train nor choose. It is the accuracy to quote.",
    "front": "The networks that no other one beats in both search-val accuracy and energy (the Pareto front).",
    "dominated": "Another network is as good in search-val accuracy and energy, and better in one of them.",
    "knee": "The network of the front beyond which more energy buys little accuracy: it lies farthest above the line "
    "between the front's ends, energy on a logarithmic scale.",
    "reference": "A published network, scaled to this search space and trained like the others.",
    "limit": "What the search was asked to keep. A network that breaks a limit is not on the front.",
    "reference point": "The corner of low accuracy and high energy from which hypervolume is measured. It is the one "
    "that the search was asked to go beyond, or else is derived from the networks; the methods say which.",
    "energy": "An estimate per image: counted operations times the energy of one, under the convention that is named. "
    "Memory accesses and the measurement of a real chip are not in it.",
    "convention": "The rule by which operations are counted and priced as energy.",
    "spike": "What a spiking neuron sends at a time step: 0 or 1, or with some kinds of neuron a small whole number.",
    "spike operations": "Additions that spikes cause, per image (SOP, synaptic operations): a layer adds a weight only "
    "where a spike arrives.",
    "accumulate": "One addition, here of a weight that a spike selects. It costs less energy than a MAC.",
    "MAC": "Multiply-accumulate: one multiplication with one addition, as layers do that are fed real numbers.",
    "firing rate": "Spikes per neuron and time step. At 0.2 a neuron fires in every fifth step; less is cheaper.",
    "time step": "A network is shown each image for T time steps, in each of which every neuron may fire.",
    "parameters": "Weights that the network learns.",
    "proxy": "A small, short training on few images, which stands in for a full one while a search compares.",
    "test images": "Images that neither train, choose nor report; only full training reads them.",
    "quantised counterpart": "The network of the same shape without time: one step, activations of a few bits instead "
    "of spikes. It shows what spiking itself gains or loses.",
    "spike penalty": "A term of the training's loss that makes spikes expensive, so that the network fires less.",
    "Kendall's tau": "How far two rankings agree: 1 is the same order, 0 none in common, -1 the reverse.",
    "axis": "A property of networks that the search varies, such as the number of blocks.",
    "interactions": "What several axes do together beyond what each does alone.",
    "attainment": "The accuracy that any, half or all of the compared studies reach at an energy.",
    "balanced accuracy": "The mean over classes of each class's share classified rightly.",
    "token": "A place of the image, after the stem cut it into patches, with its channels.",
    "attention head": "A group of channels that attends on its own.",
    "real": "A difference between two networks that is larger than chance between seeds explains.",
    "decade": "A factor of ten.",
    "MLP": "The part of a block that mixes the channels of each token; its ratio says how wide its hidden layer is.",
    "hypervolume": "The area between the front and a reference point of low accuracy and high energy, in points of "
    "search-val accuracy times decades of energy. Larger is better; it compares within one report.",
    "rung": "A step of the search, which says on how many images a network trains. Promising networks are trained anew "
    "on the images of the next rung; only the last rung has all of them.",
    "complete": "Trained in full, on all images of the recipe. Only such networks can be on the front.",
    "stopped": "Trained on a part of the images and not chosen for more. This saves time and is not a failure.",
    "silent": "The classifier sees the same for every image, as neurons do not fire. Such a network is not ranked.",
    "diverged": "The training's loss was no longer finite, so there is no result.",
    "out_of_memory": "The training needed more memory than there was, twice.",
    "died": "The process that trained it ended without a result each time.",
}
_OF_EVENTS = {
    "recording": "What an event camera sent of one scene or gesture: events, each with a time, a pixel and a polarity.",
    "event": "What a pixel of an event camera sends when its brightness changes: time, place and polarity.",
    "polarity": "Whether a pixel became brighter (1) or darker (0). Each polarity is a channel of its own in a frame.",
    "frame": "The events of one slice of a recording, counted by polarity and pixel. It is the network's input at one "
    "time step.",
    "accumulate": "One addition, here of a weight that a spike or an event selects. It costs less energy than a MAC.",
    "spike operations": "Additions that spikes and events cause, per recording (SOP, synaptic operations): a layer "
    "adds a weight only where a spike arrives, and the first layer where an event does.",
    "time step": "A network is shown the T frames of a recording one after the other, one at each of T time steps, in "
    "each of which every neuron may fire.",
    "token": "A place of the frame, after the stem cut it into patches, with its channels.",
}
"""Of a study on recordings of event cameras: what other studies have no use for, or say otherwise."""
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


_FORMS = {
    "trial": "trials?",
    "candidate": "candidates?",
    "seed": "(?:random )?seeds?",
    "95 % interval": "95 % intervals?|95 % over (?:image|recording)s|95 %",
    "front": "Pareto front|(?<!in )fronts?(?! of trial| members)",
    "knee": "knee",
    "reference": "references?(?! point)",
    "reference point": "reference points?",
    "limit": "limits?",
    "energy": "energ(?:y|ies)",
    "convention": "conventions?",
    "spike": "spikes?|spiking",
    "spike operations": "spike operations?|synaptic operations?|SOPs?",
    "accumulate": "accumulates?",
    "MAC": "MACs?|multiply-accumulates?",
    "firing rate": "firing rates?|spikes per input|fired",
    "time step": "time steps?|T(?=\\s?=)",
    "proxy": "prox(?:y|ies)",
    "test images": "test images?",
    "quantised counterpart": "quantised (?:counterpart|twin)s?|counterparts?|twins?",
    "spike penalty": "spike penalt(?:y|ies)",
    "axis": "ax(?:i|e)s",
    "interactions": "interactions?",
    "rung": "rungs?",
    "token": "tokens?",
    "attention head": "(?:attention )?heads",
    "real": "real(?= winner|;| \\(| if| and point)",
    "decade": "decades?",
    "recording": "recordings?",
    "event": "events?",
    "polarity": "polarit(?:y|ies)",
    "frame": "(?<!one )frames?",
    "test recordings": "test recordings?",
    "MLP": "MLPs?|mlp",
    "ms": r"(?<!\d )ms|membrane shortcut",
    "sew": "sew|spike-element-wise shortcut",
    "ssa": "ssa|(?:dual )?spik(?:ing|e) self-attention",
    "sdsa": "sdsa|spike-driven self-attention",
    "qkta": "qkta|Q-K token attention",
    "qkca": "qkca|Q-K channel attention",
    "sepconv": "sepconv|separable convolutions?",
    "dwconv": "dwconv|depthwise convolutions?",
}
"""How a word is written, as a regular expression that Python and JavaScript read alike, where it has several forms."""


@dataclass(frozen=True)
class Entry:
    """A word of the page's glossary.

    Attributes:
        match: a regular expression of all its forms, whatever their case.
    """

    name: str
    meaning: str
    match: str


def entries(sample: str = "image") -> list[Entry]:
    """The whole glossary by alphabet; where one word begins as another does, the longer one is to be tried first.

    Args:
        sample: what the study's data set holds, in a word (`nas.settings.sample_of`).
    """
    mixers = {kind: meaning for kind, meaning in _MIXERS.items() if kind != "identity"}
    meanings = _meanings(sample) | _RESIDUALS | mixers
    listed = [Entry(name, meaning, _FORMS.get(name, re.escape(name))) for name, meaning in meanings.items()]
    return sorted(listed, key=lambda entry: entry.name.lower())


def _meanings(sample: str) -> dict[str, str]:
    """The terms, of images or of recordings."""
    if sample == "image":
        return TERMS
    return {_said_of(sample, term): _said_of(sample, meaning) for term, meaning in TERMS.items()} | _OF_EVENTS


def _said_of(sample: str, text: str) -> str:
    """The same of samples of another kind, of what is written of images."""
    words = {"an image": f"a {sample}", "image": sample, "Image": sample.capitalize()}
    return re.sub(r"\b(?:an image|[iI]mage)(?=s?\b)", lambda match: words[match[0]], text)


def terms(names: Iterable[str], sample: str = "image") -> Words:
    """Those of the names that have an entry."""
    meanings = _meanings(sample)
    return [(name, meanings[name]) for name in names if name in meanings]


def endings(statuses: pd.DataFrame) -> list[str]:
    """Terms of the endings in a report's `statuses`, and of rungs where trainings were stopped at one."""
    names = list(dict.fromkeys(statuses["status"]))
    return [*(["rung"] if "stopped" in names else []), *names]


def shorthand(trials: pd.DataFrame, sample: str = "image") -> Words:
    """How the column `network` is read, word by word: only words that networks of this table have."""
    return list(_entries(trials, sample)) if not trials.empty else []


def _entries(trials: pd.DataFrame, sample: str) -> Iterator[tuple[str, str]]:
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
    of_time = "for which each image is shown" if sample == "image" else f"and so of frames of each {sample}"
    yield f"T{first['time_steps']}", f"number of time steps {of_time}"
    yield from _flags(trials, trials[[several[0] == "ssa" for several in kinds]])


def _flags(trials: pd.DataFrame, with_map: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """What stands behind a comma; `with_map` are the networks whose first stage has an attention map."""
    if (trials["pool_order"] == "before_neuron").any():
        yield "pool first", "the stem pools membrane currents, before the neuron, and not spikes"
    if (with_map["neuron_on"] == "map").any():
        yield "map neuron", "the neuron of ssa fires on the attention map, and not on the output"
    if trials["head_neuron"].astype(bool).any():
        yield "head neuron", "a neuron stands in front of the classifier"


__all__ = ["TERMS", "Entry", "Words", "endings", "entries", "shorthand", "terms"]
