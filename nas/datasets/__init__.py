"""Every source of images and of frames of events, read in one place, and the parts that they are cut into.

loaders       the images of a search as tensors
split         labelled images, or recordings as frames
splits        train, search-val and report-val; duplicates are kept together
data_account  what was read, passed over and found twice
imbalance     whether that says that classes differ much in size
class_names   names of the classes of CIFAR
digits        images that come with scikit-learn
downloads     one file from the web, resumed and checked
cifar         CIFAR in the files of its authors, read so that nothing runs
pictures      which files are images, and which are hidden or passed over
class_folders train/<class>/ as lists of image files
images        images of the user's own, as Python has them
given         those read, and kept in the cache
fitting       an image as a network is shown it
sources       CIFAR, class folders and WebDataset shards as lists of images that are read when needed
shards        images inside tar files
decoding      an image file to its pixels
overlap       copies of training images among those of the test
shrinking     images stored smaller, as shards
parts         train, search-val and report-val together
event_frames  recordings as frames, for any number of time steps, kept in the cache
event_splits  recordings cut into train, search-val and report-val
event_account what was done with recordings
event_loading the recordings of a search
frame_images  those of a full training and its test
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.datasets.class_names import CIFAR10_CLASSES, CIFAR100_CLASSES
    from nas.datasets.decoding import Content, UnreadableError
    from nas.datasets.event_loading import time_steps_of
    from nas.datasets.frame_images import FrameImages
    from nas.datasets.images import GIVEN, Images, check_images, with_images
    from nas.datasets.imbalance import tells_imbalance
    from nas.datasets.parts import Splits
    from nas.datasets.shards import Numbers
    from nas.datasets.sources import InMemory, LabelledImages, Source
    from nas.datasets.splits import Split, is_grey

__getattr__ = attributes(
    __name__,
    {
        "CIFAR100_CLASSES": "nas.datasets.class_names",
        "CIFAR10_CLASSES": "nas.datasets.class_names",
        "Content": "nas.datasets.decoding",
        "FrameImages": "nas.datasets.frame_images",
        "GIVEN": "nas.datasets.images",
        "Images": "nas.datasets.images",
        "InMemory": "nas.datasets.sources",
        "LabelledImages": "nas.datasets.sources",
        "Numbers": "nas.datasets.shards",
        "Source": "nas.datasets.sources",
        "Split": "nas.datasets.splits",
        "Splits": "nas.datasets.parts",
        "UnreadableError": "nas.datasets.decoding",
        "check_images": "nas.datasets.images",
        "is_grey": "nas.datasets.splits",
        "tells_imbalance": "nas.datasets.imbalance",
        "time_steps_of": "nas.datasets.event_loading",
        "with_images": "nas.datasets.images",
    },
)

__all__ = [
    "CIFAR10_CLASSES",
    "CIFAR100_CLASSES",
    "GIVEN",
    "Content",
    "FrameImages",
    "Images",
    "InMemory",
    "LabelledImages",
    "Numbers",
    "Source",
    "Split",
    "Splits",
    "UnreadableError",
    "check_images",
    "cifar",
    "decoding",
    "is_grey",
    "loaders",
    "overlap",
    "shrinking",
    "sources",
    "tells_imbalance",
    "time_steps_of",
    "with_images",
]
