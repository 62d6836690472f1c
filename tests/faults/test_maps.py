import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmend.errors import FaultMapError, LotError
from chipmend.faults import (
    Chip,
    FaultMap,
    Lot,
    Provenance,
    StuckBits,
    StuckMacs,
    check_fits,
    fused,
)
from chipmend.faults.lot_file import read_lot, write_lot
from chipmend.hardware import Accumulators, Array, WeightMemory


def stuck_bits(word=0, bit=0, value=True):
    return StuckBits.of_bits(64, 8, [word], [bit], [value])


@st.composite
def fault_maps(draw, rows=None, cols=None):
    rows = rows or draw(st.integers(1, 6))
    cols = cols or draw(st.integers(1, 6))
    bits = draw(st.lists(st.booleans(), min_size=rows * cols, max_size=rows * cols))
    row, col = st.integers(0, rows - 1), st.integers(0, cols - 1)
    return FaultMap(
        rows=rows,
        cols=cols,
        faulty_pes=np.array(bits).reshape(rows, cols),
        dead_rows=tuple(draw(st.lists(st.tuples(row, col), max_size=3))),
        dead_cols=tuple(draw(st.lists(col, max_size=3))),
        stuck=draw(st.none() | st.builds(stuck_bits, st.integers(0, 63), value=st.booleans())),
        fatal=draw(st.sampled_from(["", "", "clock"])),
    )


def of_pes_alone(faults):
    return replace(faults, stuck=None)


def empty(rows=2, cols=3, **more):
    sound = {"faulty_pes": np.zeros((rows, cols), dtype=bool)}
    return FaultMap(rows=rows, cols=cols, **{**sound, **more})


def slow_usable(faults, row, col):
    """One PE by the definition: healthy, before the break of its row, in a live column."""
    return (
        not faults.faulty_pes[row, col]
        and all(col < from_col for r, from_col in faults.dead_rows if r == row)
        and col not in faults.dead_cols
    )


@given(fault_maps())
def test_a_pe_is_unusable_if_it_or_its_row_or_its_column_is_broken(faults):
    for row in range(faults.rows):
        for col in range(faults.cols):
            assert faults.unusable[row, col] == (not slow_usable(faults, row, col))


def test_a_dead_row_is_dead_from_the_break_on_and_a_dead_column_as_a_whole():
    faults = empty(2, 4, dead_rows=((1, 2),), dead_cols=(0,))
    assert faults.unusable.astype(int).tolist() == [[1, 0, 0, 0], [1, 0, 1, 1]]
    assert faults.rate == 4 / 8


def test_of_several_breaks_of_a_row_the_first_counts():
    assert empty(dead_rows=((1, 2), (0, 1), (1, 1))).dead_rows == ((0, 1), (1, 1))


def test_a_map_does_not_change_with_the_array_it_was_made_from():
    pes = np.zeros((2, 3), dtype=bool)
    faults = FaultMap(rows=2, cols=3, faulty_pes=pes)
    pes[0, 0] = True
    assert faults.rate == 0
    with pytest.raises(ValueError, match="read-only"):
        faults.faulty_pes[0, 0] = True
    faults.unusable[0, 0] = True
    assert faults.rate == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 3, "cols": 2},
        {"rows": 0, "cols": 0},
        {"faulty_pes": np.zeros((2, 3), dtype=int)},
        {"dead_rows": ((2, 0),)},
        {"dead_rows": ((-1, 0),)},
        {"dead_rows": ((0, 3),)},
        {"dead_cols": (3,)},
        {"dead_cols": (-1,)},
        {"version": 0},
        {"fatal": "two\nlines"},
    ],
)
def test_a_map_that_does_not_lie_on_its_array_is_refused(wrong):
    right = {"rows": 2, "cols": 3, "faulty_pes": np.zeros((2, 3), dtype=bool)}
    with pytest.raises(FaultMapError, match="hint"):
        FaultMap(**{**right, **wrong})


def test_an_error_names_every_line_outside_the_array():
    with pytest.raises(FaultMapError, match=r"rows \[7\] and columns \[9, 5\]"):
        empty(dead_rows=((7, 9),), dead_cols=(1, 5))


