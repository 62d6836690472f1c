"""Fault-aware pruning (FAP): zero the weights that a broken PE would touch.

A weight-stationary array keeps one weight per PE, so a permanent fault in a PE spoils every weight
that placement puts there. Bypassing the PE drops those weights: the fault becomes sparsity.

References:
    [Zhang2018] Zhang, Gu, Basu, Garg, "Analyzing and mitigating the impact of permanent faults on
        a systolic array based neural network accelerator", VTS 2018.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from chipmend.hardware.array import Array
from chipmend.hardware.placement import weights_on
from chipmend.network.gemm import Gemm, gemms

Pruned = Mapping[str, Bool[Tensor, "..."]]
"""For every weight on the array, by name: true where it has to be zero; of the weight's shape."""


def pruned_weights(
    model: nn.Module, faulty: Bool[np.ndarray, "rows cols"], array: Array
) -> dict[str, Bool[Tensor, "..."]]:
    """Mark the weights of a network that land on faulty PEs.

    A weight that several layers share is marked if any of its places is faulty.

    Args:
        model: The network.
        faulty: True where the PE must not be used.
        array: The array and its placement.

    Returns:
        For every weight on the array, by name, a map of the weight's shape.

    Raises:
        NetworkError: No layer of the network runs on the array.
        FaultMapError: The map is of another size than the array.
    """
    return {gemm.name: _pruned(gemm, faulty, array) for gemm in gemms(model)}


def _pruned(gemm: Gemm, faulty: np.ndarray, array: Array) -> Tensor:
    maps = [weights_on(faulty, shape, array) for shape in gemm.shapes]
    return torch.from_numpy(np.logical_or.reduce(maps)).view(gemm.weight.shape)


def prune_(model: nn.Module, pruned: Pruned) -> None:
    """Set the pruned weights of a network to zero, in place."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, zero in pruned.items():
            parameters[name].masked_fill_(zero.to(parameters[name].device), 0.0)


def effective_rate(pruned: Pruned) -> float:
    """Share of a network's array weights that land on faulty PEs (base: per weight).

    Example:
        >>> effective_rate({"a": torch.tensor([True, False]), "b": torch.tensor([False, False])})
        0.25
    """
    return sum(int(zero.sum()) for zero in pruned.values()) / sum(map(torch.numel, pruned.values()))
