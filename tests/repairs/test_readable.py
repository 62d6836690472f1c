import itertools

import numpy as np
import pytest

from chipmend.hardware import WeightMemory, read_back
from chipmend.repairs.readable import patterns, readable

CODINGS = ["twos_complement", "offset_binary", "sign_magnitude"]
EVERY = [*itertools.product(CODINGS, range(2, 6)), *((coding, 8) for coding in CODINGS)]


def every_word(bits):
    """All words with stuck bits, by their bits one by one: ones, zeros, number of the pattern."""
    words = []
    for states in itertools.product("s01", repeat=bits):  # the most significant first
        ones, zeros, number = 0, 0, 0
        for state in states:
            ones, zeros = 2 * ones + (state == "1"), 2 * zeros + (state == "0")
            number = 3 * number + {"s": 0, "0": 1, "1": 2}[state]
        words.append((ones, zeros, number))
    return [np.array(column) for column in zip(*words, strict=True)]


def nearest_by_brute_force(memory, ones, zeros, wanted):
    """The least distance to what any stored code reads, ``words x wanted``, and what is read."""
    stored = np.arange(2**memory.bits, dtype=np.uint8)
    read = memory.values[read_back(stored, ones[:, None], zeros[:, None])].astype(np.float32)
    least = np.full((len(ones), len(wanted)), np.inf, dtype=np.float32)
    for column in range(read.shape[1]):
        np.minimum(least, np.abs(read[:, column, None] - wanted.astype(np.float32)), out=least)
    return least, read


def words_of(bits):
    ones, zeros, number = every_word(bits)
    return ones.astype(np.uint8), zeros.astype(np.uint8), number


@pytest.mark.parametrize("bits", range(2, 9))
def test_patterns_are_numbered_by_their_bits(bits):
    ones, zeros, number = words_of(bits)
    assert (patterns(ones, zeros) == number).all()
    assert sorted(number.tolist()) == list(range(3**bits))


@pytest.mark.parametrize(("coding", "bits"), EVERY)
def test_what_is_read_is_nearest_for_every_word_and_every_code(coding, bits):
    memory = WeightMemory(bits=bits, coding=coding)
    ones, zeros, number = words_of(bits)
    stored = readable(memory).codes[number]
    read = memory.values[read_back(stored, ones[:, None], zeros[:, None])]
    best, _ = nearest_by_brute_force(memory, ones, zeros, memory.values)
    assert stored.shape == (3**bits, 2**bits)
    assert (np.abs(read - memory.values) == best).all()


@pytest.mark.parametrize(("coding", "bits"), EVERY)
def test_of_two_numbers_as_near_the_one_nearer_to_zero_is_read(coding, bits):
    memory = WeightMemory(bits=bits, coding=coding)
    ones, zeros, number = words_of(bits)
    read = memory.values[
        read_back(readable(memory).codes[number], ones[:, None], zeros[:, None])
    ].astype(int)
    mirrored = 2 * memory.values - read  # as near, on the other side
    _, can = nearest_by_brute_force(memory, ones, zeros, memory.values)
    for word in range(0, len(ones), 1 if bits < 6 else 37):
        other = np.isin(mirrored[word], can[word])
        assert (np.abs(read[word][other]) <= np.abs(mirrored[word][other])).all()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_sound_word_keeps_every_number(coding):
    memory = WeightMemory(coding=coding)
    stored = readable(memory).codes[0]
    assert (memory.values[stored] == memory.values).all()


@pytest.mark.parametrize(("coding", "bits"), EVERY)
def test_every_half_step_has_the_nearest_number_to_all_in_it(coding, bits):
    memory = WeightMemory(bits=bits, coding=coding)
    known = readable(memory)
    ones, zeros, number = words_of(bits)
    chosen = known.nearest[number].astype(np.float32)
    starts = known.least + np.arange(chosen.shape[1]) / 2
    assert starts[-1] == memory.values.max() + 0.5
    for within in (0.0, 0.25, 0.49):
        best, _ = nearest_by_brute_force(memory, ones, zeros, starts + within)
        distance = np.abs(chosen - (starts + within).astype(np.float32))
        assert np.allclose(distance, best, atol=1e-4)


def test_tables_are_made_once():
    assert readable(WeightMemory(bits=4)) is readable(WeightMemory(bits=4, words=99, line=2))