@given(fault_maps(), fault_maps())
def test_maps_are_equal_and_have_one_digest_if_their_faults_are_the_same(a, b):
    same = (
        (a.rows, a.cols, a.dead_rows, a.dead_cols, a.stuck, a.fatal)
        == (b.rows, b.cols, b.dead_rows, b.dead_cols, b.stuck, b.fatal)
    ) and a.faulty_pes.tolist() == b.faulty_pes.tolist()
    assert (a.digest() == b.digest()) == same
    assert (a == b) == same


def test_the_digest_tells_classes_apart_but_not_tests():
    by_column, by_pes = (
        empty(2, 2, dead_cols=(0,)),
        FaultMap(rows=2, cols=2, faulty_pes=np.array([[True, False], [True, False]])),
    )
    assert (by_column.unusable == by_pes.unusable).all()
    assert by_column.digest() != by_pes.digest()
    retested = empty(2, 2, dead_cols=(0,), version=2, provenance=Provenance("retest"))
    assert retested.digest() == by_column.digest()
    assert retested != by_column


def test_stuck_bits_are_a_part_of_the_digest():
    maps = [empty(), *(empty(stuck=stuck_bits(value=value)) for value in (False, True))]
    assert len({m.digest() for m in maps}) == 3


def test_a_memory_without_a_stuck_bit_is_one_that_was_found_healthy():
    assert empty(stuck=StuckBits.of_bits(64, 8, [], [], [])) == empty()


def test_a_map_is_not_equal_to_something_else_and_can_be_a_key():
    assert empty() != "a map"
    assert {empty(): 1}[empty()] == 1


@given(fault_maps())
def test_a_map_survives_pickling(faults):
    assert pickle.loads(pickle.dumps(faults)) == faults


@given(st.lists(fault_maps(rows=3, cols=4).map(of_pes_alone), min_size=1, max_size=4))
def test_a_fused_map_is_unusable_where_any_is(maps):
    union = fused(*maps)
    assert (union.unusable == sum(m.unusable for m in maps).astype(bool)).all()
    assert bool(union.fatal) == any(m.fatal for m in maps)


def test_maps_of_several_sizes_or_none_are_not_fused():
    with pytest.raises(FaultMapError, match="2 x 3, 3 x 2"):
        fused(empty(2, 3), empty(3, 2))
    with pytest.raises(FaultMapError, match="none"):
        fused()


def test_stuck_bits_are_not_fused():
    with pytest.raises(FaultMapError, match="stuck bits of the weight memory, or of datapaths"):
        fused(empty(), empty(stuck=stuck_bits()))


def stuck_macs():
    return StuckMacs.of([(0, 1, "product", 3, 1), (1, 2, "accumulator", 20, 0)])


def test_a_bypass_takes_stuck_bits_of_its_datapath_with_it():
    assert empty(macs=stuck_macs()).live == stuck_macs()
    pes = np.array([[False, True, False], [False, False, False]])
    assert empty(macs=stuck_macs(), faulty_pes=pes).live.listed() == [(1, 2, "accumulator", 20, 0)]
    assert empty(macs=stuck_macs(), faulty_pes=pes, dead_cols=(2,)).live is None
    assert empty().live is None


def test_only_bypassed_datapaths_are_fused():
    bypassed = empty(macs=stuck_macs(), dead_cols=(1, 2))
    assert fused(empty(), bypassed).macs is None
    assert fused(bypassed).macs == stuck_macs()
    with pytest.raises(FaultMapError, match="cannot be fused"):
        fused(empty(), empty(macs=stuck_macs()))


def test_stuck_bits_of_datapaths_have_a_part_in_what_a_map_is():
    assert empty(macs=stuck_macs()) != empty()
    assert empty(macs=StuckMacs.of([])) == empty()
    with pytest.raises(FaultMapError, match="macs is 7"):
        empty(macs=7)
    with pytest.raises(FaultMapError, match=r"PE \(2, 0\) lies outside the array of 2 x 3"):
        empty(macs=StuckMacs.of([(2, 0, "weight", 0, 1)]))


