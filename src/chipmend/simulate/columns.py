"""What is stuck on the way down each column of an array, and what it does to a number that passes.

All numbers are in two's complement. Where bits ``F`` of a number ``s`` are stuck, and of these the
bits ``O`` at 1, it becomes ``s + O - (s & F)``: a move that depends on its stuck bits alone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64
from torch import Tensor, from_numpy

from chipmend.faults.macs import StuckMacs
from chipmend.faults.maps import FaultMap
from chipmend.hardware.array import Array
from chipmend.hardware.mac import Site


@dataclass(frozen=True, slots=True)
class Event:
    """Stuck bits at one site of one PE.

    Args:
        row: The PE's row.
        faulty: Bits that are stuck, the sign extended.
        ones: Those of them that are stuck at 1, the sign extended.
        bits: Bits of a number at that site.
    """

    row: int
    faulty: int
    ones: int
    bits: int

    def moved(self, number: int) -> int:
        """What a number becomes.

        Example:
            >>> Event(row=0, faulty=0b110, ones=0b010, bits=4).moved(0b101)
            3
        """
        return number + self.ones - (number & self.faulty)

    @property
    def spoils_sign(self) -> bool:
        """Whether the sign is stuck."""
        return self.faulty < 0

    @property
    def least_move(self) -> int:
        """How far down it moves a number at most: 0 or less."""
        return self.ones - self.faulty - (2 ** (self.bits - 1) if self.spoils_sign else 0)

    @property
    def most_move(self) -> int:
        """How far up."""
        return self.ones + (2 ** (self.bits - 1) if self.spoils_sign else 0)


@dataclass(frozen=True, eq=False)
class StuckColumns:
    """The stuck bits of an array's columns.

    Args:
        array: The array.
        bypassed: PEs that are bypassed, and with them all that is stuck in them.
        live: What nothing bypasses; none if there is nothing.
    """

    array: Array
    bypassed: Bool[np.ndarray, "rows cols"]
    live: StuckMacs | None

    @classmethod
    def of(cls, faults: FaultMap, array: Array) -> "StuckColumns":
        """The stuck bits of one chip."""
        return cls(array, faults.unusable, faults.live)

    @cached_property
    def products(self) -> dict[int, list[Event]]:
        """Multipliers with stuck outputs, of each column that has any, down the column."""
        return self._events("product")

    @cached_property
    def accumulators(self) -> dict[int, list[Event]]:
        """Accumulators with stuck outputs, of each column that has any, down the column."""
        return self._events("accumulator")

    def registers(
        self, weights: Float[Tensor, "... n k"], row_of: Int64[np.ndarray, " k"]
    ) -> Float[Tensor, "... n k"]:
        """What the weight registers hold once weights are loaded; nothing where PEs are bypassed.

        Args:
            weights: Whole numbers.
            row_of: The row of PEs of each column of the matrix.
        """
        at = np.ix_(np.arange(weights.shape[-2]) % self.array.cols, row_of)
        held = weights.masked_fill(from_numpy(self.bypassed.T[at]).to(weights.device), 0)
        if not self._patterns("weight")[0].any():
            return held
        faulty, ones = (from_numpy(p.T[at]).to(weights.device) for p in self._patterns("weight"))
        return ((held.long() & ~faulty) | ones).to(weights.dtype)

    def _events(self, site: Site) -> dict[int, list[Event]]:
        faulty, ones = self._patterns(site)
        found: dict[int, list[Event]] = {}
        for col, row in np.argwhere(faulty.T).tolist():
            patterns = int(faulty[row, col]), int(ones[row, col])
            found.setdefault(col, []).append(Event(row, *patterns, self.array.bits_at(site)))
        return found

    def _patterns(
        self, site: Site
    ) -> tuple[Int64[np.ndarray, "rows cols"], Int64[np.ndarray, "rows cols"]]:
        """Stuck bits, and those stuck at 1, with the sign extended."""
        size = self.bypassed.shape
        if self.live is None:
            return np.zeros(size, np.int64), np.zeros(size, np.int64)
        ones, zeros = self.live.patterns(site, *size)
        sign = 1 << (self.array.bits_at(site) - 1)
        faulty, ones = (((p ^ sign) - sign) for p in (ones | zeros, ones))
        return faulty, ones
