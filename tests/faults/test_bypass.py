from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chipmend.errors import FaultMapError
from chipmend.faults import (
    Clustered,
    FaultMap,
    Lines,
    Uniform,
    bypass_mixed,
    bypass_rows_or_cols,
    make_chips,
)
from chipmend.hardware import Array, GemmSize, PeShare, Throughput, WeightShape

SIZES = (GemmSize(7, WeightShape(5, 2, 3)), GemmSize(30, WeightShape(3, 9)))


@st.composite
def fault_maps(draw):
    rows, cols = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    pes = draw(arrays(bool, (rows, cols)))
    row, col = st.integers(0, rows - 1), st.integers(0, cols - 1)
    dead_rows = tuple(draw(st.lists(st.tuples(row, col), max_size=2)))
    dead_cols = tuple(draw(st.lists(col, max_size=2)))
    return FaultMap(rows=rows, cols=cols, faulty_pes=pes, dead_rows=dead_rows, dead_cols=dead_cols)


def worths(faults):
    array = Array(rows=faults.rows, cols=faults.cols)
    return PeShare(array), Throughput(array, SIZES)


def is_sound_without(faults, rows, cols):
    """Whether nothing broken is left, dead lines being deleted as such."""
    left = [
        (r, c)
        for r in range(faults.rows)
        for c in range(faults.cols)
        if r not in rows and c not in cols
    ]
    return (
        not any(faults.unusable[place] for place in left)
        and all(row in rows for row, _ in faults.dead_rows)
        and all(col in cols for col in faults.dead_cols)
    )


def every_bypass(faults):
    """Deleted rows and columns of every sound rest, by trying all subsets of both."""
    for rows in product([False, True], repeat=faults.rows):
        for cols in product([False, True], repeat=faults.cols):
            chosen = tuple(np.flatnonzero(rows)), tuple(np.flatnonzero(cols))
            if is_sound_without(faults, *chosen):
                yield chosen


@settings(deadline=None, max_examples=100)
@given(fault_maps())
def test_what_is_left_is_sound_and_worth_what_it_says(faults):
    for worth in worths(faults):
        for bypass in (bypass_rows_or_cols, bypass_mixed):
            found = bypass(faults, worth)
            assert is_sound_without(faults, found.rows, found.cols)
            assert found.left == (faults.rows - len(found.rows), faults.cols - len(found.cols))
            assert found.share == worth.left(*found.left)


@settings(deadline=None, max_examples=100)
@given(fault_maps())
def test_rows_or_columns_is_the_better_of_two_loops(faults):
    rows = {row for row, _ in faults.dead_rows}
    cols = set(faults.dead_cols)
    more_rows, more_cols = set(), set()
    for r in range(faults.rows):
        for c in range(faults.cols):
            if faults.faulty_pes[r, c] and r not in rows and c not in cols:
                more_rows.add(r)
                more_cols.add(c)
    for worth in worths(faults):
        expected = max(
            worth.left(faults.rows - len(rows | more_rows), faults.cols - len(cols)),
            worth.left(faults.rows - len(rows), faults.cols - len(cols | more_cols)),
        )
        assert bypass_rows_or_cols(faults, worth).share == expected


@settings(deadline=None, max_examples=60)
@given(fault_maps())
def test_a_mixed_bypass_is_between_rows_or_columns_and_the_best_there_is(faults):
    for worth in worths(faults):
        best = max(
            worth.left(faults.rows - len(rows), faults.cols - len(cols))
            for rows, cols in every_bypass(faults)
        )
        mixed = bypass_mixed(faults, worth).share
        assert bypass_rows_or_cols(faults, worth).share <= mixed <= best


def test_a_mixed_bypass_of_small_arrays_is_nearly_always_the_best_there_is():
    worth = PeShare(Array(rows=5, cols=5))
    found, best = [], []
    for chip in make_chips(worth.array, rate=0.25, count=30):
        found.append(bypass_mixed(chip.faults, worth).share)
        best.append(max(worth.left(5 - len(r), 5 - len(c)) for r, c in every_bypass(chip.faults)))
    assert np.mean(np.array(found) == np.array(best)) >= 0.8
    assert np.mean(found) > 0.97 * np.mean(best)


def test_cycles_decide_and_not_the_number_of_lines():
    # three faults in one row: one row, or three columns, of which the network needs none
    pes = np.zeros((8, 8), bool)
    pes[2, :3] = True
    faults = FaultMap(rows=8, cols=8, faulty_pes=pes)
    array = Array(rows=8, cols=8)
    narrow = Throughput(array, (GemmSize(50, WeightShape(outputs=5, inputs=8)),))
    for bypass in (bypass_rows_or_cols, bypass_mixed):
        found = bypass(faults, narrow)
        assert found.cols == (0, 1, 2)
        assert found.share == 1.0
        assert bypass(faults, PeShare(array)).rows == (2,)


def test_a_dead_row_is_deleted_even_where_its_broken_part_is_on_a_dead_column():
    faults = FaultMap(
        rows=3, cols=3, faulty_pes=np.zeros((3, 3), bool), dead_rows=((1, 2),), dead_cols=(2,)
    )
    for bypass in (bypass_rows_or_cols, bypass_mixed):
        found = bypass(faults, PeShare(Array(rows=3, cols=3)))
        assert (found.rows, found.cols) == ((1,), (2,))


def test_a_sound_array_is_left_as_it_is():
    faults = FaultMap(rows=4, cols=3, faulty_pes=np.zeros((4, 3), bool))
    for worth in worths(faults):
        for bypass in (bypass_rows_or_cols, bypass_mixed):
            found = bypass(faults, worth)
            assert (found.rows, found.cols, found.left, found.share) == ((), (), (4, 3), 1.0)


@pytest.mark.parametrize("fatal", ["", "clock tree"])
def test_nothing_is_left_of_a_die_that_is_dead_or_all_faulty(fatal):
    faults = FaultMap(rows=2, cols=3, faulty_pes=np.full((2, 3), not fatal), fatal=fatal)
    for worth in worths(faults):
        for bypass in (bypass_rows_or_cols, bypass_mixed):
            found = bypass(faults, worth)
            assert 0 in found.left
            assert found.share == 0.0


@pytest.mark.parametrize("spatial", [Uniform(), Clustered(), Lines()])
@pytest.mark.parametrize("bypass", [bypass_rows_or_cols, bypass_mixed])
def test_more_faults_leave_less(spatial, bypass):
    worth = PeShare(Array(rows=24, cols=24))
    left = [
        np.mean([bypass(chip.faults, worth).share for chip in chips])
        for chips in (
            make_chips(worth.array, rate=rate, count=20, spatial=spatial)
            for rate in (0.0, 0.001, 0.02, 0.2)
        )
    ]
    assert left[0] == 1.0
    assert sorted(left, reverse=True) == left


@pytest.mark.parametrize("bypass", [bypass_rows_or_cols, bypass_mixed])
def test_a_map_of_another_size_than_the_array_is_refused(bypass):
    faults = FaultMap(rows=2, cols=3, faulty_pes=np.zeros((2, 3), bool))
    with pytest.raises(FaultMapError, match="2 x 3 does not describe an array of 3 x 2"):
        bypass(faults, PeShare(Array(rows=3, cols=2)))
