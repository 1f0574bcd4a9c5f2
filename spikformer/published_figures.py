"""What papers and released logs print about published networks, by name."""

from dataclasses import dataclass

from spikformer import published_protocols
from spikformer.published_protocols import Log


@dataclass(frozen=True)
class Figures:
    """What is printed about a network; None where nothing is known to be.

    Attributes:
        paper: authors, title, venue.
        parameters_m: in millions, to the printed digits. Some authors cut the rest off, some round.
        operations_g: synaptic operations of an image, in billions, as the authors count them.
        energy_mj: of an image, in millijoules, as the authors count it; not comparable between families.
        accuracy: top-1, in per cent.
        image_size: pixels a side that energy and accuracy are for; None, those of the config.
        source: where operations, energy and accuracy were read.
        verified: whether that is the authors' own text (paper, official README or log). The number of
            parameters needs no trust: it is held against the network.
        protocol: how the accuracy came about, in sentences: the split, which epoch, on which set, the seeds, and what
            is not known of these; empty where no accuracy is printed and nothing is known.
        log: accuracies of the training that its authors released a log of; None, no log is known.
    """

    paper: str
    parameters_m: float | None = None
    operations_g: float | None = None
    energy_mj: float | None = None
    accuracy: float | None = None
    image_size: int | None = None
    source: str = "no figure known"
    verified: bool = False
    protocol: str = ""
    log: Log | None = None

    def in_words(self) -> str:
        """The paper, the printed accuracy with its source, and the protocol."""
        at = f" at {self.image_size} x {self.image_size} pixels" if self.image_size else ""
        printed = "none known" if self.accuracy is None else f"{self.accuracy:g} %{at} ({self.source})"
        return f"{self.paper}. Printed accuracy: {printed}. {self.protocol}".rstrip()


def of(name: str) -> Figures:
    """The figures of a published network; without numbers where none are known."""
    paper = _PAPERS[name.split("_")[0]]
    if name in ON_EVENTS:
        parameters, accuracy, source = ON_EVENTS[name]
        operations = energy = None
    elif name in ON_IMAGES:
        parameters, operations, energy, accuracy, source = ON_IMAGES[name]
    else:
        return Figures(paper)
    protocol = published_protocols.of(name, accuracy)
    return Figures(
        paper,
        parameters,
        operations,
        energy,
        accuracy,
        AT_SIZE.get(name),
        source,
        verified=source in _OF_THE_AUTHORS,
        protocol="" if protocol is None else protocol.in_words(),
        log=published_protocols.LOGS.get(name),
    )


_FANG = 'Fang et al., "Spiking Neural Networks Need High-Frequency Information", NeurIPS 2025'
_PAPERS = {
    "spikformer": 'Zhou et al., "Spikformer: When Spiking Neural Network Meets Transformer", ICLR 2023',
    "spikingformer": (
        'Zhou et al., "Spikingformer: Spike-driven Residual Learning for Transformer-based Spiking Neural '
        'Network", arXiv:2304.11954, 2023'
    ),
    "sdt1": 'Yao et al., "Spike-driven Transformer", NeurIPS 2023',
    "sdt2": (
        'Yao et al., "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture Inspiring the '
        'Design of Next-generation Neuromorphic Chips", ICLR 2024'
    ),
    "sdt3": (
        'Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training", TPAMI 2025'
    ),
    "qkformer": 'Zhou et al., "QKFormer: Hierarchical Spiking Transformer using Q-K Attention", NeurIPS 2024',
    "msqkformer": _FANG,
    "maxformer": _FANG,
    "spikingresformer": (
        'Shi et al., "SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks", CVPR 2024'
    ),
}

_OFFICIAL = "official README or log"
_PAPER = "paper"
_QUOTED = "secondary table quoting the paper"
_MEMORY = "from memory, not verified"
_UNKNOWN = Figures.source
_OF_THE_AUTHORS = (_OFFICIAL, _PAPER)

