"""A chip's array to the last bit: what layers of whole numbers come to with its faults live.

Only outputs on columns with something stuck differ from a plain product, and while sums wrap around
the difference is the sum of the moves that stuck bits make (``chain``). Sums that may saturate are
walked row by row (``walk``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int8, Int32, Int64
from torch import Tensor

from chipmend.faults.maps import FaultMap, check_map_fits
from chipmend.hardware.array import Array
from chipmend.hardware.placement import weights_on
from chipmend.network.integer.layers import Layer, Product, soundly
from chipmend.network.integer.whole import WholeMatrix
from chipmend.simulate.chain import Chain
from chipmend.simulate.columns import StuckColumns
from chipmend.simulate.passes import Passes
from chipmend.simulate.reach import Bounds, bounds, check_wide_enough
from chipmend.simulate.walk import Walk

INT_BITS = 32
"""Numbers of so many bits wrap around by themselves."""


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
        return _OnChip(layer, self.array, self._stuck)


class _OnChip:
    """One layer on one chip."""

    def __init__(self, layer: Layer, array: Array, stuck: StuckColumns) -> None:
        self._layer = layer = _bypassed(layer, stuck)
        self._passes = passes = Passes(layer.shape, array)
        intended = passes.weights(layer.dense())
        check_wide_enough(layer.name, bounds(intended, layer.grid, passes.slices), array)
        self._sound, self._parts = soundly(layer), list[_Part]()
        if stuck.live is None:
            return
        held = stuck.registers(intended, passes.row_of)
        build = _Build(held, layer.grid.least, passes, stuck)
        walked, summed, moved = build.ways(bounds(held, layer.grid, passes.slices))
        rewired = ((held != intended).any(1) & ~walked & ~summed).nonzero()[:, 0]
        if len(rewired):
            self._parts.append(_Put(rewired, WholeMatrix(held[rewired], layer.grid.least)))
        if bool(moved.any()):
            self._parts.append(_Moved(build, moved.nonzero()[:, 0]))
        if bool(summed.any()):
            self._parts.append(_Summed(build, summed.nonzero()[:, 0]))
        if bool(walked.any()):
            self._parts.append(_Put(walked.nonzero()[:, 0], build.walk(walked.nonzero()[:, 0])))

    def __call__(self, inputs: Tensor) -> Int32[Tensor, "outputs m"]:
        """Accumulators of what comes in."""
        found = self._sound(inputs)
        if self._parts:
            operand = self._passes.columns(self._layer.columns(inputs))
            for part in self._parts:
                part.put_(found, operand)
        return found


class _Part(Protocol):
    """Outputs of a layer that are not what a sound array makes of them."""

    def put_(self, found: Int32[Tensor, "outputs m"], operand: Int8[Tensor, "k m"]) -> None:
        """Put them right, given what a sound array computes, and the arranged operand."""
        ...


@dataclass(frozen=True, eq=False)
class _Put:
    """Outputs that are computed anew."""

    outputs: Int64[Tensor, " n"]
    product: Callable[[Tensor], Tensor]

    def put_(self, found: Tensor, operand: Tensor) -> None:
        found[self.outputs] = self.product(operand)


@dataclass(frozen=True, eq=False)
class _Build:
    """What the parts of a layer are made of.

    Args:
        held: What the weight registers hold, arranged.
        least: The least number that activations may be.
        passes: The passes of the layer.
        stuck: What is stuck.
    """

    held: Float[Tensor, "n k"]
    least: int
    passes: Passes
    stuck: StuckColumns

    def ways(self, reach: Bounds) -> tuple[Tensor, Tensor, Tensor]:
        """Which outputs have to be walked, which to be summed up, and which only to be moved."""
        accumulators = self.stuck.array.accumulators
        down, up, spoiled = self._moves()
        least, most = reach[0] + down[:, None], reach[1] + up[:, None]
        met, none = (down != 0) | (up != 0), torch.zeros_like(spoiled)
        if accumulators.tiles == "reentry":  # sums carry their moves on, so they are wanted whole
            leaves = ~_fits(least.sum(1), most.sum(1), accumulators.bits) | spoiled
            if accumulators.overflow == "saturate":
                return leaves, met & ~leaves, none
            return none, met | leaves, none
        leaves = ~_fits(least, most, accumulators.bits).all(1) | spoiled
        outside = ~_fits(least.sum(1), most.sum(1), accumulators.outside_bits)
        if accumulators.overflow == "saturate":
            return leaves | outside, none, met & ~leaves & ~outside
        if accumulators.outside_bits <= accumulators.bits:
            leaves = none
        if accumulators.outside_bits == INT_BITS:
            outside = none
        return none, leaves | outside, met & ~leaves & ~outside

    def in_order(self, outputs: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Outputs with those with most stuck accumulators first."""
        stuck = [len(self.stuck.accumulators.get(c, ())) for c in self.columns(outputs)]
        return outputs[torch.tensor(stuck).argsort(descending=True, stable=True).to(outputs.device)]

    def columns(self, outputs: Int64[Tensor, " n"]) -> list[int]:
        """The columns of PEs that outputs leave by."""
        return (outputs % self.stuck.array.cols).tolist()

    def chain(self, outputs: Int64[Tensor, " n"], rows: slice, *, whole: bool) -> Chain:
        """The chain of some outputs in one pass."""
        return Chain(
            self.columns(outputs),
            self.held[outputs, rows],
            self.stuck.products,
            self.stuck.accumulators,
            least=self.least,
            whole=whole,
        )

    def walk(self, outputs: Int64[Tensor, " n"]) -> Walk:
        """The walk of some outputs."""
        return Walk(
            self.columns(outputs),
            self.held[outputs],
            self.stuck.products,
            self.stuck.accumulators,
            array=self.stuck.array,
            slices=self.passes.slices,
            least=self.least,
        )

    def _moves(self) -> tuple[Tensor, Tensor, Tensor]:
        """How far a pass's moves go down and up at most, and whether a sign is spoiled."""
        columns = self.columns(torch.arange(len(self.held)))
        stuck = self.stuck
        each = [[*stuck.products.get(c, ()), *stuck.accumulators.get(c, ())] for c in columns]
        down, up = (
            torch.tensor(moves, device=self.held.device)
            for moves in zip(
                *((sum(e.least_move for e in s), sum(e.most_move for e in s)) for s in each),
                strict=True,
            )
        )
        signs = [any(e.spoils_sign for e in stuck.accumulators.get(c, ())) for c in columns]
        return down, up, torch.tensor(signs, device=self.held.device)


