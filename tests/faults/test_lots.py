import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmend.errors import LotError
from chipmend.faults import Chip, FaultMap, Lot, Provenance, StuckBits, StuckMacs
from chipmend.hardware import SITES

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=5)
TESTS = st.builds(
    Provenance,
    source=WORDS,
    tester=WORDS,
    date=WORDS,
    tester_seconds=st.none() | st.floats(0, 1e9),
)


@st.composite
def stuck_bits(draw, words):
    place = st.tuples(st.integers(0, words - 1), st.integers(0, 5))
    stuck = draw(st.dictionaries(place, st.booleans(), max_size=30))
    word, bit = ([at[axis] for at in stuck] for axis in (0, 1))
    return StuckBits.of_bits(words, 6, word, bit, list(stuck.values()))


@st.composite
def stuck_macs(draw, row, col):
    place = st.tuples(row, col, st.sampled_from(SITES), st.integers(0, 31))
    bits = draw(st.dictionaries(place, st.integers(0, 1), max_size=9))
    return StuckMacs.of((*at, value) for at, value in bits.items())


@st.composite
def lots(draw):
    """Chips of every kind, on arrays whose size is no multiple of a byte."""
    words = draw(st.sampled_from([3, 12, 70]))
    rows, cols = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    row, col, place = st.integers(0, rows - 1), st.integers(0, cols - 1), st.integers(-99, 99)
    faults = st.builds(
        FaultMap,
        rows=st.just(rows),
        cols=st.just(cols),
        faulty_pes=st.lists(st.booleans(), min_size=rows * cols, max_size=rows * cols).map(
            lambda bits: np.array(bits).reshape(rows, cols)
        ),
        dead_rows=st.lists(st.tuples(row, col), max_size=2).map(tuple),
        dead_cols=st.lists(col, max_size=2).map(tuple),
        stuck=st.none() | stuck_bits(words),
        macs=st.none() | stuck_macs(row, col),
        fatal=WORDS,
        version=st.integers(1, 9),
        provenance=TESTS,
    )
    ids = draw(st.lists(WORDS.filter(bool), min_size=1, max_size=5, unique=True))
    return [
        Chip(
            id_,
            draw(faults),
            draw(WORDS),
            draw(WORDS),
            draw(st.none() | place),
            draw(st.none() | place),
        )
        for id_ in ids
    ]


def healthy(id_, rows=2, cols=2):
    pes = np.zeros((rows, cols), dtype=bool)
    return Chip(id_, FaultMap(rows=rows, cols=cols, faulty_pes=pes))


@given(lots())
def test_a_lot_gives_back_its_chips(chips):
    lot = Lot.of(iter(chips))
    assert list(lot) == chips
    assert [lot[at] for at in range(len(lot))] == chips
    assert [lot[at] for at in range(-len(lot), 0)] == chips
    assert lot.rates.tolist() == [chip.faults.rate for chip in chips]


@given(lots(), st.data())
def test_a_slice_of_a_lot_is_a_lot_of_the_slice(chips, data):
    cut = data.draw(st.slices(len(chips)))
    assert list(Lot.of(chips)[cut]) == chips[cut]


@given(lots(), st.data())
def test_a_slice_of_a_slice_keeps_maps_and_chips_together(chips, data):
    first = data.draw(st.slices(len(chips)))
    second = data.draw(st.slices(len(chips[first])))
    assert list(Lot.of(chips)[first][second]) == chips[first][second]


def test_memories_of_several_sizes_are_no_lot():
    pes = np.zeros((2, 2), dtype=bool)
    maps = [
        FaultMap(
            rows=2,
            cols=2,
            faulty_pes=pes,
            stuck=StuckBits.of_bits(words, 8, [1], [1], [True]),
        )
        for words in (16, 32)
    ]
    with pytest.raises(LotError, match="chip b has a weight memory of 32 words of 8 bits"):
        Lot.of([Chip("a", maps[0]), Chip("b", maps[1])])


def test_a_lot_ends():
    with pytest.raises(IndexError):
        Lot.of([healthy("a")])[1]


def test_a_lot_of_zero_chips_is_refused():
    with pytest.raises(LotError, match="zero chips"):
        Lot.of([])


def test_ids_given_twice_are_named():
    with pytest.raises(LotError, match="more than once: b, a"):
        Lot.of([healthy(id_) for id_ in "bacab"])


def test_of_many_ids_given_twice_the_first_are_named():
    with pytest.raises(LotError, match="a, b, c, d, e and 2 more"):
        Lot.of([healthy(id_) for id_ in "abcdefg" * 2])


def test_arrays_of_several_sizes_are_refused_by_name():
    with pytest.raises(LotError, match=r"chip b has an array of 3 x 2, chip a one of 2 x 2"):
        Lot.of([healthy("a"), healthy("b", rows=3)])


def test_a_lot_keeps_one_bit_per_pe():
    assert Lot.of([healthy("a", 16, 16), healthy("b", 16, 16)]).packed.nbytes == 2 * 16 * 16 / 8
