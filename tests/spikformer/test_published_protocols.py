"""How printed accuracies came about: against the logs of the authors, and against their own claims of what is known."""

import re

import pytest

from spikformer import published
from spikformer.published_protocols import LOGS, Log, dataset, of

PRINTED = [name for name in published.names() if published.figures(name).accuracy is not None]

# Last ten epochs of the logs that Max-Former's repository has as tables: their mean and last value by hand.
LAST_TEN = {
    "maxformer_cifar10_4_384": (96.71, 96.63, 96.73, 96.73, 96.89, 96.84, 96.87, 97.04, 96.91, 96.79),
    "maxformer_cifar100_4_384": (82.35, 82.12, 82.27, 82.26, 82.34, 82.5, 82.44, 82.39, 82.19, 82.44),
    "maxformer_in_10_384": (77.374, 77.329, 77.401, 77.477, 77.596, 77.782, 77.371, 77.509, 77.498, 77.493),
    "maxformer_in_10_768": (82.181, 82.29, 82.281, 82.135, 82.163, 82.36, 82.296, 82.142, 82.391, 82.271),
}


@pytest.mark.parametrize("name", LAST_TEN)
def test_last_epochs_of_a_log(name: str) -> None:
    log, accuracies = LOGS[name], LAST_TEN[name]
    assert log.last == accuracies[-1]
    assert log.mean == pytest.approx(sum(accuracies) / 10, abs=0.005)
    assert log.best >= max(accuracies)


@pytest.mark.parametrize("name", LOGS)
def test_no_epoch_is_better_than_the_best(name: str) -> None:
    log = LOGS[name]
    assert log.best >= log.last
    assert log.best >= (log.mean or 0)
    assert published.figures(name).log is log


@pytest.mark.parametrize(
    ("best", "printed", "is_best"),
    [(74.792, 74.79, True), (98.61, 98.6, True), (84.1, 84.0, False), (78.854, 78.8, False), (75.848, 75.85, True)],
)
def test_a_printed_accuracy_is_the_best_one_to_its_digits(best: float, printed: float, is_best: bool) -> None:
    """By hand: the last digit that is printed may be rounded."""
    assert Log(1, best, best).is_best(printed) == is_best
    assert not Log(1, best, best).is_best(None)


@pytest.mark.parametrize("name", PRINTED)
def test_every_printed_accuracy_says_how_it_came_about(name: str) -> None:
    protocol, figures = of(name, published.figures(name).accuracy), published.figures(name)
    assert protocol is not None
    assert figures.protocol == protocol.in_words()
    assert ("no log" in protocol.epoch) == (figures.log is None)
    for words in ("test set", "train", "Printed epoch: ", "How many seeds were run is not known."):
        assert words in figures.protocol
    assert not re.search(r"\s\s|\.\.", figures.protocol)


def test_no_accuracy_needs_no_protocol() -> None:
    """But how the code for HARDVS would measure it is known."""
    without = [name for name in published.names() if name not in PRINTED and published.figures(name).protocol]
    assert without == ["sdt3_base_hardvs_19M"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qkformer_cifar10dvs_256", "CIFAR10-DVS"),
        ("qkformer_cifar10_4_384", "CIFAR-10"),
        ("qkformer_cifar100_4_384", "CIFAR-100"),
        ("sdt2_hardvs_320", "HARDVS"),
        ("spikingresformer_ti", "ImageNet"),
    ],
)
def test_data_sets_by_name(name: str, words: str) -> None:
    assert dataset(name) == words


@pytest.mark.parametrize("name", published.names())
def test_the_data_set_of_a_name_has_the_classes_of_the_network(name: str) -> None:
    classes = {"CIFAR-10": 10, "CIFAR-100": 100, "CIFAR10-DVS": 10, "DVS128 Gesture": 11, "HARDVS": 300}
    assert published.config(name).head.num_classes == classes.get(dataset(name), 1000)
