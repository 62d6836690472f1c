"""What the multipliers on the way of single sums give, whatever the product.

A *sum* is what one output has for one column of the left operand; a *piece* of it is what one pass
adds, from the top of a column of PEs to its end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from jaxtyping import Int8, Int64, Integer
from torch import Tensor

from chipmend.hardware.array import Array
from chipmend.network.integer.layers import Layer
from chipmend.simulate.passes import Passes

Index = Int64[Tensor, " walked"]
Products = Int64[Tensor, " walked"]


class Operands(Protocol):
    """The operands of a product."""

    @property
    def passes(self) -> Passes:
        """How it goes through the array."""
        ...

    @property
    def clean(self) -> "Operands":
        """The same as they were before anything flipped in the memory."""
        ...

    def down(self, outputs: Index, columns: Index, passes: Index) -> Iterator[Products]:
        """What multipliers give, row by row of PEs; idle ones give 0."""
        ...


@dataclass(frozen=True, eq=False)
class OfLayer:
    """The operands of a layer.

    Args:
        weights: Its weights, arranged.
        operand: Its left operand, arranged; of unsigned numbers, 128 less.
        zero: What of the left operand stands for zero.
        passes: How it goes through the array.
        flipped: What weights are off, for which samples.
    """

    weights: Int8[Tensor, "n k"]
    operand: Int8[Tensor, "k m"]
    zero: int
    passes: Passes
    flipped: "FlippedWeights | None" = None

    @classmethod
    def of(cls, layer: Layer, inputs: Tensor, array: Array) -> "OfLayer":
        """The operands of a layer, and of what comes in."""
        passes = Passes(layer.shape, array)
        weights = passes.weights(layer.dense()).to(torch.int8)
        return cls(weights, passes.columns(layer.columns(inputs)), zero_of(layer), passes)

    @property
    def clean(self) -> "OfLayer":
        """The same as they were before anything flipped in the memory."""
        return self if self.flipped is None else replace(self, flipped=None)

    def down(self, outputs: Index, columns: Index, passes: Index) -> Iterator[Products]:
        """What multipliers give, row by row of PEs; idle ones give 0."""
        starts, ends = _ends(self.passes, passes)
        k, m = self.operand.shape
        weight, entering = outputs * k + starts, starts * m + columns
        weights, operand = self.weights.flatten(), self.operand.flatten()
        for row in range(self.passes.array.rows):
            found = _at(weights, weight + row)
            if self.flipped is not None:
                found += self.flipped.moves(outputs, starts + row, columns)
            found *= _at(operand, entering + row * m).sub_(self.zero)
            yield found.mul_(starts + row < ends)


@dataclass(frozen=True, eq=False)
class OfPair:
    """The operands of products of activations; outputs of all are numbered through.

    Args:
        left: Left operands.
        right: Right operands.
        passes: How each goes through the array.
    """

    left: Integer[Tensor, "products m k"]
    right: Int8[Tensor, "products k n"]
    passes: Passes

    @property
    def clean(self) -> "OfPair":
        """Themselves: neither is in the memory of weights."""
        return self

    def down(self, outputs: Index, columns: Index, passes: Index) -> Iterator[Products]:
        """What multipliers give, row by row of PEs; idle ones give 0."""
        starts, ends = _ends(self.passes, passes)
        k, n = self.right.shape[1:]
        which, output = outputs // n, outputs % n
        entering = (which * self.left.shape[1] + columns) * k + starts
        weight = (which * k + starts) * n + output
        left, right = self.left.flatten(), self.right.flatten()
        for row in range(self.passes.array.rows):
            found = _at(right, weight + row * n).mul_(_at(left, entering + row))
            yield found.mul_(starts + row < ends)


@dataclass(frozen=True, eq=False)
class FlippedWeights:
    """Weights of a layer some of whose bits flipped as they were read, for one sample each.

    Args:
        outputs: The output of each.
        rows: Its row of the arranged operand.
        samples: The sample for which it flipped.
        by: By how much it is off.
        places: How many columns of the operand a sample has.
        samples_last: Whether samples lie innermost in the operand.
        sizes: How many rows and samples there are.
    """

    outputs: Int64[Tensor, " flipped"]
    rows: Int64[Tensor, " flipped"]
    samples: Int64[Tensor, " flipped"]
    by: Int64[Tensor, " flipped"]
    places: int
    samples_last: bool
    sizes: tuple[int, int]

    def moves(self, outputs: Index, k: Index, columns: Index) -> Int64[Tensor, " walked"]:
        """By how much weights are off, those of outputs and rows of the operand."""
        keys, order = self._keys
        wanted = self._key(outputs, k, self._sample_of(columns))
        at = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        return self.by[order][at] * (keys[at] == wanted)

    def columns(self) -> Int64[Tensor, "flipped places"]:
        """The columns of the operand that each is read for."""
        each = torch.arange(self.places, device=self.samples.device)
        if self.samples_last:
            return each * self.sizes[1] + self.samples[:, None]
        return self.samples[:, None] * self.places + each

    def _sample_of(self, columns: Index) -> Index:
        return columns % self.sizes[1] if self.samples_last else columns // self.places

    def _key(self, outputs: Tensor, rows: Tensor, samples: Tensor) -> Tensor:
        return (outputs * self.sizes[0] + rows) * self.sizes[1] + samples

    @cached_property
    def _keys(self) -> tuple[Tensor, Tensor]:
        keys = self._key(self.outputs, self.rows, self.samples)
        order = keys.argsort()
        return keys[order], order


def zero_of(layer: Layer) -> int:
    """What stands for zero in a layer's left operand."""
    return 0 if layer.grid.signed else -128


def _at(numbers: Integer[Tensor, " numbers"], where: Index) -> Int64[Tensor, " walked"]:
    """Numbers by their places; where a place is behind all, any of them."""
    return numbers.take(where.clamp_(max=len(numbers) - 1)).long()


def _ends(passes: Passes, which: Index) -> tuple[Index, Index]:
    """Of some passes the first row of the operand, and the one behind the last."""
    slices, device = passes.slices, which.device
    starts = torch.tensor([each.start for each in slices], device=device)
    ends = torch.tensor([each.stop for each in slices], device=device)
    return starts[which], ends[which]