class _Moved:
    """Outputs that moves are added to.

    A pass in which an output's weights are all 0 moves it by the same amount for all inputs.
    """

    def __init__(self, build: _Build, outputs: Int64[Tensor, " n"]) -> None:
        self._outputs = outputs = build.in_order(outputs)
        self._constant = torch.zeros(len(outputs), 1, dtype=torch.int32, device=outputs.device)
        self._passes: list[tuple[slice, Tensor, Chain]] = []
        idle = build.chain(outputs, slice(0, 1), whole=False).at_rest()
        for rows in build.passes.slices:
            live = build.held[outputs, rows].any(1)
            chain = build.chain(outputs[live], rows, whole=False)
            self._constant[live] += chain.constant
            self._constant[~live] += idle[~live]
            self._passes.append((rows, live.nonzero()[:, 0], chain))

    def put_(self, found: Tensor, operand: Tensor) -> None:
        moves = self._constant.expand(-1, operand.shape[1]).clone()
        for rows, live, chain in self._passes:
            if len(live) == len(moves):
                moves.sub_(chain(operand[rows]))
            elif len(live):
                moves.index_add_(0, live, chain(operand[rows]), alpha=-1)
        found.index_add_(0, self._outputs, moves)


class _Summed:
    """Outputs whose sums are added up tile by tile, since they may leave an accumulator."""

    def __init__(self, build: _Build, outputs: Int64[Tensor, " n"]) -> None:
        self._outputs = outputs = build.in_order(outputs)
        self._accumulators = build.stuck.array.accumulators
        self._passes = [
            (rows, build.chain(outputs, rows, whole=True)) for rows in build.passes.slices
        ]

    def put_(self, found: Tensor, operand: Tensor) -> None:
        held = self._accumulators
        total = found.new_zeros(len(self._outputs), operand.shape[1])
        for rows, chain in self._passes:
            if held.tiles == "reentry":
                total = chain(operand[rows], total)
            else:
                total.add_(_wrapped(chain(operand[rows]), held.bits))
        bits = held.bits if held.tiles == "reentry" else held.outside_bits
        found[self._outputs] = _wrapped(total, bits)


def _bypassed(layer: Layer, stuck: StuckColumns) -> Layer:
    """A layer without the weights of PEs that are bypassed."""
    lost = torch.from_numpy(weights_on(stuck.bypassed, layer.shape, stuck.array))
    shape = layer.numbers.shape
    return replace(
        layer, numbers=layer.numbers.masked_fill(lost.view(shape).to(layer.numbers.device), 0)
    )


def _fits(least: Tensor, most: Tensor, bits: int) -> Bool[Tensor, "..."]:
    return (least >= -(2 ** (bits - 1))) & (most < 2 ** (bits - 1))


def _wrapped(sums: Int32[Tensor, "n m"], bits: int) -> Int32[Tensor, "n m"]:
    """Numbers of so many bits, given their lower ones; in place."""
    return sums.bitwise_left_shift_(32 - bits).bitwise_right_shift_(32 - bits)
