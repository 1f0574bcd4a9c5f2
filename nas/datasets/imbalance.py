"""What an account of images says where classes differ much in size; read without the libraries that read images."""

from collections.abc import Sequence

WORDS = {kind: f"times as many {kind} as class" for kind in ("images", "recordings")}
"""Of the sentence on the largest and the smallest class, for either kind of data."""


def tells_imbalance(sentences: Sequence[str]) -> bool:
    """Whether an account says that the largest class has far more images than the smallest."""
    return any(words in sentence for sentence in sentences for words in WORDS.values())


__all__ = ["WORDS", "tells_imbalance"]
