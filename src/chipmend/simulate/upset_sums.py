"""Sums on whose way down the array bits flip.

A *sum* is what one output has for one column of the left operand; a *piece* of it is what one pass
adds, from the top of a column of PEs to its end. Sums that no flip meets are those of a sound
array; the others are walked, row by row. Where sums wrap around and start at 0 in every tile,
pieces are walked by themselves, for what a piece is off at its end the sum is off too; else whole
sums are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from chipmend.hardware.array import Array
from chipmend.hardware.mac import Overflow, Site
from chipmend.simulate.flips import BitErrors, Guard, blocks, drawn, worths
from chipmend.simulate.operands import FlippedWeights, Operands

LONG = 64
WALKED = 2**24
"""Products that are walked together, about."""
Neurons = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class _Flips:
    """Bits that flip on the way of pieces of sums.

    Args:
        pieces: The piece of each.
        rows: The row of PEs.
        bits: The bit.
        width: How many bits numbers have there.
    """

    pieces: Int64[np.ndarray, " flips"]
    rows: Int64[np.ndarray, " flips"]
    bits: Int64[np.ndarray, " flips"]
    width: int

    def masks(
        self, walked: Int64[np.ndarray, " walked"], rows: int
    ) -> Int64[Tensor, "rows walked"]:
        """What numbers in two's complement are exclusively or-ed with, the sign extended.

        Args:
            walked: Pieces, in order.
            rows: Rows of the array.
        """
        at = np.searchsorted(walked, self.pieces)
        here = walked[np.minimum(at, len(walked) - 1)] == self.pieces
        worth = worths(self.bits, self.width)
        found = np.zeros((rows, len(walked)), dtype=np.int64)
        np.add.at(found, (self.rows[here], at[here]), worth[here])  # no bit is there twice
        return torch.from_numpy(found)


@dataclass(frozen=True, eq=False)
class UpsetSums:
    """The sums of one product, and how they are upset.

    Args:
        found: The sums of a sound array.
        operands: The operands of the product.
        array: The array as designed.
        errors: How often bits flip.
        guard: What protection lets through.
        neurons: The neurons of sums, as outputs and places, by their rows and columns.
    """

    found: Int32[Tensor, "n m"]
    operands: Operands
    array: Array
    errors: BitErrors
    guard: Guard | None
    neurons: Neurons

    def upset_(self, rng: np.random.Generator, flipped: FlippedWeights | None = None) -> None:
        """Put in place what the sums come to.

        Args:
            rng: What chance is taken from.
            flipped: Weights that flipped as they were read.
        """
        errors, array, passes = self.errors, self.array, len(self.operands.passes.slices)
        site: Site = "product" if errors.product else "accumulator"
        rate, width = errors.accumulator + errors.product, array.bits_at(site)
        spoilt = self._pieces_of(flipped)
        for block in blocks(self.found.numel(), passes * array.rows * width, rate):
            flips = self._through(self._drawn(rng, block, rate, width), rng)
            first, last = np.searchsorted(spoilt, [block.start * passes, block.stop * passes])
            pieces = np.unique(np.concatenate([flips.pieces, spoilt[first:last]]))
            if len(pieces):
                self._walk_(pieces, flips, site)

    def _drawn(self, rng: np.random.Generator, block: range, rate: float, width: int) -> _Flips:
        rows, passes = self.array.rows, len(self.operands.passes.slices)
        of_piece = rows * width
        of_sum = of_piece * passes
        at = drawn(rng, range(block.start * of_sum, block.stop * of_sum), rate)
        return _Flips(at // of_piece, at // width % rows, at % width, width)

    def _through(self, flips: _Flips, rng: np.random.Generator) -> _Flips:
        """Those that protection lets through; chance is taken whether there is any or not."""
        luck = rng.random(len(flips.bits))
        if self.guard is None:
            return flips
        kept = self.guard.lets_through(*self._neurons_of(flips.pieces), flips.bits, luck)
        return _Flips(flips.pieces[kept], flips.rows[kept], flips.bits[kept], flips.width)

    def _pieces_of(self, flipped: FlippedWeights | None) -> Int64[np.ndarray, " pieces"]:
        """Pieces that flipped weights have a part in."""
        if flipped is None:
            return np.empty(0, dtype=np.int64)
        sums = flipped.outputs[:, None] * self.found.shape[1] + flipped.columns()
        pass_of = torch.from_numpy(self.operands.passes.pass_of).to(sums.device)
        pieces = sums * len(self.operands.passes.slices) + pass_of[flipped.rows][:, None]
        return pieces.unique().cpu().numpy()

    def _walk_(self, pieces: Int64[np.ndarray, " walked"], flips: _Flips, site: Site) -> None:
        held, walk = self.array.accumulators, self._walk_pieces_
        if held.overflow != "wrap" or held.tiles != "outside":
            pieces, walk = np.unique(pieces // len(self.operands.passes.slices)), self._walk_sums_
        for some in np.array_split(pieces, -(-len(pieces) * self.array.rows // WALKED)):
            walk(some, flips, site)

    def _walk_pieces_(self, pieces: np.ndarray, flips: _Flips, site: Site) -> None:
        """Walk pieces by themselves: what they are off is what the sums are."""
        outputs, columns, passes = self._index(pieces)
        before = self.operands.clean.products(outputs, columns, passes).sum(0)
        products = self.operands.products(outputs, columns, passes)
        found = self._down(products, torch.zeros_like(before), flips, pieces, site)
        found = self._extended(found, pieces)
        self.found.index_put_((outputs, columns), (found - before).int(), accumulate=True)
        bits = self.array.accumulators.outside_bits
        moved = self.found[outputs, columns].long()
        self.found[outputs, columns] = _kept(moved, bits, "wrap").int()

    def _walk_sums_(self, sums: np.ndarray, flips: _Flips, site: Site) -> None:
        """Walk whole sums, pass by pass."""
        held, passes = self.array.accumulators, len(self.operands.passes.slices)
        total = self.found.new_zeros(len(sums), dtype=torch.int64)
        outputs = columns = total
        for number in range(passes):
            pieces = sums * passes + number
            outputs, columns, which = self._index(pieces)
            products = self.operands.products(outputs, columns, which)
            again = held.tiles == "reentry"
            start = total if again else torch.zeros_like(total)
            found = self._down(products, start, flips, pieces, site)
            found = self._extended(found, pieces)
            total = found if again else _kept(total + found, held.outside_bits, held.overflow)
        self.found[outputs, columns] = total.int()

    def _index(self, pieces: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Output, column and pass of pieces."""
        sums, passes = np.divmod(pieces, len(self.operands.passes.slices))
        outputs, columns = np.divmod(sums, self.found.shape[1])
        found = torch.from_numpy(np.stack([outputs, columns, passes])).to(self.found.device)
        return found[0], found[1], found[2]

    def _down(
        self, products: Tensor, sums: Tensor, flips: _Flips, pieces: np.ndarray, site: Site
    ) -> Int64[Tensor, " walked"]:
        """What leaves at the bottom of a column of what comes in at its top."""
        held = self.array.accumulators
        masks = flips.masks(pieces, len(products)).to(products.device)
        low = self._below_votes(pieces)
        for product, mask in zip(products, masks, strict=True):
            sound = _kept(sums + product, held.bits, held.overflow)
            if site == "accumulator":
                sums = sound ^ mask
                continue
            hit = _kept(sums + (product ^ mask), held.bits, held.overflow)
            sums = hit if low is None else (sound & ~low) | (hit & low)
        return sums

    def _extended(self, sums: Tensor, pieces: np.ndarray) -> Int64[Tensor, " walked"]:
        """What the ends of columns make of sums: signs extended from a width."""
        widths = None if self.guard is None else self.guard.widths
        if widths is None:
            return sums
        if not isinstance(widths, int):
            outputs, _ = self._neurons_of(pieces)
            passes = pieces % len(self.operands.passes.slices)
            widths = torch.from_numpy(widths[outputs, passes]).to(sums.device)
        return _kept(sums, widths, "wrap")

    def _below_votes(self, pieces: np.ndarray) -> Int64[Tensor, " walked"] | None:
        """Ones in the bits of each sum that copies of the multiplier do not vote on."""
        if self.guard is None or self.guard.voted is None:
            return None
        classes = self.guard.classes(*self._neurons_of(pieces))
        ones = (1 << np.array(self.guard.voted)) - 1
        return torch.from_numpy(ones[classes]).to(self.found.device)

    def _neurons_of(self, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outputs and places of pieces."""
        sums = pieces // len(self.operands.passes.slices)
        return self.neurons(*np.divmod(sums, self.found.shape[1]))


def _kept(
    numbers: Int64[Tensor, "..."], bits: int | Tensor, overflow: Overflow
) -> Int64[Tensor, "..."]:
    """What so many bits hold of numbers."""
    if overflow == "saturate":
        return numbers.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return (numbers << (LONG - bits)) >> (LONG - bits)
