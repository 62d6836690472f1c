"""How a layer goes through the array: pass by pass, some rows of its left operand at a time.

A pass holds one weight in every PE: a tile of the matrix product, or, where a whole kernel shares a
PE, one tap of a tile. The operand's rows are arranged so that those of a pass are one piece.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int8, Int64
from torch import Tensor

from chipmend.hardware.array import Array
from chipmend.hardware.placement import WeightShape


@dataclass(frozen=True)
class Passes:
    """The passes of one layer, in the order in which the array goes through them.

    Args:
        shape: The layer's sizes.
        array: The array and its placement.

    Example:
        Three channels of two taps on two rows of PEs, a PE for every tap, or for every channel:

        >>> shape = WeightShape(outputs=1, inputs=3, kernel=2)
        >>> Passes(shape, Array(rows=2, cols=1)).slices
        [slice(0, 2, None), slice(2, 4, None), slice(4, 6, None)]
        >>> Passes(shape, Array(rows=2, cols=1, placement="channel")).slices
        [slice(0, 2, None), slice(3, 5, None), slice(2, 3, None), slice(5, 6, None)]
    """

    shape: WeightShape
    array: Array

    @cached_property
    def slices(self) -> list[slice]:
        """Rows of the arranged operand in each pass; those of the last tile may be fewer."""
        rows = self.array.rows
        ends = [(t, min(t + rows, self._down)) for t in range(0, self._down, rows)]
        turns = range(self._turns)
        return [slice(r * self._down + a, r * self._down + b) for a, b in ends for r in turns]

    @cached_property
    def pass_of(self) -> Int64[np.ndarray, " k"]:
        """The pass that each row of the arranged operand belongs to."""
        found = np.empty(self._turns * self._down, dtype=np.int64)
        for number, rows in enumerate(self.slices):
            found[rows] = number
        return found

    @cached_property
    def row_of(self) -> Int64[np.ndarray, " k"]:
        """The row of PEs that each row of the arranged operand enters by."""
        return np.tile(np.arange(self._down) % self.array.rows, self._turns)

    def columns(self, columns: Int8[Tensor, "channels taps m"]) -> Int8[Tensor, "k m"]:
        """Arrange a left operand."""
        if self._by_channel:
            columns = columns.transpose(0, 1).contiguous()
        return columns.flatten(0, 1)

    def weights(self, dense: Float[Tensor, "n channels taps"]) -> Float[Tensor, "n k"]:
        """Arrange a weight in the same way."""
        return (dense.transpose(1, 2) if self._by_channel else dense).flatten(1)

    @property
    def _by_channel(self) -> bool:
        return self.array.placement == "channel" and self.shape.kernel > 1

    @property
    def _down(self) -> int:
        """Rows that tiles are cut from, and turns for each tile."""
        channels = self.shape.inputs * self.shape.groups
        return channels if self._by_channel else channels * self.shape.kernel

    @property
    def _turns(self) -> int:
        return self.shape.kernel if self._by_channel else 1
