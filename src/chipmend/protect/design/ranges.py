"""Narrower ranges of activations: however large a flip makes a sum, it is cut off there.

The steps of all activations but the network's input are made smaller by one share. Sums are then of
more steps, so that each of their bits is worth less, and what flips can at most do shrinks alike;
the largest activations are cut off even without flips, which networks stand well.

References:
    [Chen2021] Chen, Li, Pattabiraman, "A low-cost fault corrector for deep neural networks through
        range restriction", DSN 2021.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from chipmend.network.integer.network import IntegerNetwork


def with_range(
    network: IntegerNetwork, weights: Mapping[str, Tensor], share: float
) -> IntegerNetwork:
    """The network with activations that reach less far.

    Args:
        network: The network in integers, on sound arithmetic.
        weights: Its real weights and statistics by name.
        share: How far they reach, as a share of how far they did.
    """
    found = network.lowering
    grids = {
        name: grid if name == found.graph.input else replace(grid, step=share * grid.step)
        for name, grid in found.grids.items()
    }
    return IntegerNetwork(replace(found, grids=grids), weights, network.codes)
