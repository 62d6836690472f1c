"""Rows and columns that together hold every faulty PE of an array.

An array without them is sound. Faulty PEs are the edges of a graph between rows and columns, so the
fewest such lines are a minimum vertex cover, which a maximum matching gives [Koenig1931]. Few lines
are not all: 255 rows and 20 columns leave an array, 256 rows do not. What is left is a block of
rows and columns without a fault; to find the largest one is NP-hard [Peeters2003], so blocks are
also grown line by line.

References:
    [Koenig1931] Koenig, "Graphen und Matrizen", Matematikai es Fizikai Lapok 38, 1931.
    [Peeters2003] Peeters, "The maximum edge biclique problem is NP-complete", Discrete Applied
        Mathematics 131(3), 2003.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class Cover(NamedTuple):
    """Lines that together hold every faulty PE.

    Args:
        rows: True for each row among them.
        cols: True for each column among them.
    """

    rows: Bool[np.ndarray, " rows"]
    cols: Bool[np.ndarray, " cols"]

    @property
    def lines(self) -> int:
        """How many lines."""
        return int(np.count_nonzero(self.rows) + np.count_nonzero(self.cols))

    @property
    def left(self) -> tuple[int, int]:
        """How many rows and columns are not among them."""
        return int(np.count_nonzero(~self.rows)), int(np.count_nonzero(~self.cols))


def straight_covers(faulty: Bool[np.ndarray, "rows cols"]) -> Iterator[Cover]:
    """Give all rows that hold a fault, then all columns that do.

    Args:
        faulty: ``rows x cols``, true where a PE is faulty.
    """
    rows, cols = np.logical_or.reduce(faulty, axis=1), np.logical_or.reduce(faulty, axis=0)
    yield Cover(rows, np.zeros_like(cols))
    yield Cover(np.zeros_like(rows), cols)


def fewest_lines(faulty: Bool[np.ndarray, "rows cols"]) -> Iterator[Cover]:
    """Give the covers with the fewest lines that have the fewest columns, then the fewest rows.

    Args:
        faulty: ``rows x cols``, true where a PE is faulty.

    Example:
        >>> cross = np.array([[1, 1, 1], [0, 1, 0], [0, 1, 0]], dtype=bool)
        >>> next(fewest_lines(cross)).lines
        2
    """
    yield _with_fewest_columns(faulty)
    cols, rows = _with_fewest_columns(faulty.T)
    yield Cover(rows, cols)


def grown_covers(faulty: Bool[np.ndarray, "rows cols"]) -> Iterator[Cover]:
    """Grow a sound block by one row at a time, then another one by one column at a time.

    The line that is kept next is always the one that costs the fewest lines across it. Every block
    on the way is given as the lines outside it, until it has all rows, or no column any more.

    Args:
        faulty: ``rows x cols``, true where a PE is faulty.

    Example:
        >>> faulty = np.array([[0, 1, 0], [0, 0, 1]], dtype=bool)
        >>> [cover.left for cover in grown_covers(faulty)]
        [(1, 2), (2, 1), (2, 1), (1, 2)]
    """
    yield from _grown_by_rows(faulty)
    for cols, rows in _grown_by_rows(np.ascontiguousarray(faulty.T)):
        yield Cover(rows, cols)


def _with_fewest_columns(faulty: Bool[np.ndarray, "rows cols"]) -> Cover:
    """Koenig's construction from the rows that a maximum matching leaves over."""
    from scipy.sparse import csr_matrix  # slow to import, and not needed to read a lot
    from scipy.sparse.csgraph import maximum_bipartite_matching

    partner = maximum_bipartite_matching(csr_matrix(faulty), perm_type="row")  # row of each column
    matched = np.zeros(len(faulty), dtype=bool)
    matched[partner[partner >= 0]] = True
    wave = faulty.any(axis=1) & ~matched
    rows, cols = wave.copy(), np.zeros(faulty.shape[1], dtype=bool)
    while wave.any():  # alternate: to any column that shares a fault, back to its partner
        new = faulty[wave].any(axis=0) & ~cols
        cols |= new
        wave = np.zeros_like(rows)
        wave[partner[new]] = True
        wave &= ~rows
        rows |= wave
    return Cover(faulty.any(axis=1) & ~rows, cols)


def _grown_by_rows(faulty: Bool[np.ndarray, "rows cols"]) -> Iterator[Cover]:
    across = np.ascontiguousarray(faulty.T)
    outside, deleted = np.ones(len(faulty), dtype=bool), np.zeros(faulty.shape[1], dtype=bool)
    costs = np.count_nonzero(faulty, axis=1)
    for _ in range(len(faulty)):
        row = int(costs.argmin())
        outside[row] = False
        lost = faulty[row] & ~deleted
        deleted |= lost
        if deleted.all():
            return
        costs -= np.count_nonzero(across[lost], axis=0)
        costs[row] = 2 * faulty.size  # never again, whatever is taken off
        yield Cover(outside.copy(), deleted.copy())
