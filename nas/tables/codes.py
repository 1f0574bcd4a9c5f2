"""Scores of how differently a network fires for different images: from binary codes, fired or not, of each image."""

import torch
from torch import Tensor

_AVOIDS_ZERO = 1e-3  # as the authors of SAHD add: two codes that never fire have no expected distance


def hamming_kernel(codes_BN: Tensor) -> Tensor:
    """[B, B]: in how many of N neurons two images agree.

    Mellor, Turner, Storkey and Crowley, "Neural Architecture Search without Training", ICML 2021, eq. 2: N minus the
    Hamming distance.
    """
    agree_BB = codes_BN @ codes_BN.mT + (1 - codes_BN) @ (1 - codes_BN).mT
    return agree_BB


def sparsity_aware_kernel(codes_BN: Tensor) -> Tensor:
    """[B, B]: N minus a Hamming distance that is scaled to N / 2 where two codes are independent.

    Codes of rates r and s differ in N (r (1 - s) + (1 - r) s) places if they are independent: sparse ones in few,
    whatever they say. Kim, Li, Park, Venkatesha and Panda, "Neural Architecture Search for Spiking Neural Networks",
    ECCV 2022, section 4.2.
    """
    rate_B1 = codes_BN.mean(1, keepdim=True)
    expected_BB = rate_B1 @ (1 - rate_B1).mT + (1 - rate_B1) @ rate_B1.mT
    distance_BB = codes_BN @ (1 - codes_BN).mT + (1 - codes_BN) @ codes_BN.mT
    return codes_BN.shape[1] - 0.5 / (expected_BB + _AVOIDS_ZERO) * distance_BB


def log_determinant(kernel_BB: Tensor) -> float:
    """log |det K|; minus infinity where two images have the same code in every neuron."""
    return float(torch.linalg.slogdet(kernel_BB.double())[1])


__all__ = ["hamming_kernel", "log_determinant", "sparsity_aware_kernel"]
