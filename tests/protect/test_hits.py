import torch
from hypothesis import given
from hypothesis import strategies as st

from chipmend.protect.hits import move


def wrapped(number, bits):
    pattern = number % 2**bits
    return pattern - 2**bits if pattern >= 2 ** (bits - 1) else pattern


@given(st.data())
def test_a_flip_moves_what_leaves_the_column_as_patterns_of_bits_say(data):
    bits = data.draw(st.integers(4, 32))
    numbers = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    there, piece, bit = data.draw(numbers), data.draw(numbers), data.draw(st.integers(0, bits - 1))
    flipped = wrapped(there % 2**bits ^ 2**bit, bits)
    expected = wrapped(flipped + (piece - there), bits) - piece
    assert int(move(torch.tensor(there), torch.tensor(piece), bit, bits)) == expected