# Parameters (M), operations (G), energy (mJ), top-1 accuracy (%), source. CIFAR tables print one number of
# parameters for both data sets: it stands with the one whose classifier it includes.
ON_IMAGES: dict[str, tuple[float | None, float | None, float | None, float | None, str]] = {
    "spikformer_cifar10_4_384": (9.32, None, None, 95.19, _QUOTED),
    "spikformer_cifar100_4_384": (None, None, None, 77.86, _QUOTED),
    "spikformer_cifar10_4_256": (4.15, None, None, 93.94, _MEMORY),
    "spikformer_cifar100_4_256": (None, None, None, 75.96, _MEMORY),
    "spikformer_cifar10_2_384": (5.76, None, None, 94.80, _MEMORY),
    "spikformer_cifar100_2_384": (None, None, None, 76.95, _MEMORY),
    "spikformer_in_8_384": (16.81, 6.82, 7.734, 70.24, _QUOTED),
    "spikformer_in_8_512": (29.68, 11.09, 11.577, 73.38, _QUOTED),
    "spikformer_in_10_512": (36.01, 13.67, 13.899, 73.68, _QUOTED),
    "spikformer_in_8_768": (66.34, 22.09, 21.477, 74.81, _QUOTED),
    "spikingformer_cifar10_4_256": (4.15, None, None, 94.77, _OFFICIAL),
    "spikingformer_cifar100_4_256": (None, None, None, 77.43, _OFFICIAL),
    "spikingformer_cifar10_2_384": (5.76, None, None, 95.22, _OFFICIAL),
    "spikingformer_cifar100_2_384": (None, None, None, 78.34, _OFFICIAL),
    "spikingformer_cifar10_4_384": (9.32, None, None, 95.61, _OFFICIAL),
    "spikingformer_cifar100_4_384": (None, None, None, 79.09, _OFFICIAL),
    "spikingformer_in_8_384": (16.81, 3.88, 4.69, 72.45, _OFFICIAL),
    "spikingformer_in_8_512": (29.68, 6.52, 7.46, 74.79, _OFFICIAL),
    "spikingformer_in_8_768": (66.34, 12.54, 13.68, 75.85, _OFFICIAL),
    "sdt1_cifar10_2_512": (None, None, None, 95.60, _QUOTED),
    "sdt1_cifar100_2_512": (10.28, None, None, 78.4, _QUOTED),
    "sdt1_in_8_384": (16.81, None, 3.90, 72.28, _OFFICIAL),
    "sdt1_in_6_512": (23.37, None, 3.56, 74.11, _OFFICIAL),
    "sdt1_in_8_512": (29.68, None, 4.50, 74.57, _OFFICIAL),
    "sdt1_in_10_512": (36.01, None, 5.53, 74.66, _OFFICIAL),
    "sdt1_in_8_768": (66.34, None, 6.09, 77.07, _OFFICIAL),
    "sdt2_in_15M": (15.1, None, 16.7, 74.1, _MEMORY),
    "sdt2_in_8_384": (31.3, None, 32.80, 77.2, _QUOTED),
    "sdt2_in_8_512": (55.4, None, 52.40, 79.7, f"{_QUOTED}; accuracy {_MEMORY}"),
    "sdt2_in_8_512_kd": (None, None, 52.40, 80.0, _QUOTED),
    "sdt3_base_s": (5.1, None, None, 75.3, _QUOTED),
    "sdt3_base_m": (10.0, None, None, 78.5, _PAPER),
    "sdt3_base_l": (19.0, None, 5.9, 79.8, f"accuracy {_PAPER}; energy {_QUOTED}"),
    "sdt3_large_spikformer12_768": (173.0, None, 54.7, 85.1, _QUOTED),
    "qkformer_cifar10_4_384": (6.706234, None, None, 96.18, _PAPER),  # parameters from the released log
    "qkformer_cifar100_4_384": (None, None, None, 81.15, _PAPER),
    "qkformer_in_10_384": (16.47, None, 15.13, 78.80, _PAPER),
    "qkformer_in_10_512": (29.08, None, 21.99, 82.04, _PAPER),
    "qkformer_in_10_768": (64.96, None, 38.91, 84.22, _PAPER),
    "msqkformer_cifar10_4_384": (None, None, None, 96.84, _PAPER),
    "msqkformer_cifar100_4_384": (None, None, None, 81.57, _PAPER),
    "msqkformer_in_10_384": (16.47, None, 5.52, 76.48, _PAPER),
    "msqkformer_in_10_768": (64.96, None, 6.79, 77.78, _PAPER),
    "maxformer_cifar10_4_384": (None, None, None, 97.04, _PAPER),
    "maxformer_cifar100_4_384": (None, None, None, 82.65, _PAPER),
    "maxformer_in_10_384": (16.23, None, 4.89, 77.82, _PAPER),
    "maxformer_in_10_512": (28.65, None, 7.49, 79.86, _PAPER),
    "maxformer_in_10_768": (63.99, None, 14.87, 82.39, _PAPER),
    "spikingresformer_cifar10": (10.79, None, None, 96.24, _MEMORY),
    "spikingresformer_cifar100": (None, None, None, 79.28, _MEMORY),
    "spikingresformer_ti": (11.14, 2.73, 2.46, 74.34, _QUOTED),
    "spikingresformer_s": (17.76, 3.74, 3.37, 75.95, _MEMORY),
    "spikingresformer_m": (35.52, 6.07, 5.46, 77.24, _QUOTED),
    "spikingresformer_l": (60.38, 9.74, 8.76, 78.77, f"{_QUOTED}; operations {_MEMORY}"),
}

AT_SIZE = {"sdt1_in_8_768": 288}

# Parameters (M), top-1 accuracy (%), source. Parameters are those of released logs, which count the weights that are
# never used. Those of QKFormer are official, although its accuracy is not.
ON_EVENTS: dict[str, tuple[float | None, float | None, str]] = {
    "spikformer_cifar10dvs_2_256": (None, 80.9, _MEMORY),
    "spikingformer_cifar10dvs_2_256": (2.568714, 81.3, _OFFICIAL),
    "spikingformer_dvs128_2_256": (None, 98.3, _OFFICIAL),
    "sdt1_cifar10dvs_2_256": (None, 80.0, _MEMORY),
    "sdt1_dvs128_2_256": (None, 99.3, _MEMORY),
    "qkformer_cifar10dvs_256": (1.504138, 84.0, _MEMORY),
    "qkformer_dvs128_256": (None, 98.6, _MEMORY),
    "maxformer_cifar10dvs_256": (None, 84.2, _OFFICIAL),
    "maxformer_dvs128_256": (None, 98.6, _OFFICIAL),
    "spikingresformer_cifar10dvs": (None, None, _UNKNOWN),
    "spikingresformer_dvs128": (None, None, _UNKNOWN),
    "spikingresformer_s_cifar10dvs": (None, 84.8, _MEMORY),
    "spikingresformer_s_dvs128": (None, None, _UNKNOWN),
    "sdt3_base_hardvs_19M": (None, None, _UNKNOWN),
}

__all__ = ["AT_SIZE", "ON_EVENTS", "ON_IMAGES", "Figures", "of"]
