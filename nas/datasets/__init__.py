"""Every source of images, read in one place, and the parts that they are cut into.

loaders       the images of a search as tensors
splits        train, search-val and report-val; duplicates are kept together
data_account  what was read, passed over and found twice
class_names   names of the classes of CIFAR
digits        images that come with scikit-learn
downloads     one file from the web, resumed and checked
cifar         CIFAR in the files of its authors, read so that nothing runs
pictures      which files are images, and which are hidden or passed over
class_folders train/<class>/ as lists of image files
sources       CIFAR, class folders and WebDataset shards as lists of images that are read when needed
shards        images inside tar files
decoding      an image file to its pixels
overlap       copies of training images among those of the test
shrinking     images stored smaller, as shards
"""

from nas.datasets import cifar, decoding, loaders, overlap, shrinking, sources
from nas.datasets.class_names import CIFAR10_CLASSES, CIFAR100_CLASSES
from nas.datasets.data_account import tells_imbalance
from nas.datasets.decoding import Content, UnreadableError
from nas.datasets.loaders import Splits
from nas.datasets.shards import Numbers
from nas.datasets.sources import Images, InMemory, Source
from nas.datasets.splits import Split, is_grey

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
    "cifar",
    "decoding",
    "is_grey",
    "loaders",
    "overlap",
    "shrinking",
    "sources",
    "tells_imbalance",
]
