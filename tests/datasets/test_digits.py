"""Digits of a full training are those of the search: what chose is trained on, what chose nothing is the test."""

from pathlib import Path

import numpy as np

from nas.datasets import loaders, sources
from nas.settings import DataSettings
from nas.spaces import load_space


def test_the_test_is_report_val_of_the_search_and_all_else_is_trained_on(micro: Path) -> None:
    """Image by image; the space keeps 200 training images, full training takes all of them."""
    searched = loaders.load(load_space(micro), seed=3)
    source = sources.find(None, "digits", cut=(DataSettings("digits", 0.1, 0.1), 3))
    tested = np.stack([np.asarray(source.test.content(i)) for i in range(len(source.test))])
    assert (tested == searched.report_val.images[:, 0].numpy()).all()
    assert (source.test.labels == searched.report_val.labels.numpy()).all()
    trained = {np.asarray(source.train.content(i)).tobytes() for i in range(len(source.train))}
    assert {image.numpy().tobytes() for image in searched.train.images} <= trained
    assert {image.numpy().tobytes() for image in searched.search_val.images} <= trained
    assert not {image.tobytes() for image in tested} & trained
    assert len(source.train) + len(source.test) == 1797


def test_another_cut_is_another_training() -> None:
    """By the fingerprint of what it trains on."""
    cuts = ((DataSettings(), 0), (DataSettings(), 1), (DataSettings(report_val=0.2), 0))
    assert len({sources.find(None, "digits", cut=cut).fingerprint for cut in cuts}) == 3
