"""What an account of images says where classes differ much in size; read without the libraries that read images."""

from collections.abc import Sequence

WORDS = "times as many images as class"
"""Of the sentence on the largest and the smallest class."""


def tells_imbalance(sentences: Sequence[str]) -> bool:
    """Whether an account says that the largest class has far more images than the smallest."""
    return any(WORDS in sentence for sentence in sentences)


__all__ = ["WORDS", "tells_imbalance"]
