"""The size of an exported network."""

import dataclasses
from dataclasses import dataclass

from nas.costs import scaling, target
from nas.errors import TrainingError
from nas.studies import Study
from spikformer.config import SpikformerConfig

_LEAST_PIXELS = 32  # a side, of CIFAR: networks for smaller images have too few tokens to be made larger


@dataclass(frozen=True)
class Size:
    """The size of the network that is made of a candidate.

    Attributes:
        as_is: whether to keep the searched network, for the images that it was searched on. If not, it is for ImageNet.
        params, macs: largest number of parameters and of MACs (`nas.costs.scaling`). Without them, width and depth
            stay as searched.
        classes: number of output classes; 0 takes ImageNet's 1000, or as many as it was searched with.
    """

    as_is: bool = False
    params: int | None = None
    macs: int | None = None
    classes: int = 0

    def of(self, config: SpikformerConfig, image_size: int) -> SpikformerConfig:
        """
        Raises:
            TrainingError: contradictions, or nothing within the budget.
            ConfigError: stages that halve the grid more often than the image size allows.
        """
        if self.as_is and (self.params is not None or self.macs is not None):
            raise TrainingError(
                "--as-is keeps the searched size, but --params and --macs change it. Give one or the other"
            )
        network = config if self.as_is else target.for_imagenet(config, image_size)
        if self.classes:
            head = dataclasses.replace(network.head, num_classes=self.classes)
            network = dataclasses.replace(network, head=head)
        if self.params is None and self.macs is None:
            return network
        return scaling.to_budget(network, self.params, self.macs)


def why_as_is(study: Study, size: Size) -> list[str]:
    """Sentences on why the searched networks themselves are written; none where they are made for ImageNet.

    A size that was asked for is made of any network for images.

    Raises:
        TrainingError: a size for ImageNet was asked for networks that take frames of events.
    """
    stem, dataset = study.space.base["stem"], study.identity.get("data.dataset")
    pixels, channels = stem["image_size"], stem["in_channels"]
    resized = size.params is not None or size.macs is not None
    if study.space.data.has_events and resized:
        raise TrainingError(
            f"--params and --macs make networks for ImageNet, but those of study {study.name} take frames of events "
            f"({dataset}). Leave both out: the networks are written as they were searched"
        )
    if size.as_is or resized:
        return []
    if study.space.data.has_events:
        return [
            f"Networks for frames of events ({dataset}) are not trained on ImageNet: they are written as they were "
            "searched"
        ]
    if channels == 3 and pixels >= _LEAST_PIXELS and dataset != "digits":
        return []
    colours = "colour" if channels == 3 else "grey"
    return [
        f"No training on ImageNet follows from {colours} images of {pixels} x {pixels} pixels ({dataset}): the "
        "networks are written as they were searched. Give --params N for networks of that size for ImageNet"
    ]


__all__ = ["Size", "why_as_is"]
