"""Integer arithmetic, exactly defined, and carried out in floating point that holds it exactly.

An accumulator ``a`` becomes ``(a M + B) >> S``: a whole multiplier ``M`` of at most 24 bits and a
whole offset ``B``, in which half a unit is included, so that halves round up. All of it fits into
the 53 bits that double precision is exact in.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64, Int32, Shaped
from torch import Tensor

SINGLE, DOUBLE = 2**24, 2**53
"""Whole numbers up to here are exact in single and in double precision."""
MULTIPLIER_BITS, MOST_SHIFT = 24, 40
AT_ONCE = 2**16
"""Accumulators that are narrowed together."""


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Factors and offsets of channels, as whole numbers over a power of two.

    Args:
        multiplier: ``M`` of every channel; whole.
        offset: ``B`` of every channel, with half a unit in it; whole.
        shift: ``S`` of every channel; whole.
    """

    multiplier: Float64[Tensor, " channels"]
    offset: Float64[Tensor, " channels"]
    shift: Float64[Tensor, " channels"]
    factor: Float64[Tensor, " channels"] = field(init=False)
    """``M / 2^S``."""
    added: Float64[Tensor, " channels"] = field(init=False)
    """``B / 2^S``."""

    @classmethod
    def of(
        cls,
        factor: Float64[Tensor, " channels"],
        offset: Float64[Tensor, " channels"],
        *,
        largest: int,
    ) -> "FixedPoint":
        """The nearest to ``factor a + offset`` for accumulators up to ``largest``.

        Args:
            factor: A real factor for every channel, of either sign.
            offset: What is added, in units of the result.
            largest: No accumulator is larger.

        Example:
            >>> one = torch.ones(1, dtype=torch.float64)
            >>> fixed = FixedPoint.of(0.75 * one, 0 * one, largest=1000)
            >>> int(fixed.multiplier) / 2 ** int(fixed.shift), int(fixed.shift)
            (0.75, 24)
        """
        bits = min(MULTIPLIER_BITS, 51 - math.ceil(math.log2(max(largest, 2))))
        exponent = torch.frexp(factor).exponent.double()
        shift = (bits - exponent).clamp(1, MOST_SHIFT)
        most = 2.0**bits - 1
        over = (factor * 2**shift).round().abs() > most  # rounded up to the next power of two
        shift = (shift - over.double()).clamp(min=1)
        multiplier = (factor * 2**shift).round().clamp(-most, most)
        # what is far outside of any grid may as well be a little less far
        far = DOUBLE / 4
        moved = (offset * 2**shift).round().clamp(-far, far) + 2 ** (shift - 1)
        return cls(multiplier, moved, shift)

    @classmethod
    def together(cls, factor: Float64[Tensor, " terms"], *, largest: int) -> "FixedPoint":
        """Factors of the terms of a sum, over the same power of two."""
        apart = cls.of(factor, torch.zeros_like(factor), largest=largest)
        shift = apart.shift.min().expand_as(apart.shift)
        return cls((factor * 2**shift).round(), 2 ** (shift - 1), shift)

    def __post_init__(self) -> None:
        down = 2.0**-self.shift
        object.__setattr__(self, "factor", self.multiplier * down)
        object.__setattr__(self, "added", self.offset * down)

    def sum(self, terms: Sequence[Tensor]) -> Tensor:
        """``(a1 M1 + a2 M2 + ... + B) >> S``, in double precision.

        Args:
            terms: Whole numbers, a tensor for every factor.
        """
        factors = self.factor.to(terms[0].device)
        total = terms[0].double() * factors[0]
        for term, factor in zip(terms[1:], factors[1:], strict=True):
            total = total.addcmul_(term.double(), factor)
        return total.add_(self.added[0].to(total.device)).floor_()

    def narrowed(
        self, accumulator: Int32[Tensor, "channels m"], least: int, most: int, dtype: torch.dtype
    ) -> Tensor:
        """``(a M + B) >> S`` of every number, clamped, in 8 bits.

        Args:
            accumulator: Whole numbers.
            least: Nothing less is given.
            most: Nothing more is given.
            dtype: Of what is given: a type of 8 bits.
        """
        factor, offset = (
            numbers.to(accumulator.device).expand(len(accumulator))[:, None]
            for numbers in (self.factor, self.added)
        )
        found = torch.empty_like(accumulator, dtype=dtype)
        for block in _blocks(*accumulator.shape):
            rows = block[0]
            numbers = accumulator[block].double().mul_(factor[rows]).add_(offset[rows])
            if least < 0:
                numbers.floor_()  # else it is the same as leaving out what is behind the point
            found[block] = numbers.clamp_(least, most).to(torch.int32)
        return found

    def __call__(self, accumulator: Tensor, axis: int) -> Tensor:
        """``(a M + B) >> S`` of every number, in double precision.

        Args:
            accumulator: Whole numbers.
            axis: Where the channels are; any axis if there is but one factor.
        """
        factor, offset = (
            along(numbers.to(accumulator.device), accumulator.dim(), axis)
            for numbers in (self.factor, self.added)
        )
        return accumulator.double().mul_(factor).add_(offset).floor_()


def _blocks(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Pieces of a matrix that stay in the processor's cache from one operation to the next."""
    high = max(1, AT_ONCE // max(1, columns))
    for row in range(0, rows, high):
        for column in range(0, columns, AT_ONCE):
            yield slice(row, row + high), slice(column, column + AT_ONCE)


def along(numbers: Shaped[Tensor, " channels"], dims: int, axis: int) -> Tensor:
    """Numbers of channels, shaped to be multiplied with a tensor.

    Args:
        numbers: One for every channel, or one for all.
        dims: Axes of the tensor.
        axis: Where its channels are.
    """
    if len(numbers) == 1:
        return numbers.view(1)
    shape = [1] * dims
    shape[axis] = -1
    return numbers.view(shape)