def test_a_site_that_the_array_does_not_have_is_named():
    chips = [Chip("odd", empty(macs=stuck_macs()))]
    array = Array(rows=2, cols=3, accumulators=Accumulators(bits=21))
    check_fits(chips, array)
    with pytest.raises(FaultMapError, match=r"chip odd: bit 20 of the accumulator of PE \(1, 2\)"):
        check_fits(chips, replace(array, accumulators=Accumulators(bits=20)))


def test_what_is_no_stuck_bits_is_refused():
    with pytest.raises(FaultMapError, match="stuck is 7"):
        empty(stuck=7)


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (WeightMemory(words=32), "a weight memory of 64 words of 8 bits, the plan's has 32 of 8"),
        (
            WeightMemory(bits=6),
            "a weight memory of 64 words of 8 bits, the plan's has any number of 6",
        ),
    ],
)
def test_a_chip_of_another_memory_is_named(memory, said):
    chips = [Chip("good", empty()), Chip("odd", empty(stuck=stuck_bits()))]
    check_fits(chips, Array(rows=2, cols=3, memory=WeightMemory(words=64)))
    check_fits(chips, Array(rows=2, cols=3))
    with pytest.raises(FaultMapError, match=f"chip odd is for {said}"):
        check_fits(chips, Array(rows=2, cols=3, memory=memory))


def test_a_chip_of_another_array_is_named():
    chips = [Chip("good", empty(2, 3)), Chip("odd", empty(3, 2))]
    check_fits(chips[:1], Array(rows=2, cols=3))
    with pytest.raises(FaultMapError, match="chip odd is for an array of 3 x 2"):
        check_fits(chips, Array(rows=2, cols=3))


@pytest.mark.parametrize("id_", ["", " a", "a ", "a\nb", "a\tb", "\ud800"])
def test_an_id_is_one_visible_line(id_):
    with pytest.raises(LotError):
        Chip(id_, empty())


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_time_on_the_tester_that_is_none_is_refused(seconds):
    with pytest.raises(FaultMapError, match="tester_seconds"):
        Provenance("probe", tester_seconds=seconds)


def test_a_provenance_is_one_line_each():
    with pytest.raises(FaultMapError, match="date"):
        Provenance("probe", date="1 May\n")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"faulty_pes": [[True, False, False], [False] * 3]}, "faulty_pes is a list"),
        ({"rows": 2.0}, "rows is 2.0"),
        ({"version": 1.5}, "version is 1.5"),
        ({"dead_cols": (1.7,)}, "a dead column is 1.7"),
        ({"dead_rows": (1,)}, "dead_rows is"),
        ({"dead_rows": ((1, 0.5),)}, "dead_rows is"),
        ({"fatal": 3}, "the reason for fatal is 3"),
    ],
)
def test_what_is_no_map_is_refused_in_words(wrong, said):
    whole = {"rows": 2, "cols": 3, "faulty_pes": np.zeros((2, 3), bool)}
    with pytest.raises(FaultMapError, match=said):
        FaultMap(**{**whole, **wrong})


@pytest.mark.parametrize(
    ("wrong", "said"), [({"id": 7}, "chip id is 7"), ({"x": 3.0}, "x is 3.0"), ({"y": "3"}, "y is")]
)
def test_what_is_no_chip_is_refused_in_words(wrong, said):
    with pytest.raises(LotError, match=said):
        Chip(**{"id": "a", "faults": empty(), **wrong})


def test_a_time_that_is_a_text_is_refused():
    with pytest.raises(FaultMapError, match="tester_seconds is 3"):
        Provenance("t", tester_seconds="3")


def test_numbers_of_numpy_s_can_be_written_to_a_lot(tmp_path):
    """As they come out of pandas."""
    one, pes = np.int64(1), np.eye(2, dtype=bool)
    faults = FaultMap(
        rows=np.int64(2), cols=np.int8(2), faulty_pes=pes, version=one, dead_cols=(one,)
    )
    lot = Lot.of([Chip("a", faults, x=one, y=np.uint8(2))])
    assert list(read_lot(write_lot(lot, tmp_path / "lot.npz"))) == list(lot)
