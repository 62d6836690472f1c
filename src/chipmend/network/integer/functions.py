"""What units beside the array make of whole numbers: tables, shares that add up to one, norms.

Each is defined by whole numbers and by operations that are rounded alike wherever there is double
precision, so that results are the same on every processor. Tables alone rest on its exponential and
error functions.
"""

import math

import torch
from jaxtyping import Float64, Int8, Integer
from torch import Tensor

from chipmend.network.integer.arithmetic import SINGLE
from chipmend.network.integer.graph import Operation, Value
from chipmend.network.integer.grids import Grid, in_double

EXPONENTIAL_BITS = 20
"""Bits behind the point of an exponential."""
EDGES = tuple[int, int]


def on_grid(values: Float64[Tensor, "..."], grid: Grid, edges: EDGES) -> Tensor:
    """The nearest whole numbers, halves up, between two edges."""
    return (values / in_double(grid.step) + 0.5).floor_().clamp_(*edges).to(grid.dtype)


def table(operation: Operation, taken: Grid, given: Grid, edges: EDGES) -> Integer[Tensor, "256"]:
    """A function of one number as a table, whose place 0 is that of the least number.

    Args:
        operation: The function.
        taken: The grid of what it takes.
        given: The grid of what it gives.
        edges: The least and the greatest number that it may give.
    """
    numbers = torch.arange(taken.least, taken.most + 1, dtype=torch.float64)
    values = operation(lambda item: taken.values(numbers) if isinstance(item, Value) else None)
    return on_grid(values, given, edges)


def looked_up(numbers: Integer[Tensor, "..."], entries: Integer[Tensor, "256"]) -> Tensor:
    """What a table has for numbers of 8 bits."""
    places = numbers.to(torch.int32)
    if numbers.dtype == torch.int8:
        places += 128
    return _at(entries, places)


def _at(entries: Tensor, places: Integer[Tensor, "..."]) -> Tensor:
    return entries.to(places.device).index_select(0, places.flatten()).view(places.shape)


def softmax(
    numbers: Integer[Tensor, "... n"], taken: Grid, given: Grid, edges: EDGES
) -> Integer[Tensor, "... n"]:
    """Shares of exponentials along the last axis.

    ``e(d) = round(2^20 exp(-step d))`` is that of a number ``d`` below the greatest, from a table;
    a share is ``e`` over the sum of all, in units of the grid, rounded.

    Args:
        numbers: Whole numbers.
        taken: Their grid.
        given: The grid of the shares.
        edges: The least and the greatest number that may be given.

    Example:
        >>> scores, shares = Grid(0.5, signed=True), Grid(1 / 255, signed=False)
        >>> softmax(torch.tensor([[0, 0, -128]]).char(), scores, shares, (0, 255)).tolist()
        [[128, 128, 0]]
    """
    below = torch.arange(256, dtype=torch.float64) * -taken.step
    entries = (below.exp() * 2**EXPONENTIAL_BITS + 0.5).floor()
    whole = numbers.contiguous().to(torch.int32)
    found = _at(entries, whole.amax(-1, keepdim=True) - whole)
    return on_grid(found / found.sum(-1, keepdim=True), given, edges)


def layer_norm(
    numbers: Integer[Tensor, "..."],
    taken: Grid,
    given: Grid,
    edges: EDGES,
    *,
    axes: int,
    epsilon: float,
    weight: Tensor | None,
    bias: Tensor | None,
) -> Int8[Tensor, "..."]:
    """Numbers of each place with their mean taken away, over their spread.

    With ``d`` numbers ``q``, ``c = d q - sum q`` and ``v = d sum q^2 - (sum q)^2`` are whole; what
    is given is ``weight c / sqrt(v + d^2 epsilon / step^2) + bias``.

    Args:
        numbers: Whole numbers.
        taken: Their grid.
        given: The grid of the result.
        edges: The least and the greatest number that may be given.
        axes: How many axes, the last ones, are one place's.
        epsilon: What is added to variances, in real units.
        weight: Factors; 1 by default.
        bias: What is added, in real units; nothing by default.
    """
    over = tuple(range(-axes, 0))
    count = math.prod(numbers.shape[-axes:])
    fits = count * taken.largest**2 < SINGLE  # sums in single precision, if that holds them
    whole = numbers.contiguous().to(torch.float32 if fits else torch.float64)
    total = whole.sum(over, keepdim=True).double()
    squares = whole.square().sum(over, keepdim=True).double()
    least = in_double(count**2 * (epsilon / taken.step**2))
    spread = (count * squares - total.square() + least).sqrt_()
    found = whole.mul_(count).double().sub_(total).div_(spread)
    if weight is not None:
        found.mul_(weight.double())
    if bias is not None:
        found.add_(bias.double())
    return on_grid(found, given, edges)
