import numpy as np
import pytest
import torch

from chipmend.bundle.residuals import packed, residuals, restored, unpacked
from chipmend.errors import BundleError
from chipmend.hardware import WeightMemory
from chipmend.network.integer.codes import Codes


@pytest.mark.parametrize("coding", ["twos_complement", "offset_binary", "sign_magnitude"])
@pytest.mark.parametrize("bits", [3, 8])
def test_codes_come_back(coding, bits):
    memory = WeightMemory(coding=coding, bits=bits)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 5, 2, generator=generator)
    step = torch.tensor([0.1, -0.2, 0.03, 1.0], dtype=torch.float64)
    values = torch.from_numpy(memory.values).float()
    numbers = values[torch.randint(0, len(values), weight.shape, generator=generator)]
    lost = torch.rand(weight.shape, generator=generator) < 0.3
    codes = Codes(numbers, step)
    found = restored(residuals(codes, weight, lost, memory), step, weight, lost, memory)
    assert torch.equal(found.numbers, numbers)
    assert found.step is step


def test_nothing_is_left_of_nearest_codes():
    memory = WeightMemory()
    weight = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    codes, lost = Codes.nearest(weight), torch.zeros(6, 20, dtype=torch.bool)
    assert not residuals(codes, weight, lost, memory).any()
    lost[2, 3:9] = True
    codes.numbers[lost] = 0
    assert not residuals(codes, weight, lost, memory).any()


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_bytes_come_back(size):
    random = np.random.default_rng(0)
    for content in (
        bytes(size),
        random.bytes(size),
        random.integers(0, 3, size, np.uint8).tobytes(),
    ):
        assert unpacked(packed(content), size) == content


def test_what_repeats_and_what_is_skewed_is_packed():
    random = np.random.default_rng(0)
    skewed = np.where(random.random(10_000) < 0.85, 0, random.integers(0, 256, 10_000))
    assert len(packed(bytes(10_000))) < 50
    entropy = 0.61 + 0.15 * 8
    assert len(packed(skewed.astype(np.uint8).tobytes())) < 1.3 * 10_000 * entropy / 8


@pytest.mark.parametrize("content", [b"", b"nonsense", packed(bytes(9)), packed(bytes(11))])
def test_anything_else_is_refused(content):
    with pytest.raises(BundleError):
        unpacked(content, 10)


def test_a_bomb_does_not_go_off():
    with pytest.raises(BundleError, match="not 10, as they should be"):
        unpacked(packed(bytes(10**8)), 10)
