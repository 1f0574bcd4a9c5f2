"""Labelled images, and the cut of them that keeps a search honest.

The training images are cut, stratified and seeded, in three: `train`; `search_val`, on which the search ranks
candidates; `report_val`, which only reports read, so that the best of many is not its own judge. All copies of an image
are on one side of the cut, and every class has at least one image in each part.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas.datasets.split import Split
from nas.errors import DataError
from nas.settings import DataSettings

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Copies:
    """Images that occur more than once.

    Attributes:
        images: how many images are there besides the first of their kind.
        originals: how many different images have copies.
        relabelled: how many of these carry different labels.
        left_out: validation images that were left out, because the training images have them.
    """

    images: int = 0
    originals: int = 0
    relabelled: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class Cut:
    """The three parts.

    Attributes:
        plain: whether this is scikit-learn's stratified cut of single images. It is not where images have copies, nor
            where that cut leaves a class out.
    """

    train: Split
    search_val: Split
    report_val: Split
    copies: Copies
    plain: bool


def cut(
    source: Split,
    validation: Split | None,
    settings: DataSettings,
    classes: tuple[str, ...],
    origin: str,
    seed: int,
    train_images: int = 0,
) -> Cut:
    """Cut the training images, or halve the validation images where there are some.

    Args:
        origin: where the images are, for people.
        train_images: how many to keep of the train part; 0 keeps all.

    Raises:
        DataError: a class with too few images, or shares too small to hold an image of every class.
    """
    if validation is not None:
        return _halved(source, validation, classes, origin, seed, train_images)
    labels, same = source.labels.numpy(), first_alike(source.images)
    parts, plain = cut_numbers(labels, same, settings, classes, origin, seed, train_images)
    train, search_val, report_val = (source.take(part) for part in parts)
    return Cut(train, search_val, report_val, _copies(labels, same), plain)


def cut_numbers(
    labels: Numbers,
    same: Numbers,
    settings: DataSettings,
    classes: tuple[str, ...],
    origin: str,
    seed: int,
    train_images: int = 0,
) -> tuple[tuple[Numbers, Numbers, Numbers], bool]:
    """The numbers of train, search-val and report-val; and whether the cut is plain (`Cut.plain`).

    Args:
        same: for each image the number of the first one that equals it, [n].

    Raises:
        DataError: see `cut`.
    """
    _check_room(labels, same, settings, classes, origin)
    sizes = [round(share * len(labels)) for share in (settings.search_val, settings.report_val)]
    search, rest, plain = _parted(np.arange(len(labels)), labels, same, sizes[0], 2, seed)
    report, train, again = _parted(rest, labels, same, sizes[1], 1, seed)
    drawn, drawn_plainly = drawn_numbers(train, labels, train_images, seed)
    return (drawn, search, report), plain and again and drawn_plainly


def _halved(
    source: Split, validation: Split, classes: tuple[str, ...], origin: str, seed: int, train_images: int
) -> Cut:
    images = torch.cat([source.images, validation.images])
    labels = torch.cat([source.labels, validation.labels]).numpy()
    same, first = first_alike(images), len(source)
    indices = np.arange(first, len(labels))
    new = indices[~np.isin(same[indices], same[:first])]
    counts = np.bincount(labels[np.unique(same[new])], minlength=len(classes))
    if counts.min() < 2:
        few = int(counts.argmin())
        raise DataError(
            f"{origin}: class {classes[few]} has {_images(counts[few])} in val/ that train/ does not have, and cannot "
            "be split: search-val and report-val each need at least one. Add images to the class or remove val/"
        )
    search, report, plain = _parted(new, labels, same, len(new) // 2, 1, seed)
    train_part, drawn = _drawn(source, train_images, seed)
    copies = _copies(labels, same, len(indices) - len(new))
    parts = (train_part, validation.take(search - first), validation.take(report - first))
    return Cut(*parts, copies, plain and drawn and copies == Copies())


def cut_given(
    parts: Mapping[str, Split], settings: DataSettings, classes: tuple[str, ...], seed: int, train_images: int = 0
) -> Cut:
    """Parts that the user set apart stay whole, each that is missing is cut from the training images.

    An image that an earlier part has, in the order of the parts, is left out of a later one.

    Args:
        parts: "train", and "val", which is search-val, and "report_val" where they were given.

    Raises:
        DataError: a class without an image in a part, or shares too small to hold one.
    """
    source = parts["train"]
    if len(parts) == 1:
        return cut(source, None, settings, classes, "train", seed, train_images)
    labels = torch.cat([part.labels for part in parts.values()]).numpy()
    same = first_alike(torch.cat([part.images for part in parts.values()]))
    first, chosen = len(source), dict[str, Split]()
    for name, part in parts.items():
        if name != "train":
            indices = np.arange(first, first + len(part))
            new = indices[~np.isin(same[indices], same[:first])]
            _check_given(name, labels[new], classes)
            chosen[name], first = part.take(new - first), first + len(part)
    every, plain = np.arange(len(source)), True
    for name, share in (("val", settings.search_val), ("report_val", settings.report_val)):
        if name not in chosen:
            images = round(share * len(source))
            _check_share(name, share, images, labels[every], same[every], classes)
            drawn, every, plain = _parted(every, labels, same, images, 1, seed)
            chosen[name] = source.take(drawn)
    left_out = sum(map(len, parts.values())) - len(source) - sum(len(chosen[name]) for name in parts if name != "train")
    train, drawn_plainly = _drawn(source.take(every), train_images, seed)
    copies = _copies(labels, same, left_out)
    return Cut(train, chosen["val"], chosen["report_val"], copies, plain and drawn_plainly and copies == Copies())


def _check_given(name: str, labels: Numbers, classes: tuple[str, ...]) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() == 0:
        few = int(counts.argmin())
        raise DataError(
            f"{name} has no image of class {classes[few]} that the parts before it do not have. Add one, or leave "
            f"{name} out, so that it is cut from train"
        )


def _check_share(
    name: str, share: float, images: int, labels: Numbers, same: Numbers, classes: tuple[str, ...]
) -> None:
    """A part that is cut from the training images, and what it leaves, need an image of every class."""
    different = np.bincount(labels[np.unique(same)], minlength=len(classes))
    few = int(different.argmin())
    if different[few] < 2:
        raise DataError(
            f"train has {_images(different[few])} of class {classes[few]}, but {name} is cut from train and both need "
            f"at least one. Add images, or give {name}"
        )
    if not len(classes) <= images <= len(labels) - len(classes):
        raise DataError(
            f"{name} is {share:g} of {len(labels)} training images, {images}, but {name} and the rest each need an "
            f"image of each of {len(classes)} classes. Set the share in [data], or give {name}"
        )


def first_alike(images: Tensor) -> Numbers:
    """For each image the number of the first one with the same pixels, [n].

    Pixels as the network is shown them decide, not files: a copy may have been saved again or have other metadata, and
    two photographs that become equal at the network's size leak as much.
    """
    rows = np.ascontiguousarray(images.numpy()).reshape(len(images), -1)
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(hashlib.sha256(row.data).digest(), i) for i, row in enumerate(rows)], np.int64)


def is_grey(images: Tensor) -> bool:
    """Whether the channels of all images, [n, C, H, W], are equal."""
    return all(bool((part == part[:, :1]).all()) for part in images.split(_AT_ONCE))


_AT_ONCE = 1024  # images; with the first colours the answer is there


def _copies(labels: Numbers, same: Numbers, left_out: int = 0) -> Copies:
    again = same != np.arange(len(same))
    relabelled = np.unique(same[labels != labels[same]])
    return Copies(int(again.sum()), len(np.unique(same[again])), len(relabelled), left_out)


def _check_room(labels: Numbers, same: Numbers, settings: DataSettings, classes: tuple[str, ...], origin: str) -> None:
    """Every class needs an image in each of the three parts."""
    present = np.unique(labels)
    images = np.bincount(labels)
    different = np.bincount(labels[np.unique(same)], minlength=len(images))
    few = int(present[different[present].argmin()])
    if different[few] < 3:
        raise DataError(
            f"{origin}: class {classes[few]} has {_images(different[few])}, but train, search-val and report-val each "
            f"need at least one. Add images to the class or remove it"
        )
    total, least = len(labels), len(present)
    rarest = int(present[images[present].argmin()])
    needed = f"at least {math.ceil(10_000 * least / total) / 10_000:g}"
    shares = {"search_val": settings.search_val, "report_val": settings.report_val}
    asked = {name: round(share * total) for name, share in shares.items()}
    for name, count in asked.items():
        if count < least:
            raise DataError(
                f"{origin}: {name} = {shares[name]:g} of {total} images is {count}, fewer than the {least} classes, of "
                f"which each needs an image there (class {classes[rarest]} has {images[rarest]} in all). "
                f"Set [data] {name} to {needed}"
            )
    left = total - sum(asked.values())
    if left < least:
        raise DataError(
            f"{origin}: search_val = {shares['search_val']:g} and report_val = {shares['report_val']:g} leave {left} "
            f"of {total} images to train on, fewer than the {least} classes. Reduce these shares in [data]"
        )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} different images"


def _parted(
    indices: Numbers, labels: Numbers, same: Numbers, first: int, keep: int, seed: int
) -> tuple[Numbers, Numbers, bool]:
    """Two parts with the classes in equal shares, the first of `first` images; whether the cut is plain.

    Args:
        indices: of the images to cut; `labels` and `same` are of all images.
        keep: different images of each class that the second part must have.
    """
    if len(np.unique(same[indices])) == len(indices):
        parts = _stratified(indices, labels, first, seed)
        if parts is not None and _has_all(parts[0], indices, labels, 1) and _has_all(parts[1], indices, labels, keep):
            return *parts, True
    return *_grouped(indices, labels, same, first, keep, seed), False


def _stratified(indices: Numbers, labels: Numbers, first: int, seed: int) -> tuple[Numbers, Numbers] | None:
    """scikit-learn's cut; None where it refuses."""
    from sklearn.model_selection import train_test_split  # slow to import

    try:
        parts = train_test_split(indices, train_size=first, stratify=labels[indices], random_state=seed)
    except ValueError:
        return None
    return parts[0], parts[1]


