import numpy as np
import pytest

from chipmend.errors import LotError
from chipmend.faults import StuckBits
from chipmend.faults.stuck_of_lot import StuckDraft


def bits(*words):
    return StuckBits.of_bits(50, 8, words, [0] * len(words), [True] * len(words))


CHIPS = [bits(1), None, bits(*range(40)), bits(7, 9)]


def drafted(chips):
    draft = StuckDraft()
    for at, stuck in enumerate(chips):
        draft.add(stuck, str(at))
    return draft.done()


def unpacked(lot):
    return [lot.of_chip(at, str(at)) for at in range(len(lot.spans))]


def test_each_chip_gets_its_own_bits_back():
    assert unpacked(drafted(CHIPS)) == CHIPS


def test_chips_without_stuck_bits_keep_nothing():
    assert drafted([None, None]) is None


def test_some_chips_share_the_bytes_of_all_until_they_are_packed():
    lot = drafted(CHIPS)
    some = lot.of_chips(np.array([3, 1, 0]))
    assert np.shares_memory(some.held, lot.held)
    packed = some.packed()
    assert unpacked(some) == unpacked(packed) == [CHIPS[3], None, CHIPS[0]]
    assert len(packed.held) == len(CHIPS[3].to_bytes()) + len(CHIPS[0].to_bytes())
    assert packed.packed() is packed


def test_a_memory_of_another_size_is_named():
    with pytest.raises(LotError, match="chip 1 has a weight memory of 60 words of 8 bits"):
        drafted([bits(1), StuckBits.of_bits(60, 8, [1], [0], [True])])


def test_altered_bytes_are_noticed_for_their_chip_alone():
    lot = drafted(CHIPS)
    lot.held[lot.spans[2, 0] + 3] ^= 1
    assert lot.of_chip(3, "d") == CHIPS[3]
    with pytest.raises(LotError, match="stuck bits of chip c were altered"):
        lot.of_chip(2, "c")
