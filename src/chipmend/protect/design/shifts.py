"""Requantization by pure shifts out of a small set: steps of weights are adjusted to fit.

An accumulator is brought to the next grid by a factor for each channel. Where that factor has to be
a power of two out of a few, the step of the channel's weights makes up for it: they are rounded
more coarsely, by less than a factor of two if the set has a shift for every channel.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.vulnerability.layers import ProtectedLayer, layers_of

TRIED = 6
"""Sets of shifts that are tried out."""
Shifts = tuple[int, ...]


def with_shifts(
    network: IntegerNetwork, weights: Mapping[str, Tensor], shifts: Shifts, *, highest: int = 127
) -> IntegerNetwork:
    """The network with factors that are powers of two.

    Args:
        network: The network in integers, on sound arithmetic.
        weights: Its real weights and statistics by name.
        shifts: The shifts that there are; layers whose results stay real keep their factors, and
            so does what is not a product with weights: sums of branches, averages and the like.
        highest: The greatest number of a weight.

    Returns:
        A network with other codes; each channel has the largest shift that does not clip its
        weights, or the least of all.
    """
    codes = dict(network.codes)
    for layer in layers_of(network):
        if layer.end.grid is not None:
            given = codes[layer.name], weights[layer.name]
            codes[layer.name] = _fitted(layer, *given, shifts, highest)
    return IntegerNetwork(network.lowering, weights, codes)


def sets(network: IntegerNetwork, count: int, *, highest: int = 127) -> Iterator[Shifts]:
    """Sets of so many shifts, those first that cost weights least.

    Args:
        network: The network in integers.
        count: How many shifts a set has; none where no factor brings anything to a next grid.
        highest: The greatest number of a weight.
    """
    factors = [_factors(layer) for layer in layers_of(network) if layer.end.grid]
    wanted = torch.cat([each[each > 0].log2().neg() for each in factors] or [torch.empty(0)])
    if not len(wanted):
        yield ()
        return
    least, most = math.floor(float(wanted.min())), math.floor(float(wanted.max()))
    choices = itertools.combinations(range(least, max(most, least + count - 1) + 1), count)
    yield from sorted(choices, key=lambda shifts: (_cost(wanted, shifts, highest), shifts))


def chosen(
    network: IntegerNetwork,
    weights: Mapping[str, Tensor],
    count: int,
    score: Callable[[IntegerNetwork], float],
    *,
    highest: int = 127,
) -> tuple[Shifts, IntegerNetwork]:
    """Choose shifts: of the sets that cost weights least, the one that scores best.

    Args:
        network: The network in integers, on sound arithmetic.
        weights: Its real weights and statistics by name.
        count: How many shifts there may be.
        score: How good a network is, on validation.
        highest: The greatest number of a weight.

    Returns:
        The shifts, and the network that has them.
    """
    tried = itertools.islice(sets(network, count, highest=highest), TRIED)
    found = [(shifts, with_shifts(network, weights, shifts, highest=highest)) for shifts in tried]
    return max(found, key=lambda each: score(each[1]))


def _factors(layer: ProtectedLayer) -> Float64[Tensor, " channels"]:
    """Magnitudes of the factors to the next grid."""
    assert layer.end.grid is not None
    return (layer.end.factor / layer.end.grid.step).abs()


def _cost(wanted: Float64[Tensor, " channels"], shifts: Sequence[int], highest: int) -> float:
    """What a set costs: the mean of squared errors, in units of those of steps as they were.

    Steps are coarser by what a shift is less than wanted; where it is more, the greatest weights
    are clipped, which are taken to be one in a hundred.
    """
    more = _chosen(wanted, shifts) - wanted
    clipped = 12 * 0.01 * (highest * (1 - 2.0**-more)).square()
    return float(torch.where(more > 0, clipped, 2.0 ** (-2 * more)).mean())


def _chosen(wanted: Float64[Tensor, " channels"], shifts: Sequence[int]) -> Tensor:
    """The largest shift up to the wanted one, or the least of all."""
    each = torch.tensor(sorted(shifts), dtype=torch.float64)
    return each[(torch.searchsorted(each, wanted, right=True) - 1).clamp(min=0)]


def _fitted(
    layer: ProtectedLayer, codes: Codes, weight: Tensor, shifts: Shifts, highest: int
) -> Codes:
    """Codes whose steps make factors powers of two."""
    assert layer.end.grid is not None
    factor = layer.end.factor / layer.end.grid.step
    chosen = _chosen(factor.abs().log2().neg(), shifts)
    dead = factor == 0
    step = torch.where(dead, codes.step, codes.step * (2.0**-chosen / factor.masked_fill(dead, 1)))
    along = step.view(-1, *[1] * (weight.dim() - 1))
    numbers = (weight.detach().double() / along + 0.5).floor().clamp(-highest, highest)
    return Codes(numbers.float(), step)
