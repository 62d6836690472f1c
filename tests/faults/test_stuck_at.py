import itertools
import math

import numpy as np
import pytest

from chipmend.errors import LotError
from chipmend.faults import (
    BitLines,
    Scattered,
    StuckAt,
    StuckBits,
    Uniform,
    WordLines,
    fault_map,
    make_chips,
    stuck_bits,
)
from chipmend.hardware import Array, WeightMemory
from chipmend.seeds import chip_seed

EVERY = [Scattered(), BitLines(length=7), WordLines(), BitLines(density=1.0), WordLines(density=1)]
MEMORY = WeightMemory(words=300, bits=6, line=8)


def cells(stuck):
    """``words x bits``: 1 where stuck at 1, 0 where stuck at 0, -1 where healthy."""
    ones, zeros = (
        np.unpackbits(p[:, None], axis=1, bitorder="little")[:, : stuck.bits].astype(int)
        for p in stuck.patterns()
    )
    return np.where(ones == 1, 1, np.where(zeros == 1, 0, -1))


def drawn(rate, of, *, chips=400, memory=MEMORY, **more):
    """``chips x words x bits``."""
    kind = StuckAt(rate=rate, cells=of, **more)
    return np.array(
        [cells(stuck_bits(memory, kind, seed=1, chip=str(chip))) for chip in range(chips)]
    )


@pytest.mark.parametrize("of", EVERY)
@pytest.mark.parametrize("rate", [0.02, 0.4])
def test_the_expected_share_of_stuck_bits_is_the_rate_and_of_ones_its_share(of, rate):
    found = drawn(rate, of, at_1=0.3)
    for hit, expected in ((found >= 0, rate), (found == 1, 0.3 * rate)):
        shares = hit.mean(axis=(1, 2))
        assert abs(shares.mean() - expected) < 4.5 * shares.std(ddof=1) / math.sqrt(len(shares))


def test_scattered_bits_are_drawn_one_by_one():
    rate, at_1 = 0.2, 0.7
    source = np.random.PCG64(chip_seed(3, "a", "stuck bits scattered 0.2"))
    expected = []
    for _ in range(300 * 6):
        draw = int(source.random_raw())
        high, low = draw >> 32, draw & 0xFFFFFFFF
        expected.append(-1 if high >= round(rate * 2**32) else int(low < round(at_1 * 2**32)))
    found = stuck_bits(MEMORY, StuckAt(rate=rate, at_1=at_1), seed=3, chip="a")
    assert cells(found).ravel().tolist() == expected


@pytest.mark.parametrize("of", EVERY)
def test_bits_do_not_depend_on_those_of_other_chips(of):
    counts = (drawn(0.3, of, chips=300) >= 0).sum(axis=(1, 2))
    assert len(set(counts.tolist())) > 3
    assert abs(np.corrcoef(counts[1:], counts[:-1])[0, 1]) < 0.25


def test_bits_on_bit_lines_lie_on_few_of_them_and_are_stuck_alike():
    for chip in drawn(0.1, BitLines(density=0.5, length=7), chips=5):
        lines = np.full((38 * 8, 6), -1)
        lines[:300] = chip
        banks = np.split(lines.reshape(38, 8, 6), range(7, 38, 7))
        for bank in banks:
            for line in bank.reshape(len(bank), -1).T:
                assert len(set(line[line >= 0].tolist())) <= 1
        hit = np.array([(bank >= 0).any(axis=0).mean() for bank in banks])
        assert hit.mean() < 0.3  # a fifth of the lines is expected to be hit


def test_bits_on_word_lines_lie_on_few_of_them_and_are_stuck_alike():
    for chip in drawn(0.1, WordLines(density=0.5), chips=5):
        lines = [chip[first : first + 8] for first in range(0, 300, 8)]
        hit = [line[line >= 0] for line in lines]
        assert all(len(set(of_line.tolist())) <= 1 for of_line in hit)
        assert 0 < np.mean([len(of_line) > 0 for of_line in hit]) < 0.5


@pytest.mark.parametrize("of", EVERY)
@pytest.mark.parametrize(("rate", "at_1", "expected"), [(0, 0.5, -1), (1, 1, 1), (1, 0, 0)])
def test_none_and_all_bits(of, rate, at_1, expected):
    kind = type(of)(density=1) if rate and not isinstance(of, Scattered) else of
    found = stuck_bits(MEMORY, StuckAt(rate=rate, cells=kind, at_1=at_1), seed=0, chip="a")
    assert (cells(found) == expected).all()


