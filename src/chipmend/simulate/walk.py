"""Sums that may saturate, row by row down the columns: an order that cannot be changed."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int8, Int32, Int64
from torch import Tensor

from chipmend.hardware.array import Array
from chipmend.simulate.chain import Events


class Walk:
    """The sums of some outputs, with all faults, by walking down their columns.

    Args:
        columns: The column of the array of each output.
        weights: What the registers of their PEs hold, arranged. Where there are several such, each
            has an operand of its own.
        multipliers: Stuck bits of multipliers.
        accumulators: Stuck bits of accumulators.
        array: The array.
        slices: Rows of the operand in each pass.
        least: The least number that activations may be.
    """

    def __init__(
        self,
        columns: Sequence[int],
        weights: Float[Tensor, "... n k"],
        multipliers: Events,
        accumulators: Events,
        *,
        array: Array,
        slices: Sequence[slice],
        least: int,
    ) -> None:
        self._array, self._slices, self._zero = array, slices, 0 if least < 0 else -128
        self._weights = weights.long()
        self._of_products, self._of_sums = (
            _table(events, columns, array.rows, weights.device)
            for events in (multipliers, accumulators)
        )

    def __call__(self, operand: Int8[Tensor, "... k m"]) -> Int32[Tensor, "... n m"]:
        """The sums.

        Args:
            operand: The arranged left operand; of unsigned numbers, 128 less.
        """
        held = self._array.accumulators
        sizes = *self._weights.shape[:-1], operand.shape[-1]
        total = operand.new_zeros(sizes, dtype=torch.int64)
        for rows in self._slices:
            numbers = operand[..., rows, :].long() - self._zero
            if held.tiles == "reentry":
                total = self._down(numbers, self._weights[..., rows], total)
                continue
            found = self._down(numbers, self._weights[..., rows], torch.zeros_like(total))
            total = _kept(total + found, held.outside_bits)
        return total.to(torch.int32)

    def _down(self, numbers: Tensor, weights: Tensor, sums: Tensor) -> Tensor:
        """One pass: sums that come in at the top, to those that leave at the bottom."""
        bits = self._array.accumulators.bits
        for row in range(self._array.rows):
            if row < numbers.shape[-2]:
                products = weights[..., row, None] * numbers[..., row, None, :]
            else:
                products = torch.zeros_like(sums)
            sums = _kept(sums + _moved(products, self._of_products, row), bits)
            sums = _moved(sums, self._of_sums, row)
        return sums


Table = tuple[Int64[Tensor, "rows n 1"], Int64[Tensor, "rows n 1"]]
"""Stuck bits, and those stuck at 1, of every row and output, the sign extended."""


def _table(events: Events, columns: Sequence[int], rows: int, device: torch.device) -> Table:
    faulty, ones = torch.zeros(2, rows, len(columns), 1, dtype=torch.int64, device=device)
    for place, column in enumerate(columns):
        for event in events.get(column, ()):
            faulty[event.row, place], ones[event.row, place] = event.faulty, event.ones
    return faulty, ones


def _moved(numbers: Tensor, table: Table, row: int) -> Tensor:
    faulty, ones = table
    return numbers + ones[row] - (numbers & faulty[row])


def _kept(numbers: Tensor, bits: int) -> Tensor:
    return numbers.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
