"""What becomes of whole numbers at the end of a stage: brought to the next grid, or left real."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from chipmend.network.integer.arithmetic import FixedPoint, along
from chipmend.network.integer.codes import LARGEST_WEIGHT, Codes
from chipmend.network.integer.graph import Held
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.stages import Bounds, Norm, Stage

ACCUMULATOR = 2**31
"""No accumulator of 32 bits reaches this."""
Grids = Mapping[str, Grid]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class End:
    """What becomes of accumulators: whole numbers of a grid, or real numbers with all bits.

    Args:
        factor: What one of an accumulator is worth, for every channel, in real units.
        offset: What is added, in real units.
        bounds: What an activation lets through, in real units.
        largest: No accumulator is larger.
        grid: The grid; none for real numbers.
        fixed: The factor and what is added as whole numbers, in units of the grid.
    """

    factor: Float64[Tensor, " channels"]
    offset: Float64[Tensor, " channels"]
    bounds: Bounds
    largest: int
    grid: Grid | None
    fixed: FixedPoint | None

    def narrowed(self, accumulator: Shaped[Tensor, "channels m"]) -> Shaped[Tensor, "channels m"]:
        """What becomes of accumulators as products give them, in the type of the grid."""
        if self.grid is None or self.fixed is None:
            return self._real(accumulator, 0)
        least, most = edges(self.bounds, self.grid)
        return self.fixed.narrowed(accumulator, least, most, self.grid.dtype)

    def __call__(self, accumulator: Tensor, axis: int) -> Tensor:
        """The same in floating point, whole numbers too.

        Args:
            accumulator: Whole numbers in any order.
            axis: Where the channels are; any axis if there is but one factor.
        """
        if self.grid is None or self.fixed is None:
            return self._real(accumulator, axis)
        return self.fixed(accumulator, axis).clamp_(*edges(self.bounds, self.grid)).float()

    def of_channel(self, channel: int) -> "End":
        """What becomes of one channel's accumulators."""
        only = slice(channel, channel + 1)
        fixed = self.fixed and FixedPoint(
            self.fixed.multiplier[only], self.fixed.offset[only], self.fixed.shift[only]
        )
        return replace(self, factor=self.factor[only], offset=self.offset[only], fixed=fixed)

    def _real(self, accumulator: Tensor, axis: int) -> Tensor:
        scale, moved = (
            along(numbers.to(accumulator.device), accumulator.dim(), axis)
            for numbers in (self.factor, self.offset)
        )
        return (accumulator * scale + moved).clamp(*self.bounds).float()


def of_product(stage: Stage, grids: Grids, held: Tensors, codes: Mapping[str, Codes]) -> End:
    """The end of a product with weights of the array."""
    given, (taken,) = stage.operation.given, stage.tensors
    weight, grid = codes[given["weight"].name], grids[taken]
    bias = held[given["bias"].name].double() if isinstance(given["bias"], Held) else 0.0
    factor, offset = normed(stage.norm, held, weight.step * grid.step, bias)
    largest = weight.numbers[0].numel() * LARGEST_WEIGHT * grid.largest
    return _end(stage, grids, factor, in_accumulators(offset, factor), largest)


def of_pair(stage: Stage, grids: Grids, count: int) -> End:
    """The end of a product of two activations.

    Args:
        stage: The stage.
        grids: Grids by value.
        count: How many products each of its sums has.
    """
    left, right = (grids[name] for name in stage.tensors)
    return _alike(stage, grids, left.step * right.step, count * left.largest * right.largest)


def of_norm(stage: Stage, grids: Grids, held: Tensors) -> End:
    """The end of a norm by itself."""
    (taken,) = stage.tensors
    assert stage.norm is not None
    step = torch.full_like(held[stage.norm.mean], grids[taken].step, dtype=torch.float64)
    factor, offset = normed(stage.norm, held, step, 0.0)
    return _end(stage, grids, factor, offset, grids[taken].largest)


def of_average(stage: Stage, grids: Grids) -> End:
    """The end of averages, of what is added up for each."""
    grid = grids[stage.tensors[0]]
    return _alike(stage, grids, grid.step / stage.places, stage.places * grid.largest)


def of_sum(stage: Stage, grids: Grids) -> FixedPoint:
    """What terms of a sum are multiplied by; an offset is in the sum."""
    factors = [grids[taken].step / grids[stage.result].step for taken in stage.tensors]
    largest = sum(grids[taken].largest for taken in stage.tensors)
    return FixedPoint.together(torch.tensor(factors).double(), largest=largest)


def of_join(stage: Stage, grids: Grids, taken: str) -> End:
    """The end of one of the tensors that are put side by side."""
    return _alike(stage, grids, grids[taken].step, grids[taken].largest)


def _alike(stage: Stage, grids: Grids, factor: float, largest: int) -> End:
    """An end that all channels have in common."""
    worth = torch.tensor([factor], dtype=torch.float64)
    return _end(stage, grids, worth, torch.zeros_like(worth), largest)


def _end(stage: Stage, grids: Grids, factor: Tensor, offset: Tensor, largest: int) -> End:
    grid = grids[stage.result] if stage.integer else None
    fixed = grid and FixedPoint.of(factor / grid.step, offset / grid.step, largest=largest)
    return End(factor, offset, stage.bounds, largest, grid, fixed)


def edges(bounds: Bounds, grid: Grid) -> tuple[int, int]:
    """The least and the greatest number of a grid that an activation lets through."""
    least, most = (
        min(max(math.floor(bound / grid.step + 0.5), grid.least), grid.most)
        if math.isfinite(bound)
        else edge
        for bound, edge in zip(bounds, (grid.least, grid.most), strict=True)
    )
    return least, most


def normed(
    norm: Norm | None, held: Mapping[str, Tensor], factor: Tensor, offset: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Take the norm behind accumulators into what becomes of them.

    Args:
        norm: The norm, if there is one.
        held: Its statistics, factors and offsets by name.
        factor: What one of an accumulator is worth, for every channel.
        offset: What is added.

    Returns:
        Factor and offset for every channel, in real units.
    """
    if norm is not None:
        spread = (held[norm.variance].double() + norm.epsilon).sqrt()
        scale = 1 / spread if norm.weight is None else held[norm.weight].double() / spread
        offset = (offset - held[norm.mean].double()) * scale
        if norm.bias is not None:
            offset = offset + held[norm.bias].double()
        factor = factor * scale
    return factor, torch.as_tensor(offset, dtype=torch.float64).to(factor.device).expand_as(factor)


def in_accumulators(
    offset: Float64[Tensor, " channels"], factor: Float64[Tensor, " channels"]
) -> Float64[Tensor, " channels"]:
    """Offsets as what a whole number of an accumulator is worth, wherever 32 bits hold that number.

    Args:
        offset: What is added, in real units.
        factor: What one of an accumulator is worth.

    Example:
        >>> in_accumulators(torch.tensor([1.1, 5.0]).double(), torch.tensor([0.5, 1e-12]).double())
        tensor([1., 5.], dtype=torch.float64)
    """
    whole = (offset / factor).round()
    return torch.where(whole.abs() < ACCUMULATOR, whole * factor, offset)
