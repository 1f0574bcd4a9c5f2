"""Handwritten digits that come with scikit-learn: 1,797 grey images of 8 x 8 pixels (UCI machine learning repository).

They have no test images of their own. A search cuts all of them into train, search-val and report-val. Full training
makes the same cut: it trains on the first two, and report-val, which chose nothing, is its test.
"""

import numpy as np
import numpy.typing as npt
import torch

from nas.datasets import splits
from nas.datasets.shards import Numbers
from nas.datasets.splits import Split
from nas.settings import DataSettings

Pixels = npt.NDArray[np.uint8]
CLASSES = tuple("0123456789")


def images() -> tuple[Pixels, Numbers]:
    """All images, [n, 8, 8], and their labels, [n]."""
    from sklearn.datasets import load_digits  # slow to import, and only the demo needs it

    bunch = load_digits()
    return np.rint(bunch.images * 255 / 16).astype(np.uint8), bunch.target.astype(np.int64)


def parts(settings: DataSettings, seed: int) -> tuple[tuple[Pixels, Numbers], tuple[Pixels, Numbers]]:
    """What full training trains on, and what it tests on, each as images [n, 8, 8] with labels [n].

    Args:
        settings, seed: those of the search that found the network.

    Raises:
        DataError: shares too small to hold an image of every class.
    """
    pixels, labels = images()
    source = Split(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels))
    cut = splits.cut(source, None, settings, CLASSES, "digits", seed)
    return _together(cut.train, cut.search_val), _together(cut.report_val)


def _together(*chosen: Split) -> tuple[Pixels, Numbers]:
    pixels = np.concatenate([split.images[:, 0].numpy() for split in chosen])
    return pixels, np.concatenate([split.labels.numpy() for split in chosen])


__all__ = ["CLASSES", "images", "parts"]
