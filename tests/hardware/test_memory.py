import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmend.errors import ArrayError
from chipmend.hardware import Array, Filled, WeightMemory, read_back

CODINGS = ["twos_complement", "offset_binary", "sign_magnitude"]
EVERY = list(itertools.product(CODINGS, range(2, 9)))


def stands_for(code, bits, coding):
    """The number that a code stands for, by its bits one by one."""
    held = [code >> bit & 1 for bit in range(bits)]
    low = sum(set_ << bit for bit, set_ in enumerate(held[:-1]))
    if coding == "twos_complement":
        return low - (held[-1] << bits - 1)
    if coding == "offset_binary":
        return low + (held[-1] << bits - 1) - (1 << bits - 1)
    return -low if held[-1] else low


@pytest.mark.parametrize(("coding", "bits"), EVERY)
def test_codes_stand_for_what_their_bits_say(coding, bits):
    values = WeightMemory(bits=bits, coding=coding).values
    assert values.tolist() == [stands_for(code, bits, coding) for code in range(2**bits)]


@pytest.mark.parametrize(("coding", "bits"), EVERY)
def test_every_number_has_a_code_that_stands_for_it(coding, bits):
    memory = WeightMemory(bits=bits, coding=coding)
    numbers = np.unique(memory.values)
    codes = memory.codes(numbers)
    assert memory.values[codes].tolist() == numbers.tolist()
    assert {memory.highest, -memory.highest} <= set(numbers.tolist())


def test_zero_has_no_sign():
    assert WeightMemory(coding="sign_magnitude").codes(np.array([0])).tolist() == [0]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.none() | st.integers(1, 30))
def test_words_are_filled_one_after_the_other_and_begin_anew(sizes, words):
    filled = Filled.of({str(at): size for at, size in enumerate(sizes)}, WeightMemory(words=words))
    capacity = words or sum(sizes)
    position, held = 0, np.arange(capacity) * 10
    for at, size in enumerate(sizes):
        expected = [(position + weight) % capacity for weight in range(size)]
        assert filled.addresses(str(at)).tolist() == expected
        assert filled.taken(str(at), held).tolist() == [10 * word for word in expected]
        position += size
    assert filled.wraps == (position > capacity)


def test_stuck_bits_read_as_they_are_stuck_whatever_is_stored():
    stored, ones, zeros = (a.ravel() for a in np.meshgrid(*[np.arange(16, dtype=np.uint8)] * 3))
    apart = (ones & zeros) == 0
    for code, one, zero, read in zip(
        stored[apart], ones[apart], zeros[apart], read_back(stored, ones, zeros)[apart], strict=True
    ):
        for bit in range(4):
            expected = 1 if one >> bit & 1 else 0 if zero >> bit & 1 else code >> bit & 1
            assert read >> bit & 1 == expected


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"words": 0}, "words is 0"),
        ({"words": 1.5}, "words is 1.5"),
        ({"bits": 9}, "from 2 to 8"),
        ({"bits": 1}, "from 2 to 8"),
        ({"line": 0}, "line is 0"),
        ({"coding": "gray"}, "no coding 'gray'"),
    ],
)
def test_a_memory_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(ArrayError, match=said):
        WeightMemory(**wrong)


def test_what_is_no_memory_is_refused():
    with pytest.raises(ArrayError, match="is no weight memory"):
        Array(rows=2, cols=2, memory=65536)
