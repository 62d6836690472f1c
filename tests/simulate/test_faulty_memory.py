import numpy as np
import pytest
import torch

from chipmend.faults import StuckBits
from chipmend.hardware import Filled, WeightMemory
from chipmend.simulate.faulty_memory import read_numbers


@pytest.mark.parametrize("coding", ["twos_complement", "offset_binary", "sign_magnitude"])
@pytest.mark.parametrize("words", [None, 11])
def test_each_word_reads_its_code_bit_by_bit(coding, words):
    memory = WeightMemory(words=words, bits=5, coding=coding)
    random = np.random.default_rng(0)
    numbers = {
        name: torch.from_numpy(random.integers(-15, 16, shape)).float()
        for name, shape in (("a", (3, 2)), ("b", (2, 2, 2)))
    }
    filled = Filled.of({name: held.numel() for name, held in numbers.items()}, memory)
    word, bit = random.integers(0, filled.words, 20), random.integers(0, 5, 20)
    value = (word + bit) % 2 == 0
    stuck = StuckBits.of_bits(filled.words, 5, word, bit, value)
    at = {(w, b): v for w, b, v in zip(word.tolist(), bit.tolist(), value.tolist(), strict=True)}
    found, place = read_numbers(numbers, filled, memory, stuck), 0
    changed = 0
    for name, held in numbers.items():
        for number, read in zip(
            held.flatten().tolist(), found[name].flatten().tolist(), strict=True
        ):
            code = int(memory.codes(np.array([number]))[0])
            for b in range(5):
                if (place % filled.words, b) in at:
                    wanted = at[place % filled.words, b]
                    code = code | 1 << b if wanted else code & ~(1 << b)
            assert read == memory.values[code]
            changed += read != number
            place += 1
        assert found[name].shape == held.shape
    assert changed > 3
