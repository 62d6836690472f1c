"""Spare PEs, each of which serves a region of the array.

A chip whose regions all have enough spares runs any network as if it were sound, at full speed. The
spares that the literature compares differ in the regions: one spare for a row, for a column, or for
a row and the column that crosses it [Takanami2017]. Here regions are blocks, from one row or one
column to the whole array. Spares are taken to be sound, which favours them.

References:
    [Takanami2017] Takanami, Fukushi, "A built-in circuit for self-repairing mesh-connected
        processor arrays with spares on diagonal", PRDC 2017.
    [Xu2021] Xu et al., "HyCA: a hybrid computing architecture for fault tolerant deep learning",
        arXiv 2106.04772 (spares that serve a region against spares that serve any PE).
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chipmend.confidence.coverage import share_interval
from chipmend.errors import ArrayError, LotError
from chipmend.faults.maps import Chip, FaultMap


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionalSpares:
    """Spares for each block of ``rows x cols`` PEs; blocks at the far edges may be smaller.

    Args:
        rows: PEs down in a region.
        cols: PEs across in a region.
        spares: Faulty PEs that a region can replace.

    Raises:
        ArrayError: Regions without a PE, or fewer than no spares.
    """

    rows: int = 8
    cols: int = 8
    spares: int = 1

    def __post_init__(self) -> None:
        for name, least in (("rows", 1), ("cols", 1), ("spares", 0)):
            object.__setattr__(self, name, _whole(name, getattr(self, name), least))

    def cover(self, faults: FaultMap) -> bool:
        """Whether they replace everything that is broken.

        They replace faulty PEs, but neither dead rows and columns nor what is fatal.

        Args:
            faults: What is broken.

        Raises:
            ArrayError: A region is larger than the array.

        Example:
            >>> faulty = np.array([[True, False, False, True]])
            >>> faults = FaultMap(rows=1, cols=4, faulty_pes=faulty)
            >>> RegionalSpares(rows=1, cols=2).cover(faults)
            True
            >>> RegionalSpares(rows=1, cols=4).cover(faults)
            False
        """
        if self.rows > faults.rows or self.cols > faults.cols:
            raise ArrayError(
                f"regions of {self.rows} x {self.cols} on an array of "
                f"{faults.rows} x {faults.cols}",
                hint="give regions that are no larger than the array",
            )
        if faults.fatal or faults.dead_rows or faults.dead_cols:
            return False
        tops, lefts = np.arange(0, faults.rows, self.rows), np.arange(0, faults.cols, self.cols)
        by_row = np.add.reduceat(faults.faulty_pes, tops, axis=0, dtype=np.int64)
        return int(np.add.reduceat(by_row, lefts, axis=1).max()) <= self.spares


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """How many chips spares cover.

    Args:
        covered: Chips of which spares replace everything that is broken.
        chips: All chips.
        low: Lower end of the exact interval of the share among all chips of the kind.
        high: Its upper end.
    """

    covered: int
    chips: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Covered chips among all, as a fraction."""
        return self.covered / self.chips


def spares_cover(
    chips: Iterable[Chip], spares: RegionalSpares, *, confidence: float = 0.95
) -> Covered:
    """Count the chips of which spares replace everything that is broken.

    Args:
        chips: The chips.
        spares: The spares of each, and the regions that they serve.
        confidence: Of the interval.

    Raises:
        ArrayError: A region is larger than the array.
        LotError: No chip, or a confidence that is none.

    Example:
        >>> from chipmend.faults import make_chips
        >>> from chipmend.hardware import Array
        >>> chips = make_chips(Array(rows=16, cols=16), rate=0.01, count=50)
        >>> found = spares_cover(chips, RegionalSpares(rows=8, cols=8))
        >>> found.low < found.share < found.high
        True
    """
    if not 0 < confidence < 1:
        raise LotError(f"a confidence of {confidence}", hint="give a fraction, as 0.95")
    found = [spares.cover(chip.faults) for chip in chips]
    if not found:
        raise LotError("the share among zero chips", hint="give at least one chip")
    low, high = share_interval(sum(found), len(found), confidence)
    return Covered(covered=sum(found), chips=len(found), low=low, high=high)


def _whole(name: str, count: object, least: int) -> int:
    try:
        number = operator.index(count)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise ArrayError(f"{name} of spares is {count!r}", hint="give a whole number") from None
    if number < least:
        raise ArrayError(
            f"{name} of spares is {number}",
            hint=f"give {least} or more; a region has at least 1 PE",
        )
    return number
