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
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from chipmend.hardware.array import Array
from chipmend.hardware.placement import pe_of_weights, weights_on
from chipmend.network.gemm import Gemm, gemms

Pruned = Mapping[str, Bool[Tensor, "..."]]
"""For every weight on the array, by name: true where it has to be zero; of the weight's shape, and
where the weight is."""


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
    spoiled = torch.from_numpy(np.logical_or.reduce(maps)).to(gemm.weight.device)
    return spoiled.view(gemm.weight.shape)


def prune_(model: nn.Module, pruned: Pruned) -> None:
    """Set the pruned weights of a network to zero, in place."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, zero in pruned.items():
            parameters[name].masked_fill_(zero.to(parameters[name].device), 0.0)


def are_zero(model: nn.Module, pruned: Pruned) -> bool:
    """Whether all pruned weights of a network are zero."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return not any(
        bool(parameters[name].detach()[zero.to(parameters[name].device)].any())
        for name, zero in pruned.items()
    )


def weights_per_pe(model: nn.Module, array: Array) -> Int64[np.ndarray, "rows cols"]:
    """Count the weights of a network that each PE holds, one after another.

    A weight that layers of different geometry share counts once for each.
    """
    counts = np.zeros(array.rows * array.cols, np.int64)
    for gemm in gemms(model):
        for shape in gemm.shapes:
            row, col = pe_of_weights(shape, array)
            counts += np.bincount((row * array.cols + col).ravel(), minlength=counts.size)
    return counts.reshape(array.rows, array.cols)


def effective_rate(
    per_pe: Int64[np.ndarray, "rows cols"], faulty: Bool[np.ndarray, "rows cols"]
) -> float:
    """Share of a network's weights that land on faulty PEs (base: per weight).

    Args:
        per_pe: Weights that each PE holds.
        faulty: PEs that must not be used.

    Returns:
        A fraction.

    Example:
        >>> effective_rate(np.array([[3, 1]]), np.array([[True, False]]))
        0.75
    """
    return float(per_pe[faulty].sum() / per_pe.sum())
