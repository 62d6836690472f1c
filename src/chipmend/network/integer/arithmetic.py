"""Integer arithmetic, exactly defined, and carried out in floating point that holds it exactly.

An accumulator ``a`` becomes ``(a M + B) >> S``: a whole multiplier ``M`` of at most 24 bits and a
whole offset ``B``, in which half a unit is included, so that halves round up. All of it fits into
the 53 bits that double precision is exact in. Products of integers are sums below ``2 ** 24``,
which single precision is exact in, whatever their order; larger ones are taken part by part.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

SINGLE, DOUBLE = 2**24, 2**53
"""Whole numbers up to here are exact in single and in double precision."""
MULTIPLIER_BITS, MOST_SHIFT = 24, 40


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

    def sum(self, terms: Sequence[Tensor]) -> Tensor:
        """``(a1 M1 + a2 M2 + ... + B) >> S``, in double precision.

        Args:
            terms: Whole numbers, a tensor for every factor.
        """
        down = 2.0**-self.shift
        total = terms[0].double() * float(self.multiplier[0] * down[0])
        for term, factor in zip(terms[1:], (self.multiplier * down)[1:].tolist(), strict=True):
            total = total + term.double() * factor
        return total.add_(float(self.offset[0] * down[0])).floor_()

    def __call__(self, accumulator: Tensor, axis: int) -> Tensor:
        """``(a M + B) >> S`` of every number, in double precision.

        Args:
            accumulator: Whole numbers.
            axis: Where the channels are; any axis if there is but one factor.
        """
        down = 2.0**-self.shift
        factor, offset = (
            _along((numbers * down).to(accumulator.device), accumulator.dim(), axis)
            for numbers in (self.multiplier, self.offset)
        )
        return accumulator.double().mul_(factor).add_(offset).floor_()


def exact_product(
    product: Callable[[Tensor, Tensor], Tensor],
    weight: Tensor,
    *,
    axis: int,
    groups: int,
    highest: int,
) -> Callable[[Tensor], Tensor]:
    """A matrix product of whole numbers, to the last bit.

    Args:
        product: Computes it for inputs and a weight, in whatever precision these have.
        weight: Whole numbers, ``outputs x inputs of a group x kernel``, in single precision.
        axis: Axis of the inputs that the weight's inputs lie on.
        groups: Groups of outputs that have inputs of their own.
        highest: No input is larger.

    Returns:
        A function of whole inputs in single precision, which gives whole numbers in single or
        double precision.
    """
    parts = exact_parts(weight, highest)
    if len(parts) == 1:
        return lambda inputs: product(inputs, weight)
    if groups > 1 or not parts:
        wide = weight.double()
        return lambda inputs: product(inputs.double(), wide)

    def part_by_part(inputs: Tensor) -> Tensor:
        sums = (
            product(inputs.narrow(axis, part.start, len(part)), weight[:, part.start : part.stop])
            for part in parts
        )
        return functools.reduce(lambda total, more: total.add_(more), sums, next(sums).double())

    return part_by_part


def exact_parts(weight: Tensor, highest: int) -> list[range]:
    """Inputs of a weight in runs, over each of which no sum of products reaches ``2 ** 24``.

    Args:
        weight: Whole numbers, ``outputs x inputs x kernel``.
        highest: No input is larger.

    Returns:
        The runs; none if one input alone reaches it.

    Example:
        >>> exact_parts(torch.full((1, 1100), 127.0), 255)
        [range(0, 518), range(518, 1036), range(1036, 1100)]
    """
    each = highest * weight.double().abs().flatten(1).view(*weight.shape[:2], -1).sum(2)
    if bool((each >= SINGLE).any()):
        return []
    reach = each.cumsum(1)
    parts, first, before = list[range](), 0, torch.zeros_like(reach[:, 0])
    while first < weight.shape[1]:
        over = (reach - before[:, None] >= SINGLE).any(0)
        end = int(over.to(torch.uint8).argmax()) if bool(over.any()) else weight.shape[1]
        parts.append(range(first, end))
        first, before = end, reach[:, end - 1]
    return parts


def _along(numbers: Tensor, dims: int, axis: int) -> Tensor:
    if len(numbers) == 1:
        return numbers.view(1)
    shape = [1] * dims
    shape[axis] = -1
    return numbers.view(shape)
