from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chipmend.faults.covers import fewest_lines, grown_covers, straight_covers

MAPS = arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 5)))


def every_cover(faulty):
    """All choices of rows with the columns that they make necessary, by trying all subsets."""
    for chosen in product([False, True], repeat=len(faulty)):
        rows = np.array(chosen)
        yield rows, faulty[~rows].any(axis=0)


@settings(deadline=None, max_examples=200)
@given(MAPS)
def test_no_cover_has_fewer_lines(faulty):
    fewest = min(int(rows.sum() + cols.sum()) for rows, cols in every_cover(faulty))
    assert [cover.lines for cover in fewest_lines(faulty)] == [fewest, fewest]


@settings(deadline=None, max_examples=200)
@given(MAPS)
def test_of_the_covers_with_the_fewest_lines_those_with_extreme_proportions_are_given(faulty):
    sizes = [(int(rows.sum()), int(cols.sum())) for rows, cols in every_cover(faulty)]
    best = [size for size in sizes if sum(size) == min(map(sum, sizes))]
    most_rows, most_cols = fewest_lines(faulty)
    assert (most_rows.rows.sum(), most_rows.cols.sum()) == max(best)
    assert (most_cols.rows.sum(), most_cols.cols.sum()) == min(best)


@settings(deadline=None, max_examples=200)
@given(MAPS)
def test_outside_of_a_cover_no_pe_is_faulty(faulty):
    for covers in (straight_covers, fewest_lines, grown_covers):
        for cover in covers(faulty):
            assert not faulty[np.ix_(~cover.rows, ~cover.cols)].any()
            assert cover.left == (int((~cover.rows).sum()), int((~cover.cols).sum()))
            assert cover.lines == sum(faulty.shape) - sum(cover.left)


def slow_blocks(faulty):
    """Blocks grown by rows, each step by counting anew what every row would cost."""
    kept, deleted = [], set()
    for _ in range(len(faulty)):
        lost = {
            row: [c for c in range(faulty.shape[1]) if faulty[row, c] and c not in deleted]
            for row in range(len(faulty))
            if row not in kept
        }
        row = min(lost, key=lambda row: (len(lost[row]), row))
        kept.append(row)
        deleted |= set(lost[row])
        if len(deleted) == faulty.shape[1]:
            return
        yield sorted(kept), sorted(deleted)


@settings(deadline=None, max_examples=200)
@given(MAPS)
def test_blocks_grow_by_the_line_that_costs_least(faulty):
    found = [
        (np.flatnonzero(~cover.rows).tolist(), np.flatnonzero(cover.cols).tolist())
        for cover in grown_covers(faulty)
    ]
    by_rows = list(slow_blocks(faulty))
    assert found[: len(by_rows)] == by_rows
    by_cols = [
        (sorted(set(range(len(faulty))) - set(rows)), sorted(set(range(faulty.shape[1])) - set(c)))
        for c, rows in slow_blocks(faulty.T)
    ]
    assert found[len(by_rows) :] == by_cols


def test_a_map_by_hand():
    # row 1 is broken, and column 0 at rows 0 and 2: one row and one column do
    faulty = np.array([[1, 0, 0], [1, 1, 1], [1, 0, 0]], dtype=bool)
    rows, cols = straight_covers(faulty)
    assert rows.left == (0, 3)
    assert cols.left == (3, 0)
    assert [cover.left for cover in fewest_lines(faulty)] == [(2, 2), (2, 2)]
    assert (2, 2) in [cover.left for cover in grown_covers(faulty)]


def test_where_the_fewest_lines_leave_nothing_blocks_leave_something():
    faulty = np.eye(6, dtype=bool)
    faulty[0] = faulty[:, 0] = True
    faulty[1:, 1:] |= np.eye(5, k=1, dtype=bool)
    assert all(0 in cover.left for cover in fewest_lines(faulty))
    assert max(rows * cols for rows, cols in (c.left for c in grown_covers(faulty))) > 5
