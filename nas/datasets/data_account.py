"""What the data step did, in a few sentences: kept in the study, told when trainings begin and in its report."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from nas.datasets.imbalance import WORDS as IMBALANCE
from nas.datasets.pictures import in_words
from nas.datasets.splits import Copies, Cut, Numbers, Split, is_grey
from nas.settings import Recipe
from spikformer.config import StemConfig

DETAILS = ("height", "width", "grey", "transparent", "turned")
"""Columns of what is kept of each image as it was read, before it was fitted; the last three are 0 or 1."""

_LISTED = 10  # classes; of more only the smallest and the largest are named
_IMBALANCED = 1.5  # times as many images


def account(
    cut: Cut, classes: tuple[str, ...], details: Tensor, passed: Counter[str], stem: StemConfig, recipe: Recipe
) -> tuple[str, ...]:
    """Sentences: images per class and part, imbalance, copies, what was passed over, and how images were changed.

    Args:
        details: [n, len(DETAILS)], of all images that were read.
        passed: see `nas.datasets.pictures.in_words`.
    """
    labels = [part.labels.cpu().numpy() for part in (cut.train, cut.search_val, cut.report_val)]
    sentences = [
        *per_class("images", labels, classes),
        *_copies(cut.copies),
        *in_words(passed),
        *_fitted(details, stem),
        *_as_people_see(details),
        *_mirrored(cut.train, recipe),
    ]
    return tuple(sentences)


def per_class(kind: Literal["images", "recordings"], labels: Sequence[Numbers], classes: tuple[str, ...]) -> list[str]:
    """Sentences: how many of each class are in each part, and how much classes differ in size.

    Args:
        labels: of train, search-val and report-val.
    """
    counts = np.stack([np.bincount(part, minlength=len(classes)) for part in labels], 1)
    return [_per_part(kind, counts, classes), *_imbalance(kind, counts.sum(1), classes)]


def _per_part(kind: str, counts: Numbers, classes: tuple[str, ...]) -> str:
    def of(label: int) -> str:
        return " / ".join(f"{count:,}" for count in counts[label])

    heading = f"{kind.capitalize()} per class (train / search-val / report-val)"
    if (counts == counts[0]).all():
        return f"{heading}: {of(0)} of each of {len(classes)} classes."
    if len(classes) <= _LISTED:
        return f"{heading}: {'; '.join(f'{name} {of(label)}' for label, name in enumerate(classes))}."
    totals = counts.sum(1)
    few, most = int(totals.argmin()), int(totals.argmax())
    return f"{heading}: {len(classes)} classes, from {classes[few]} {of(few)} to {classes[most]} {of(most)}."


def _imbalance(kind: str, totals: Numbers, classes: tuple[str, ...]) -> list[str]:
    few, most = int(totals.argmin()), int(totals.argmax())
    if totals[most] < _IMBALANCED * totals[few]:
        return []
    return [
        f"Class {classes[most]} has {totals[most] / totals[few]:.1f} {IMBALANCE[kind]} {classes[few]}: accuracy counts "
        f"{kind}, so it says most about the large classes. The report also has balanced accuracy, the mean over the "
        "classes. The search ranks by plain accuracy."
    ]


def _copies(copies: Copies) -> list[str]:
    if not copies.images:
        return []
    sentences = [
        f"Copies, pixel by pixel at the network's size: {copies.images:,}, of {copies.originals:,} different images. "
        "All copies of an image are in the same part."
    ]
    if copies.left_out:
        sentences.append(f"Images of val/ that are also in train/ and were left out: {copies.left_out:,}.")
    if copies.relabelled:
        sentences.append(f"Images that are in more than one class: {copies.relabelled:,}. Remove the wrong copies.")
    return sentences


def _fitted(details: Tensor, stem: StemConfig) -> list[str]:
    sizes, grey = details[:, :2], details[:, 2]
    sentences = []
    resized = sizes[(sizes != stem.image_size).any(1)]
    if len(resized):
        low, high = _pixels(resized.amin(0)), _pixels(resized.amax(0))
        span = f"of {low}" if low == high else f"from {low} to {high}"
        sentences.append(
            f"Resized by the short side to {stem.image_size} x {stem.image_size} pixels and cropped to the centre: "
            f"{len(resized):,} {span} pixels."
        )
    recoloured = int((grey == (stem.in_channels == 3)).sum())
    if recoloured and stem.in_channels == 3:
        sentences.append(f"Grey images, repeated in three equal channels: {recoloured:,}.")
    elif recoloured:
        sentences.append(f"Colour images, made grey because stem.in_channels = 1: {recoloured:,}.")
    return sentences


def _pixels(size: Tensor) -> str:
    height, width = size.tolist()
    return f"{width} x {height}"


def _as_people_see(details: Tensor) -> list[str]:
    transparent, turned = details[:, 3:].sum(0).tolist()
    sentences = [f"Images with transparency, placed on white: {transparent:,}."] if transparent else []
    return sentences + ([f"Images rotated as their EXIF data says: {turned:,}."] if turned else [])


def _mirrored(train: Split, recipe: Recipe) -> list[str]:
    if recipe.augment not in ("auto", "shift_flip") or not is_grey(train.images):
        return []
    if recipe.augment == "auto":
        return [
            "All images are grey, so training shifts them and does not mirror them. To mirror them, set [proxy] "
            'augment = "shift_flip".'
        ]
    return [
        'All images are grey, and training mirrors them. Set [proxy] augment = "shift" if a mirrored image can be of '
        "another class, as with letters and digits."
    ]


__all__ = ["DETAILS", "account", "per_class"]
