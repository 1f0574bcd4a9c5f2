"""torchvision's CIFAR, without its test images. Imported where it is needed: torchvision takes a second to load."""

from torchvision import datasets


# torchvision checks every file of a data set; without the test list it never opens the test images.
class _Cifar10Train(datasets.CIFAR10):
    test_list: list[list[str]] = []  # noqa: RUF012  # torchvision's own attribute


class _Cifar100Train(datasets.CIFAR100):
    test_list: list[list[str]] = []  # noqa: RUF012  # torchvision's own attribute


SOURCES: dict[str, type[datasets.CIFAR10]] = {"cifar10": _Cifar10Train, "cifar100": _Cifar100Train}

__all__ = ["SOURCES"]
