"""A chip's array to the last bit: what products of whole numbers come to with its faults live.

Only outputs on columns with something stuck differ from a plain product; what is done about these
is in ``parts``.
"""

from dataclasses import replace

import torch
from jaxtyping import Int32
from torch import Tensor

from chipmend.faults.maps import FaultMap, check_map_fits
from chipmend.hardware.array import Array
from chipmend.hardware.placement import WeightShape, weights_on
from chipmend.network.integer.layers import Layer, Pair, PairProduct, Product, soundly
from chipmend.network.integer.whole import WholeMatrices, signed
from chipmend.simulate.columns import StuckColumns
from chipmend.simulate.parts import Held
from chipmend.simulate.passes import Passes
from chipmend.simulate.reach import (
    bounds,
    check_holds_activations,
    check_wide_enough,
    check_wide_enough_for,
)


class FaultyArray:
    """What multiplies on one chip: give it to an ``IntegerNetwork``.

    Args:
        array: The array as designed.
        faults: What is broken on the chip. PEs that must not be used are bypassed; stuck bits of
            the weight memory are not its business, but that of the weights it gets.

    Raises:
        FaultMapError: The map is not one of this array.
    """

    def __init__(self, array: Array, faults: FaultMap) -> None:
        check_map_fits(faults, array, "the chip")
        self.array, self._stuck = array, StuckColumns.of(faults, array)

    def __call__(self, layer: Layer) -> Product:
        """A layer's product on this chip.

        Raises:
            ArrayError: The accumulators are too narrow for the layer.
        """
        return _OfLayer(layer, self.array, self._stuck)

    def pair(self, pair: Pair) -> PairProduct:
        """A product of two activations on this chip; the right ones do not pass its weight memory.

        Raises:
            ArrayError: Its weight registers do not hold activations; once operands are there, the
                accumulators are too narrow for them.
        """
        check_holds_activations(pair, self.array)
        return _OfPair(pair, self.array, self._stuck)


class _OfLayer:
    """One layer on one chip."""

    def __init__(self, layer: Layer, array: Array, stuck: StuckColumns) -> None:
        self._layer = layer = _bypassed(layer, stuck)
        self._passes = passes = Passes(layer.shape, array)
        intended = passes.weights(layer.dense())
        check_wide_enough(layer.name, bounds(intended, layer.grid, passes.slices), array)
        self._sound, self._parts = soundly(layer), []
        if stuck.live is not None:
            registers = stuck.registers(intended, passes.row_of)
            self._parts = [*Held(registers, layer.grid, passes, stuck).parts(intended)]

    def __call__(self, inputs: Tensor) -> Int32[Tensor, "outputs m"]:
        """Accumulators of what comes in."""
        found = self._sound(inputs)
        if self._parts:
            operand = self._passes.columns(self._layer.columns(inputs))
            for part in self._parts:
                part.put_(found, operand)
        return found


class _OfPair:
    """A product of two activations on one chip, for as many samples and heads as there are."""

    def __init__(self, pair: Pair, array: Array, stuck: StuckColumns) -> None:
        self._pair, self._array, self._stuck = pair, array, stuck

    def __call__(self, left: Tensor, right: Tensor) -> Int32[Tensor, "... m n"]:
        """Accumulators of what comes in."""
        *_, k, n = right.shape
        grid, passes = self._pair.left, Passes(WeightShape(n, k), self._array)
        check_wide_enough_for(self._pair, k, passes.slices, self._array)
        before = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        operand = signed(left).mT.expand(*before, k, -1)
        intended = right.mT.float().expand(*before, n, k)
        registers = self._stuck.registers(intended, passes.row_of)
        found = WholeMatrices(registers, grid.least)(operand)
        if self._stuck.live is not None:
            for part in Held(registers, grid, passes, self._stuck).parts():
                part.put_(found, operand)
        return found.mT


def _bypassed(layer: Layer, stuck: StuckColumns) -> Layer:
    """A layer without the weights of PEs that are bypassed."""
    lost = torch.from_numpy(weights_on(stuck.bypassed, layer.shape, stuck.array))
    shape = layer.numbers.shape
    return replace(
        layer, numbers=layer.numbers.masked_fill(lost.view(shape).to(layer.numbers.device), 0)
    )
