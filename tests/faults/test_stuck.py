import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmend.errors import ArrayError, FaultMapError
from chipmend.faults import StuckBits

WORDS, BITS = 40, 5
BIT = st.tuples(st.integers(0, WORDS - 1), st.integers(0, BITS - 1))
SOME = st.dictionaries(BIT, st.booleans())


def of(bits):
    """Stuck bits of a dictionary of values by word and bit."""
    word, bit = (np.array([place[axis] for place in bits], dtype=np.int64) for axis in (0, 1))
    return StuckBits.of_bits(WORDS, BITS, word, bit, np.array(list(bits.values()), dtype=bool))


@given(SOME)
def test_the_patterns_of_all_words_hold_each_bit(bits):
    stuck = of(bits)
    ones, zeros = stuck.patterns()
    for word in range(WORDS):
        for bit in range(BITS):
            said = bits.get((word, bit))
            assert (ones[word] >> bit & 1, zeros[word] >> bit & 1) == (said is True, said is False)
    assert stuck.count == len(bits)
    assert stuck.rate == len(bits) / (WORDS * BITS)
    assert stuck.share_at_1 == sum(bits.values()) / max(1, len(bits))


@given(SOME)
def test_bytes_and_patterns_give_the_same_bits_back(bits):
    stuck = of(bits)
    assert StuckBits.from_bytes(stuck.to_bytes(), WORDS, BITS) == stuck
    assert StuckBits.of_patterns(*stuck.patterns(), BITS) == stuck


@given(SOME, SOME)
def test_the_same_bits_and_no_others_have_one_digest(some, others):
    assert (of(some) == of(others)) == (some == others)
    assert (of(some).digest() == of(others).digest()) == (some == others)


@given(SOME)
def test_bits_are_listed_in_order(bits):
    assert of(bits).listed() == [(*place, int(bits[place])) for place in sorted(bits)]


def test_bytes_take_the_shorter_form():
    few, many = np.arange(3), np.arange(300)
    for words, length in ((few, 1 + 6 * 3), (many, 1 + 2 * 300)):
        stuck = StuckBits.of_bits(300, 8, words, words * 0, words >= 0)
        assert len(stuck.to_bytes()) == length


def test_the_order_of_bits_does_not_count_and_neither_does_a_repetition():
    again = StuckBits.of_bits(9, 8, [7, 2, 7, 7], [0, 3, 5, 0], [True, False, False, True])
    assert again == StuckBits.of_bits(9, 8, [2, 7, 7], [3, 0, 5], [False, True, False])


@pytest.mark.parametrize(
    ("word", "bit", "value", "said"),
    [
        ([3], [8], [True], r"bits \[8\] lie outside a word of 8 bits"),
        ([3], [-1], [True], r"bits \[-1\] lie outside"),
        ([10], [0], [True], "word 10 lies outside the memory of 10 words"),
        ([-1], [0], [True], "word -1 lies outside"),
        ([4, 4], [6, 6], [True, False], "bit 6 of word 4 is stuck at 0 and at 1"),
    ],
)
def test_bits_that_cannot_be_are_refused(word, bit, value, said):
    with pytest.raises(FaultMapError, match=said):
        StuckBits.of_bits(10, 8, word, bit, value)


@pytest.mark.parametrize(
    ("at", "ones", "zeros", "said"),
    [
        ([1, 0], [1, 1], [0, 0], "do not ascend"),
        ([1, 1], [1, 1], [0, 0], "do not ascend"),
        ([1], [0], [0], "without a stuck bit"),
        ([1], [8], [0], "above bit 2"),
        ([1], [1, 1], [0], "2 patterns of ones"),
    ],
)
def test_patterns_that_cannot_be_are_refused(at, ones, zeros, said):
    with pytest.raises(FaultMapError, match=said):
        StuckBits(words=4, bits=3, at=np.array(at), ones=np.array(ones), zeros=np.array(zeros))


def test_a_memory_without_words_is_refused():
    with pytest.raises(ArrayError, match="words is 0"):
        StuckBits.of_bits(0, 8, [], [], [])


@pytest.mark.parametrize("held", [b"", b"\2", b"\0abc", b"\1abc"])
def test_other_bytes_are_refused(held):
    with pytest.raises(FaultMapError, match="are no stuck bits of 10 words"):
        StuckBits.from_bytes(held, 10, 8)


def test_what_is_kept_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        of({(0, 0): True}).ones[0] = 3
