"""Labelled images, or recordings as frames: what a network is trained or measured on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas.errors import DataError


@dataclass(frozen=True)
class Split:
    """Labelled images, or recordings of an event camera as frames.

    Attributes:
        images: [n, C, H, W], uint8; or frames [n, T, C, H, W], uint8, which count the events of each pixel and polarity
            in each of T parts of a recording.
        labels: [n], int64.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """
        Raises:
            DataError: a tensor that is neither images nor frames, or labels of others.
        """
        if self.images.dim() not in (4, 5) or len(self.images) != len(self.labels):
            raise DataError(
                "a split holds images [n, C, H, W] or frames [n, T, C, H, W] with a label each, but got images of "
                f"shape {list(self.images.shape)} and {len(self.labels)} labels"
            )

    @property
    def time_steps(self) -> int | None:
        """T of frames; None where an image is shown at every step."""
        return self.images.shape[1] if self.images.dim() == 5 else None

    @property
    def pixels(self) -> int:
        """Places of an image or a frame, H x W."""
        return self.images.shape[-2] * self.images.shape[-1]

    def __len__(self) -> int:
        return len(self.labels)

    def content(self) -> Iterator[bytes]:
        """Its bytes, to be hashed."""
        yield self.images.numpy().tobytes()
        yield self.labels.numpy().tobytes()

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: npt.NDArray[np.int64]) -> "Split":
        chosen = torch.from_numpy(np.sort(indices)).to(self.labels.device)
        return Split(self.images[chosen], self.labels[chosen])


__all__ = ["Split"]
