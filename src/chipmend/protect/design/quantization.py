"""A network brought to integers in one of the ways that designs may choose."""

from collections.abc import Callable, Mapping

from torch import Tensor

from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.design.parameters import Quantization
from chipmend.protect.design.ranges import with_range
from chipmend.protect.design.shifts import Shifts, chosen


def quantized(
    network: IntegerNetwork,
    weights: Mapping[str, Tensor],
    how: Quantization,
    score: Callable[[IntegerNetwork], float],
    *,
    highest: int = 127,
) -> tuple[Shifts, IntegerNetwork]:
    """Make ranges shorter, then choose shifts that fit them.

    Args:
        network: The network in integers as it is by default, on sound arithmetic.
        weights: Its real weights and statistics by name.
        how: The way.
        score: How good a network is, on validation.
        highest: The greatest number of a weight.

    Returns:
        The shifts, none for factors of any kind, and the network.
    """
    found = with_range(network, weights, how.activation_range)
    if not how.shifts:
        return (), found
    return chosen(found, weights, how.shifts, score, highest=highest)
