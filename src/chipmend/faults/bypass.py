"""Bypass: delete rows and columns of an array so that no faulty PE is left.

The network stays as it is and keeps its accuracy; a smaller array takes more cycles. [Kim1989]
bypasses whole rows or whole columns. Deleting some of both leaves more, and is the stronger
baseline. Bypassed lines are taken to cost no cycle, which favours bypass.

References:
    [Kim1989] Kim, Reddy, "On the design of fault-tolerant two-dimensional systolic arrays for yield
        enhancement", IEEE Transactions on Computers 38(4), 1989.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool

from chipmend.errors import FaultMapError
from chipmend.faults.covers import Cover, fewest_lines, grown_covers, straight_covers
from chipmend.faults.maps import FaultMap
from chipmend.hardware.throughput import Worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypassed:
    """What is left of an array when lines are deleted.

    Args:
        rows: The deleted rows, ascending.
        cols: The deleted columns, ascending.
        left: How many rows and columns are left.
        share: What they are worth, as a fraction of the whole array: the throughput that is left,
            if that is what was asked for; 0 if nothing is left.
    """

    rows: tuple[int, ...]
    cols: tuple[int, ...]
    left: tuple[int, int]
    share: float


def bypass_rows_or_cols(faults: FaultMap, worth: Worth) -> Bypassed:
    """Delete the rows that hold a fault, or the columns that do: what leaves more [Kim1989].

    Dead rows and dead columns are deleted as such in any case, and cover what lies on them. Of an
    array with a fatal fault nothing is left.

    Args:
        faults: What is broken.
        worth: What counts as more: ``Throughput`` of a network, or ``PeShare``.

    Returns:
        The better of the two.

    Raises:
        FaultMapError: The map is of another size than the array.

    Example:
        >>> from chipmend.hardware import Array, PeShare
        >>> faulty = np.array([[True, False, True], [False] * 3, [False] * 3])
        >>> faults = FaultMap(rows=3, cols=3, faulty_pes=faulty, dead_cols=(2,))
        >>> bypass_rows_or_cols(faults, PeShare(Array(rows=3, cols=3)))
        Bypassed(rows=(0,), cols=(2,), left=(2, 2), share=0.4444444444444444)
    """
    return _best(faults, worth, straight_covers(_to_cover(faults, worth)))


def bypass_mixed(faults: FaultMap, worth: Worth) -> Bypassed:
    """Delete rows and columns together such that much is left.

    Tried are the choices of ``bypass_rows_or_cols``, the fewest lines, and lines outside of sound
    blocks of any proportions; see ``chipmend.faults.covers``. Dead rows and dead columns are
    deleted as such in any case. Of an array with a fatal fault nothing is left.

    Args:
        faults: What is broken.
        worth: What counts as more: ``Throughput`` of a network, or ``PeShare``.

    Returns:
        The best that was found, never worse than the better of all rows and all columns.

    Raises:
        FaultMapError: The map is of another size than the array.

    Example:
        >>> from chipmend.hardware import Array, PeShare
        >>> faulty = np.array([[True, True, True], [False, True, False], [False, True, False]])
        >>> faults = FaultMap(rows=3, cols=3, faulty_pes=faulty)
        >>> bypass_mixed(faults, PeShare(Array(rows=3, cols=3)))
        Bypassed(rows=(0,), cols=(1,), left=(2, 2), share=0.4444444444444444)
    """
    faulty = _to_cover(faults, worth)
    found = chain(straight_covers(faulty), fewest_lines(faulty), grown_covers(faulty))
    return _best(faults, worth, found)


def _to_cover(faults: FaultMap, worth: Worth) -> Bool[np.ndarray, "rows cols"]:
    """Faulty PEs that lie on no dead line."""
    array = worth.array
    if (faults.rows, faults.cols) != (array.rows, array.cols):
        raise FaultMapError(
            f"a fault map of {faults.rows} x {faults.cols} does not describe an array of "
            f"{array.rows} x {array.cols}",
            hint="give the array that the chips were tested with",
        )
    dead = _dead(faults)
    return faults.faulty_pes & ~dead.rows[:, None] & ~dead.cols


def _dead(faults: FaultMap) -> Cover:
    rows, cols = np.zeros(faults.rows, dtype=bool), np.zeros(faults.cols, dtype=bool)
    rows[[row for row, _ in faults.dead_rows]] = True
    cols[list(faults.dead_cols)] = True
    return Cover(rows, cols)


def _best(faults: FaultMap, worth: Worth, covers: Iterable[Cover]) -> Bypassed:
    dead = _dead(faults)
    if faults.fatal:
        everything = Cover(np.ones_like(dead.rows), np.ones_like(dead.cols))
        return _bypassed(everything, worth)
    full = (Cover(dead.rows | cover.rows, dead.cols | cover.cols) for cover in covers)
    return _bypassed(max(full, key=lambda cover: _rank(cover, worth)), worth)


def _rank(cover: Cover, worth: Worth) -> tuple[float, int]:
    """What is left by its worth; where that is equal, by its PEs."""
    rows, cols = cover.left
    return worth.left(rows, cols), rows * cols


def _bypassed(cover: Cover, worth: Worth) -> Bypassed:
    rows, cols = (tuple(np.flatnonzero(lines).tolist()) for lines in cover)
    return Bypassed(rows=rows, cols=cols, left=cover.left, share=worth.left(*cover.left))
