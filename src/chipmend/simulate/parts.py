"""Outputs that a faulty array gets wrong, and how each of them is put right.

While sums wrap around, what is wrong is the sum of the moves that stuck bits make, which is added
(``chain``); sums that may leave an accumulator are added up tile by tile, and those that may
saturate are walked row by row (``walk``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int8, Int32, Int64
from torch import Tensor

from chipmend.network.integer.grids import Grid
from chipmend.network.integer.whole import WholeMatrix
from chipmend.simulate.chain import Chain
from chipmend.simulate.columns import StuckColumns
from chipmend.simulate.passes import Passes
from chipmend.simulate.reach import Bounds, bounds
from chipmend.simulate.walk import Walk

INT_BITS = 32
"""Numbers of so many bits wrap around by themselves."""


class Part(Protocol):
    """Outputs of a product that are not what a sound array makes of them."""

    def put_(self, found: Int32[Tensor, "... outputs m"], operand: Int8[Tensor, "... k m"]) -> None:
        """Put them right, given what a sound array computes, and the arranged operand."""
        ...


@dataclass(frozen=True, eq=False)
class _Put:
    """Outputs that are computed anew."""

    outputs: Int64[Tensor, " n"]
    product: Callable[[Tensor], Tensor]

    def put_(self, found: Tensor, operand: Tensor) -> None:
        found[..., self.outputs, :] = self.product(operand)


@dataclass(frozen=True, eq=False)
class Held:
    """What the registers of an array hold for a product, and what is stuck about them.

    Args:
        registers: What the weight registers hold, arranged. Where there are several such, each has
            an operand of its own.
        grid: The grid of the left operand.
        passes: The passes of the product.
        stuck: What is stuck.
    """

    registers: Float[Tensor, "... n k"]
    grid: Grid
    passes: Passes
    stuck: StuckColumns

    def parts(self, intended: Float[Tensor, "n k"] | None = None) -> Iterator[Part]:
        """What has to be put right.

        Args:
            intended: What the registers ought to hold, if that is what the product was taken with.
        """
        reach = bounds(self.registers, self.grid, self.passes.slices)
        walked, summed, moved = self._ways(reach)
        if intended is not None:
            rewired = _places((self.registers != intended).any(1) & ~walked & ~summed)
            if len(rewired):
                product = WholeMatrix(self.registers[rewired], self.grid.least)
                yield _Put(rewired, product)
        if bool(moved.any()):
            yield _Moved(self, _places(moved))
        if bool(summed.any()):
            yield _Summed(self, _places(summed))
        if bool(walked.any()):
            yield _Put(_places(walked), self._walk(_places(walked)))

    def _ways(self, reach: Bounds) -> tuple[Tensor, Tensor, Tensor]:
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

    def of(self, outputs: Int64[Tensor, " n"], rows: slice) -> Float[Tensor, "... n rows"]:
        """What they hold for some outputs in one pass."""
        return self.registers[..., outputs, :][..., rows]

    def chain(self, outputs: Int64[Tensor, " n"], rows: slice, *, whole: bool) -> Chain:
        """The chain of some outputs in one pass."""
        return Chain(
            self.columns(outputs),
            self.of(outputs, rows),
            self.stuck.products,
            self.stuck.accumulators,
            least=self.grid.least,
            whole=whole,
        )

    def _walk(self, outputs: Int64[Tensor, " n"]) -> Walk:
        """The walk of some outputs."""
        return Walk(
            self.columns(outputs),
            self.registers[..., outputs, :],
            self.stuck.products,
            self.stuck.accumulators,
            array=self.stuck.array,
            slices=self.passes.slices,
            least=self.grid.least,
        )

    def _moves(self) -> tuple[Tensor, Tensor, Tensor]:
        """How far a pass's moves go down and up at most, and whether a sign is spoiled."""
        columns = self.columns(torch.arange(self.registers.shape[-2]))
        stuck = self.stuck
        each = [[*stuck.products.get(c, ()), *stuck.accumulators.get(c, ())] for c in columns]
        down, up = (
            torch.tensor(moves, device=self.registers.device)
            for moves in zip(
                *((sum(e.least_move for e in s), sum(e.most_move for e in s)) for s in each),
                strict=True,
            )
        )
        signs = [any(e.spoils_sign for e in stuck.accumulators.get(c, ())) for c in columns]
        return down, up, torch.tensor(signs, device=self.registers.device)


class _Moved:
    """Outputs that moves are added to.

    A pass in which an output's weights are all 0 moves it by the same amount for all inputs.
    """

    def __init__(self, held: Held, outputs: Int64[Tensor, " n"]) -> None:
        self._outputs = outputs = held.in_order(outputs)
        self._constant = torch.zeros(len(outputs), 1, dtype=torch.int32, device=outputs.device)
        self._passes: list[tuple[slice, Tensor, Chain]] = []
        idle = held.chain(outputs, slice(0, 1), whole=False).at_rest()
        idle = idle.reshape(-1, len(outputs), 1)[0]
        for rows in held.passes.slices:
            live = held.of(outputs, rows).any(-1).view(-1, len(outputs)).any(0)
            chain = held.chain(outputs[live], rows, whole=False)
            self._constant[live] += chain.constant
            self._constant[~live] += idle[~live]
            self._passes.append((rows, _places(live), chain))

    def put_(self, found: Tensor, operand: Tensor) -> None:
        *before, _, m = operand.shape
        moves = self._constant.expand(*before, -1, m).clone()
        for rows, live, chain in self._passes:
            if len(live) == len(self._outputs):
                moves.sub_(chain(operand[..., rows, :]))
            elif len(live):
                moves.index_add_(-2, live, chain(operand[..., rows, :]), alpha=-1)
        found.index_add_(-2, self._outputs, moves)


class _Summed:
    """Outputs whose sums are added up tile by tile, since they may leave an accumulator."""

    def __init__(self, held: Held, outputs: Int64[Tensor, " n"]) -> None:
        self._outputs = outputs = held.in_order(outputs)
        self._accumulators = held.stuck.array.accumulators
        self._passes = [
            (rows, held.chain(outputs, rows, whole=True)) for rows in held.passes.slices
        ]

    def put_(self, found: Tensor, operand: Tensor) -> None:
        held, (*before, _, m) = self._accumulators, operand.shape
        total = found.new_zeros(*before, len(self._outputs), m)
        for rows, chain in self._passes:
            if held.tiles == "reentry":
                total = chain(operand[..., rows, :], total)
            else:
                total.add_(_wrapped(chain(operand[..., rows, :]), held.bits))
        bits = held.bits if held.tiles == "reentry" else held.outside_bits
        found[..., self._outputs, :] = _wrapped(total, bits)


def _places(chosen: Bool[Tensor, " outputs"]) -> Int64[Tensor, " n"]:
    return chosen.nonzero()[:, 0]


def _fits(least: Tensor, most: Tensor, bits: int) -> Bool[Tensor, "..."]:
    return (least >= -(2 ** (bits - 1))) & (most < 2 ** (bits - 1))


def _wrapped(sums: Int32[Tensor, "... m"], bits: int) -> Int32[Tensor, "... m"]:
    """Numbers of so many bits, given their lower ones; in place."""
    return sums.bitwise_left_shift_(32 - bits).bitwise_right_shift_(32 - bits)
