"""How published accuracies came about: images, epoch and seeds, as far as the code and logs of the authors say.

Read in their repositories: spikformer 6212689, Spikingformer 4378623, QKFormer c2a00e8, Max-Former 6ddd4cc,
Spike-Driven-Transformer 3faa822, its V2 953aacc, its V3 00fcd1f (the code for images in a copy of it), and
SpikingResformer 3f75127. What neither code nor log says is "not known" here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Log:
    """The accuracies on the set that a paper reports, in a log that its authors released.

    Attributes:
        epochs: number of epochs of the training, cool-down included.
        best: highest accuracy of all epochs, in per cent.
        last: accuracy after the last epoch, in per cent.
        mean: of the last ten epochs, in per cent; None where it was not read.
    """

    epochs: int
    best: float
    last: float
    mean: float | None = None

    def is_best(self, printed: float | None) -> bool:
        """Whether the printed accuracy is the best one, to the printed digits."""
        return printed is not None and round(self.best, len(str(printed).partition(".")[2])) == printed

    def in_words(self) -> str:
        values = [f"{self.best:g} % at best", f"{self.last:g} % in the last epoch"]
        values += [] if self.mean is None else [f"a mean of {self.mean:g} % in the last ten"]
        return f"The authors' log of {self.epochs} epochs has {', '.join(values[:-1])} and {values[-1]}."


@dataclass(frozen=True)
class Protocol:
    """How one accuracy came about, a sentence or more each; empty where there is nothing to say.

    Attributes:
        split: which images or recordings train, and which test.
        note: in what it differs from others on the same data.
        selection: how the code of the authors chooses an epoch.
        epoch: which epoch's accuracy is printed, in a few words.
        log: what the released log has.
        seed: the one in the authors' settings, or in the head of their log; None, not known.
    """

    split: str
    note: str
    selection: str
    epoch: str
    log: str
    seed: int | None

    def in_words(self) -> str:
        seed = "" if self.seed is None else f"The seed is {self.seed}."
        parts = (self.split, self.note, self.selection, self.log, f"Printed epoch: {self.epoch}.", seed, _SEEDS)
        return " ".join(filter(None, parts))


LOGS = {
    "spikingformer_in_8_512": Log(310, 74.792, 74.546),
    "spikingformer_in_8_768": Log(310, 75.848, 75.512),
    "spikingformer_cifar10dvs_2_256": Log(106, 81.3, 80.7, 80.18),
    "qkformer_cifar10_4_384": Log(410, 96.21, 96.05),
    "qkformer_cifar100_4_384": Log(410, 81.22, 80.75),
    "qkformer_in_10_384": Log(200, 78.854, 78.854),
    "qkformer_in_10_512": Log(200, 82.083, 81.998),
    "qkformer_in_10_768": Log(200, 84.29, 84.266),
    "qkformer_cifar10dvs_256": Log(106, 84.1, 83.3, 83.24),
    "maxformer_cifar10_4_384": Log(410, 97.04, 96.79, 96.81),
    "maxformer_cifar100_4_384": Log(410, 82.65, 82.44, 82.33),
    "maxformer_in_10_384": Log(200, 77.782, 77.493, 77.483),
    "maxformer_in_10_768": Log(200, 82.391, 82.271, 82.251),
    "maxformer_cifar10dvs_256": Log(106, 84.2, 82.3, 82.54),
    "maxformer_dvs128_256": Log(160, 98.61, 96.53, 96.6),
}

_SEEDS = "How many seeds were run is not known."
_DATASETS = {  # CIFAR10-DVS before CIFAR-10, whose name it contains
    "cifar10dvs": "CIFAR10-DVS",
    "dvs128": "DVS128 Gesture",
    "hardvs": "HARDVS",
    "cifar100": "CIFAR-100",
    "cifar10": "CIFAR-10",
}
_OFFICIAL_SPLIT = "The official training images train, and the official test images are the test set."
_IMAGENET = "The training images of ImageNet train, and its 50,000 validation images are the test set."
_NINE_TENTHS = (
    "Of each class of CIFAR10-DVS, the first 90 % of the recordings train, in the order of their file names as text, "
    "and the others are the test set."
)
_USERS = "Users 1 to 23 of DVS128 Gesture train, and users 24 to 29 are the test set."
_TET = (
    "The split is one of two, and which is not known: the first 90 % of the recordings of each class for training, or "
    "the ready-made tensors of TET."
)
_SPLITS = {
    "CIFAR-10": _OFFICIAL_SPLIT,
    "CIFAR-100": _OFFICIAL_SPLIT,
    "ImageNet": _IMAGENET,
    "CIFAR10-DVS": _NINE_TENTHS,
    "DVS128 Gesture": _USERS,
}
_BEST = (
    "The authors' code reports the highest accuracy of all epochs on the test set, which also selects the checkpoint; "
    "there is no validation set."
)
_PRETRAINED = "It starts from weights trained on ImageNet."
_FOUR_STEPS = "A training with one time step comes before that with four."
_NOTES = {
    "spikformer_cifar10_4_384": "The figure is that of 300 epochs; with 400 epochs, 95.51 % are printed.",
    "spikformer_cifar100_4_384": "The figure is that of 300 epochs; with 400 epochs, 78.21 % are printed.",
    "spikingformer_cifar10_4_384": "With 400 epochs, 95.81 % are printed.",
    "spikingformer_cifar100_4_384": "With 400 epochs, 79.21 % are printed.",
    "sdt2_in_15M": _FOUR_STEPS,
    "sdt2_in_8_384": _FOUR_STEPS,
    "sdt2_in_8_512": _FOUR_STEPS,
    "sdt2_in_8_512_kd": f"{_FOUR_STEPS} A CAFormer-B36 is the teacher.",
    "sdt3_large_spikformer12_768": (
        "A masked autoencoder, a finetuning and a distillation follow one another. After which of the last two the "
        "printed accuracy was measured is not known."
    ),
    "spikingformer_cifar10dvs_2_256": "With 10 time steps, 79.9 % are printed.",
    "spikingformer_dvs128_2_256": "With 10 time steps, 96.2 % are printed.",
    "maxformer_dvs128_256": "One of the 288 test recordings is 0.35 percentage points.",
    "spikingresformer_s_cifar10dvs": _PRETRAINED,
    "spikingresformer_s_dvs128": _PRETRAINED,
}
_SEED = {
    "sdt1_cifar10_2_512": 42,
    "sdt1_cifar100_2_512": 42,
    "qkformer_in_10_384": 0,
    "maxformer_cifar10_4_384": 50425,
    "maxformer_in_10_384": 42,
}

# Networks on HARDVS have no printed accuracy; what is known of one is how its code would measure it.
_HARDVS = Protocol(
    "The authors' code validates on the list of test recordings, not on that of validation.",
    "",
    "It reports the highest accuracy of all epochs, of the network and of the moving average of its weights.",
    "not known",
    "",
    None,
)


def of(name: str, printed: float | None) -> Protocol | None:
    """How the accuracy of a published network came about; None where no accuracy is printed.

    Args:
        name: a published name.
        printed: the printed accuracy, in per cent; None, there is none.
    """
    if name == "sdt3_base_hardvs_19M":
        return _HARDVS
    if printed is None:
        return None
    log = LOGS.get(name)
    if log is None:
        epoch = "not known (no log); the best one by the code"
    else:
        epoch = "the best of the log" if log.is_best(printed) else "neither the best nor the last of the log"
    return Protocol(
        _TET if name == "sdt1_cifar10dvs_2_256" else _SPLITS[dataset(name)],
        _NOTES.get(name, ""),
        _BEST,
        epoch,
        "" if log is None else log.in_words(),
        _SEED.get(name),
    )


def dataset(name: str) -> str:
    """The data set of a published network: ImageNet, unless the name says another one."""
    return next((words for part, words in _DATASETS.items() if part in name), "ImageNet")


__all__ = ["LOGS", "Log", "Protocol", "dataset", "of"]
