"""Sums on whose way down the array bits flip.

A *sum* is what one output has for one column of the left operand; a *piece* of it is what one pass
adds, from the top of a column of PEs to its end. Sums that no flip meets are those of a sound
array; the others are walked, row by row. Where sums wrap around and start at 0 in every tile,
pieces are walked by themselves, for what a piece is off at its end the sum is off too; else whole
sums are.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64
from torch import Tensor

from chipmend.hardware.array import Array
from chipmend.hardware.mac import Overflow, Site
from chipmend.simulate.flips import BitErrors, Guard, blocks, distinct, drawn, worths
from chipmend.simulate.operands import FlippedWeights, Operands, Products

LONG = 64
WALKED = 2**15
"""So many pieces or sums are walked together at most: what a processor's cache holds."""
Sums = Int64[Tensor, " walked"]
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

    def __getitem__(self, some: slice | Bool[np.ndarray, " flips"]) -> "_Flips":
        return _Flips(self.pieces[some], self.rows[some], self.bits[some], self.width)

    def masks(
        self, walked: Int64[np.ndarray, " walked"], rows: int
    ) -> list[tuple[Int64[Tensor, " hit"], Int64[Tensor, " hit"]]]:
        """For each row of PEs which walked numbers are hit, and what is exclusively or-ed to them.

        Args:
            walked: Pieces, in order.
            rows: Rows of the array.
        """
        at = np.searchsorted(walked, self.pieces)
        here = walked[np.minimum(at, len(walked) - 1)] == self.pieces
        keys, worth = (self.rows * len(walked) + at)[here], worths(self.bits, self.width)[here]
        order = np.argsort(keys, kind="stable")
        keys, worth = keys[order], worth[order]
        hit = distinct(keys)
        masks = np.add.reduceat(worth, np.searchsorted(keys, hit)) if len(hit) else worth
        ends = np.searchsorted(hit, np.arange(rows + 1) * len(walked))
        where, masks = torch.from_numpy(hit % len(walked)), torch.from_numpy(masks)
        return [(where[a:b], masks[a:b]) for a, b in itertools.pairwise(ends)]


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
            pieces = distinct(np.sort(np.concatenate([flips.pieces, spoilt[first:last]])))
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
        flips = flips[self.guard.lets_through(*self._neurons_of(flips.pieces), flips.bits, luck)]
        widths = self._widths(flips.pieces)
        if widths is None or self.array.accumulators.overflow != "wrap":
            return flips
        # ends of columns drop the others, and no bit below hangs on them
        return flips[flips.bits < widths]

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
            pieces, walk = distinct(pieces // len(self.operands.passes.slices)), self._walk_sums_
        for first in range(0, len(pieces), WALKED):
            walk(pieces[first : first + WALKED], flips, site)

    def _walk_pieces_(self, pieces: np.ndarray, flips: _Flips, site: Site) -> None:
        """Walk pieces by themselves: what they are off is what the sums are."""
        where, clean = self._index(pieces), self.operands.clean
        start = torch.zeros_like(where[0])
        found, sound = self._down(self.operands.down(*where), start, flips, pieces, site)
        if clean is not self.operands:
            sound = sum(clean.down(*where), start)
        outputs, columns, _ = where
        found = self._extended(found, pieces)
        self.found.index_put_((outputs, columns), (found - sound).int(), accumulate=True)
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
            products = self.operands.down(outputs, columns, which)
            again = held.tiles == "reentry"
            start = total if again else torch.zeros_like(total)
            found, _ = self._down(products, start, flips, pieces, site)
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
        self,
        products: Iterable[Products],
        start: Sums,
        flips: _Flips,
        pieces: np.ndarray,
        site: Site,
    ) -> tuple[Sums, Sums]:
        """What leaves at the bottom of a column of what comes in at its top.

        Args:
            products: What multipliers give, row by row.
            start: What comes in.
            flips: What flips.
            pieces: Which pieces these are.
            site: Where it flips.

        Returns:
            What leaves, and what would if nothing flipped and no sum were bounded.
        """
        held, low = self.array.accumulators, self._below_votes(pieces)
        first, last = np.searchsorted(flips.pieces, [pieces[0], pieces[-1] + 1])
        masks = flips[first:last].masks(pieces, self.array.rows)
        sums, sound = start.clone(), start.clone()
        for product, each in zip(products, masks, strict=True):
            where, mask = (part.to(sums.device) for part in each)
            sound += product
            before = sums[where]
            sums += product
            if held.overflow == "saturate":
                sums = _kept(sums, held.bits, held.overflow)
            right = sums[where]
            if site == "accumulator":
                sums[where] = right ^ mask
                continue
            hit = _kept(before + (product[where] ^ mask), held.bits, held.overflow)
            if low is not None:
                hit = (right & ~low[where]) | (hit & low[where])
            sums[where] = hit
        return _kept(sums, held.bits, held.overflow), sound

    def _extended(self, sums: Sums, pieces: np.ndarray) -> Sums:
        """What the ends of columns make of sums: signs extended from a width."""
        widths = self._widths(pieces)
        if widths is None:
            return sums
        return _kept(sums, torch.as_tensor(widths, device=sums.device), "wrap")

    def _widths(self, pieces: np.ndarray) -> Int64[np.ndarray, " pieces"] | int | None:
        """From how many bits the signs of pieces are extended; none if they are not."""
        widths = None if self.guard is None else self.guard.widths
        if widths is None or isinstance(widths, int):
            return widths
        outputs, _ = self._neurons_of(pieces)
        return widths[outputs, pieces % len(self.operands.passes.slices)]

    def _below_votes(self, pieces: np.ndarray) -> Sums | None:
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
