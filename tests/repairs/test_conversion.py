import numpy as np
import pytest

from chipmend.errors import FaultMapError
from chipmend.faults import StuckBits
from chipmend.hardware import WeightMemory
from chipmend.repairs import conversion
from chipmend.repairs.conversion import converted_codes


@pytest.mark.parametrize("coding", ["twos_complement", "offset_binary", "sign_magnitude"])
@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("at_once", [7, 2**17])
def test_every_word_reads_the_nearest_number_that_it_can(coding, bits, at_once, monkeypatch):
    monkeypatch.setattr(conversion, "AT_ONCE", at_once)
    random, words = np.random.default_rng(bits), 400
    memory = WeightMemory(words=words, bits=bits, coding=coding)
    ones, zeros = (random.integers(0, 2**bits, words).astype(np.uint8) for _ in range(2))
    zeros &= ~ones
    hit = random.random(words) < 0.6
    stuck = StuckBits.of_patterns(ones * hit, zeros * hit, bits)
    codes = random.integers(0, 2**bits, words).astype(np.uint8)
    before = codes.copy()
    found = converted_codes(codes, stuck, coding=coding)
    assert (codes == before).all()
    every = np.arange(2**bits, dtype=np.uint8)
    for word in range(words):
        one, zero = (int(each[word]) * int(hit[word]) for each in (ones, zeros))
        can = {int(memory.values[(int(code) | one) & ~zero]) for code in every}
        wanted = int(memory.values[codes[word]])
        least = min(abs(number - wanted) for number in can)
        best = min((number for number in can if abs(number - wanted) == least), key=abs)
        read = int(memory.values[(int(found[word]) | one) & ~zero])
        assert (abs(read - wanted), abs(read)) == (least, abs(best))
        assert hit[word] or found[word] == codes[word]


def test_codes_that_do_not_fit_the_memory_are_refused():
    none = np.zeros(3, np.uint8)
    stuck = StuckBits.of_patterns(none, none, 4)
    with pytest.raises(FaultMapError, match="2 codes and stuck bits of 3 words"):
        converted_codes(none[:2], stuck)
    with pytest.raises(FaultMapError, match="codes of type int8") as caught:
        converted_codes(none.view(np.int8), stuck)
    assert "view(np.uint8)" in caught.value.hint
    with pytest.raises(FaultMapError, match="a code of 16 in words of 4 bits"):
        converted_codes(none + 16, stuck)
