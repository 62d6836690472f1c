"""A layer in whole numbers, as a matrix product: what the array gets, and what it has to give."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from jaxtyping import Float, Int8, Int32, Integer
from torch import Tensor

from chipmend.hardware.placement import WeightShape
from chipmend.network.dynamic import Lost
from chipmend.network.integer.arithmetic import SINGLE
from chipmend.network.integer.graph import Operation, Value
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.unrolled import unrolled
from chipmend.network.integer.whole import WholeMatrices, WholeMatrix, signed
from chipmend.network.window import Window


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer or a convolution whose weights the array holds.

    Args:
        operation: The layer's operation.
        numbers: Its weights in whole numbers, ``outputs x inputs of a group x kernel``.
        grid: The grid of its inputs.
    """

    operation: Operation
    numbers: Float[Tensor, "outputs inputs ..."]
    grid: Grid

    @property
    def name(self) -> str:
        """Name of its weight."""
        return self.operation.given["weight"].name

    @property
    def shape(self) -> WeightShape:
        """Its sizes, as placement sees them."""
        outputs, inputs, *kernel = self.numbers.shape
        taps = self.numbers[0, 0].numel() if kernel else 1
        return WeightShape(outputs, inputs, taps, self.operation.given.get("groups", 1))

    @cached_property
    def window(self) -> Window | None:
        """How its kernel moves; none of a linear layer."""
        if self.operation.operator == "linear.default":
            return None
        return Window.of(tuple(self.numbers.shape[2:]), self.operation.given)

    def columns(self, inputs: Tensor) -> Int8[Tensor, "channels taps m"]:
        """The product's left operand: inputs of all groups down, a dot product in each column.

        Args:
            inputs: Whole numbers of the grid, in 8 bits; of unsigned ones, 128 less is given.
        """
        bytes_ = signed(inputs)
        if self.window is None:
            last_first = bytes_.movedim(-1, 0)
            return last_first.reshape(len(last_first), 1, -1)
        zero = 0 if self.grid.signed else -128
        columns = unrolled(bytes_, self.window, zero)
        return columns.view(len(columns), self.shape.kernel, -1)

    def arranged(self, found: Tensor, inputs: Tensor) -> Tensor:
        """Results in the order that PyTorch has them in.

        Args:
            found: ``outputs x m``.
            inputs: What came in.
        """
        if self.window is None:
            return found.view(len(found), *inputs.shape[:-1]).movedim(0, -1)
        places = self.window.places(tuple(inputs.shape[2:]))
        return found.view(len(found), *places, len(inputs)).movedim(-1, 0)

    def dense(self) -> Float[Tensor, "n channels taps"]:
        """Its weights as the array holds them: block-diagonal if it has groups."""
        shape = self.shape
        weights = self.numbers.reshape(shape.outputs, shape.inputs, shape.kernel)
        if shape.groups == 1:
            return weights
        each = shape.outputs // shape.groups
        channels = shape.inputs * shape.groups
        found = weights.new_zeros(shape.outputs, channels, shape.kernel)
        for group in range(shape.groups):
            outputs = slice(group * each, (group + 1) * each)
            inputs = slice(group * shape.inputs, (group + 1) * shape.inputs)
            found[outputs, inputs] = weights[outputs]
        return found


@dataclass(frozen=True, slots=True)
class Pair:
    """A product of two activations, of which the array holds the right one.

    Args:
        place: Where in the network it is, for people.
        left: The grid of the left operand.
        right: The grid of the right one, whose numbers have a sign as those of weights do.
    """

    place: str
    left: Grid
    right: Grid


Product = Callable[[Tensor], Int32[Tensor, "outputs m"]]
"""A layer's product: its inputs, as PyTorch has them, to its accumulators."""
PairProduct = Callable[
    [Integer[Tensor, "... m k"], Int8[Tensor, "... k n"]], Int32[Tensor, "... m n"]
]
"""A product of two activations: whole numbers of their grids to accumulators."""


class Multiplier(Protocol):
    """What computes matrix products: sound arithmetic, or a chip with faults."""

    def __call__(self, layer: Layer) -> Product:
        """The product of a layer."""
        ...

    def pair(self, pair: Pair) -> PairProduct:
        """A product of two activations."""
        ...


@dataclass(frozen=True, eq=False)
class Sound:
    """Sound arithmetic.

    Args:
        lost: What right operands lose; nothing by default. Weights are what they are.
    """

    lost: Lost | None = None

    def __call__(self, layer: Layer) -> Product:
        """The product of a layer."""
        if layer.shape.groups > 1:
            return _in_groups(layer)
        matrix = WholeMatrix(layer.numbers.flatten(1), layer.grid.least)
        return lambda inputs: matrix(layer.columns(inputs).flatten(0, 1))

    def pair(self, pair: Pair) -> PairProduct:
        """A product of two activations."""

        def product(left: Tensor, right: Tensor) -> Tensor:
            if self.lost is not None:
                right = right.masked_fill(self.lost(*right.shape[-2:]).to(right.device), 0)
            return WholeMatrices(right.mT, pair.left.least)(signed(left).mT).mT

        return product


soundly = Sound()
"""Where nothing is broken."""


def _in_groups(layer: Layer) -> Product:
    """Group by group, in floating point that holds every sum."""
    reach = layer.grid.largest * layer.numbers.abs().double().flatten(1).sum(1)
    exact = torch.float32 if bool((reach < SINGLE).all()) else torch.float64
    weight = layer.numbers.to(exact)
    operation = replace(layer.operation, given={**layer.operation.given, "bias": None})

    def product(inputs: Tensor) -> Tensor:
        real = inputs.to(exact)
        found = operation(lambda item: real if isinstance(item, Value) else weight)
        samples_last = found.movedim(0, -1)
        return samples_last.reshape(len(samples_last), -1).to(torch.int32)

    return product
