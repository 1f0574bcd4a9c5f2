"""Libraries are hushed about GPUs where there are none, and about nothing else."""

import logging
import warnings
from collections.abc import Iterator

import pytest

from nas import quiet


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("torch.utils.flop_counter")
    before = logger.level
    logger.setLevel(logging.NOTSET)
    yield logger
    logger.setLevel(before)


@pytest.mark.parametrize("gpu", [False, True])
def test_words_about_gpus_reach_those_who_have_one(
    gpu: bool, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "has_gpu", lambda: gpu)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        quiet.about_gpus()
        warnings.warn_explicit("CUDA initialization: no driver", UserWarning, "cuda.py", 1, module="torch.cuda")
        warnings.warn_explicit("a tensor is read-only", UserWarning, "tensor.py", 1, module="torch.tensor")
        warnings.warn_explicit("CUDA is wanted", UserWarning, "mine.py", 1, module="mine")
    assert len(heard) == 2 + gpu
    assert logger.isEnabledFor(logging.WARNING) == gpu
