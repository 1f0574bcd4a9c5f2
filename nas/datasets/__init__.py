"""Every source of images, read in one place, and the parts that they are cut into.

loaders       the images of a search as tensors
splits        train, search-val and report-val; duplicates are kept together
data_account  what was read, passed over and found twice
imbalance     whether that says that classes differ much in size
class_names   names of the classes of CIFAR
digits        images that come with scikit-learn
cifar         downloads, with checksums
pictures      which files are images, and which are hidden or passed over
class_folders train/<class>/ as lists of image files
sources       CIFAR, class folders and WebDataset shards as lists of images that are read when needed
shards        images inside tar files
decoding      an image file to its pixels
overlap       copies of training images among those of the test
shrinking     images stored smaller, as shards
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.datasets import decoding, loaders, overlap, shrinking, sources
    from nas.datasets.class_names import CIFAR10_CLASSES, CIFAR100_CLASSES
    from nas.datasets.decoding import Content, UnreadableError
    from nas.datasets.imbalance import tells_imbalance
    from nas.datasets.loaders import Splits
    from nas.datasets.shards import Numbers
    from nas.datasets.sources import Images, InMemory, Source
    from nas.datasets.splits import Split, is_grey

__getattr__ = attributes(
    __name__,
    {
        "CIFAR10_CLASSES": "nas.datasets.class_names",
        "CIFAR100_CLASSES": "nas.datasets.class_names",
        "Content": "nas.datasets.decoding",
        "Images": "nas.datasets.sources",
        "InMemory": "nas.datasets.sources",
        "Numbers": "nas.datasets.shards",
        "Source": "nas.datasets.sources",
        "Split": "nas.datasets.splits",
        "Splits": "nas.datasets.loaders",
        "UnreadableError": "nas.datasets.decoding",
        "is_grey": "nas.datasets.splits",
        "tells_imbalance": "nas.datasets.imbalance",
    },
)

__all__ = [
    "CIFAR10_CLASSES",
    "CIFAR100_CLASSES",
    "Content",
    "Images",
    "InMemory",
    "Numbers",
    "Source",
    "Split",
    "Splits",
    "UnreadableError",
    "decoding",
    "is_grey",
    "loaders",
    "overlap",
    "shrinking",
    "sources",
    "tells_imbalance",
]