def _has_all(part: Numbers, indices: Numbers, labels: Numbers, least: int) -> bool:
    classes = np.unique(labels[indices])
    return bool(np.bincount(labels[part], minlength=classes[-1] + 1)[classes].min() >= least)


def _grouped(
    indices: Numbers, labels: Numbers, same: Numbers, first: int, keep: int, seed: int
) -> tuple[Numbers, Numbers]:
    """Images with all their copies, each class in its share of `first` but at least once; copies make it inexact."""
    generator = np.random.default_rng(seed)
    originals, sizes = np.unique(same[indices], return_counts=True)
    their_labels = labels[originals]
    classes = np.unique(their_labels)
    images = np.bincount(their_labels, weights=sizes)[classes].astype(np.int64)
    chosen: list[int] = []
    for label, room in zip(classes, _shares(images, first, keep), strict=True):
        drawn = generator.permutation(np.flatnonzero(their_labels == label))
        chosen += _filled(drawn.tolist(), sizes, int(room), len(drawn) - keep)
    inside = np.isin(same[indices], originals[chosen])
    return indices[inside], indices[~inside]


def _shares(images: Numbers, first: int, keep: int) -> Numbers:
    """How many of each class's images go into the first part: in proportion, at least 1, and `first` in all."""
    quotas = images * first / images.sum()
    most = np.maximum(images - keep, 1)
    shares: Numbers = np.clip(np.floor(quotas).astype(np.int64), 1, most)
    while shares.sum() < first and (shares < most).any():
        shares[np.where(shares < most, quotas - shares, -np.inf).argmax()] += 1
    while shares.sum() > first and (shares > 1).any():
        shares[np.where(shares > 1, shares - quotas, -np.inf).argmax()] -= 1
    return shares