@pytest.mark.parametrize("of", EVERY)
def test_nested_bits_at_a_lower_rate_are_stuck_at_a_higher_one_at_the_same_value(of):
    maps = [
        cells(stuck_bits(MEMORY, StuckAt(rate=rate, cells=of), seed=2, chip="a", nested=True))
        for rate in (0.0, 0.05, 0.2, 0.5)
    ]
    for low, high in itertools.pairwise(maps):
        assert (high[low >= 0] == low[low >= 0]).all()
        assert (high >= 0).sum() > (low >= 0).sum()


@pytest.mark.parametrize("of", EVERY)
def test_bits_at_different_rates_are_independent_otherwise(of):
    found = [drawn(rate, of, chips=60).ravel() >= 0 for rate in (0.3, 0.4)]
    assert abs((found[0] & found[1]).mean() - 0.12) < 0.02


def test_a_chip_has_both_kinds_of_fault_and_its_provenance_says_so():
    array = Array(rows=4, cols=4, memory=MEMORY)
    kind = StuckAt(rate=(0.01, 0.1), cells=WordLines())
    faults = fault_map(array, 0.25, Uniform(), seed=5, chip="a", stuck=kind)
    assert faults.faulty_pes.tolist() == (
        fault_map(array, 0.25, Uniform(), seed=5, chip="a").faulty_pes.tolist()
    )
    assert faults.stuck == stuck_bits(MEMORY, kind, seed=5, chip="a")
    assert faults.provenance.source == (
        "generated: uniform, rate 0.25 per PE, word_lines, rate 0.1 per bit, seed 5"
    )


def test_a_lot_spreads_both_rates_and_its_pes_are_those_of_a_lot_without_stuck_bits():
    array = Array(rows=8, cols=8, memory=WeightMemory(words=5000))
    kind = StuckAt(rate=(0.0, 0.5))
    lot = make_chips(array, rate=(0.1, 0.5), count=5, spread="even", stuck=kind)
    plain = make_chips(array, rate=(0.1, 0.5), count=5, spread="even")
    assert [c.faults.faulty_pes.tolist() for c in lot] == [
        c.faults.faulty_pes.tolist() for c in plain
    ]
    assert lot[0].faults.stuck is None
    for chip, rate in zip(list(lot)[1:], (0.125, 0.25, 0.375, 0.5), strict=True):
        assert abs(chip.faults.stuck.rate - rate) < 0.02


def test_drawn_rates_of_stuck_bits_lie_within_their_ends_and_apart_from_those_of_pes():
    array = Array(rows=16, cols=16, memory=WeightMemory(words=2000))
    lot = make_chips(array, rate=(0.1, 0.9), count=60, stuck=StuckAt(rate=(0.2, 0.6)))
    rates = np.array([chip.faults.stuck.rate for chip in lot])
    assert rates.min() > 0.18
    assert rates.max() < 0.62
    assert rates.std() > 0.08
    assert abs(np.corrcoef(rates, lot.rates)[0, 1]) < 0.45


def test_a_memory_has_to_state_its_words():
    with pytest.raises(LotError, match="unstated size"):
        make_chips(Array(rows=2, cols=2), rate=0.1, count=1, stuck=StuckAt(rate=0.1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate": 1.5}, "rate of stuck bits of 1.5"),
        ({"rate": "much"}, "rate of stuck bits of 'much'"),
        ({"rate": (0.1, 0.2, 0.3)}, "the two ends"),
        ({"rate": (0.3, 0.2)}, "swap the two"),
        ({"rate": 0.1, "at_1": -0.1}, "stuck at 1 of -0.1"),
        ({"rate": 0.6, "cells": BitLines()}, "on lines of a density of 0.5"),
        ({"rate": 0.1, "cells": "rows"}, "'rows' is no way to lie"),
    ],
)
def test_impossible_shares_are_refused(wrong, said):
    with pytest.raises(LotError, match=said):
        StuckAt(**wrong)


@pytest.mark.parametrize("wrong", [{"density": 0}, {"density": 2}, {"length": 0}])
def test_impossible_lines_are_refused(wrong):
    with pytest.raises(LotError):
        BitLines(**wrong)


def test_a_memory_is_filled_to_its_last_word():
    found = stuck_bits(WeightMemory(words=5, line=4), StuckAt(rate=1), seed=0, chip="a")
    assert isinstance(found, StuckBits)
    assert found.count == 40