def _filled(drawn: list[int], sizes: Numbers, room: int, most: int) -> list[int]:
    """Originals, in the order in which they were drawn, whose copies fit into the room; at least the smallest."""
    chosen: list[int] = []
    for original in drawn:
        if len(chosen) < most and sizes[original] <= room:
            chosen.append(original)
            room -= int(sizes[original])
    return chosen or [min(drawn, key=lambda original: int(sizes[original]))]


def subset(split: Split, images: int, seed: int) -> Split:
    """`images` of a split, stratified and seeded, at least one of every class; 0 takes all.

    Raises:
        DataError: the split has fewer.
    """
    return _drawn(split, images, seed)[0]


def _drawn(split: Split, images: int, seed: int) -> tuple[Split, bool]:
    """See `subset`; and whether the cut was plain."""
    numbers, plain = drawn_numbers(np.arange(len(split)), split.labels.numpy(), images, seed)
    return (split if len(numbers) == len(split) else split.take(numbers)), plain


def drawn_numbers(numbers: Numbers, labels: Numbers, images: int, seed: int) -> tuple[Numbers, bool]:
    """See `subset`, of the images of these numbers; and whether the cut was plain."""
    total = len(numbers)
    if images in (0, total):
        return numbers, True
    if images > total:
        raise DataError(f"train_images {images} is more than the {total} images of the train split. Use fewer")
    classes = len(np.unique(labels[numbers]))
    if not classes <= images <= total - classes:
        raise DataError(
            f"train_images {images} cannot be drawn evenly from {classes} classes. Use {classes} to "
            f"{total - classes}, or all {total}"
        )
    in_order = np.sort(numbers)
    every = np.arange(total)
    chosen, _, plain = _parted(every, labels[in_order], every, images, 0, seed)
    return in_order[chosen], plain


__all__ = [
    "Copies",
    "Cut",
    "Split",
    "cut",
    "cut_given",
    "cut_numbers",
    "drawn_numbers",
    "first_alike",
    "is_grey",
    "subset",
]
