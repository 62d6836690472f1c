"""Which weights are hit, and what their words read, by brute force over addresses and codes."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.faults.stuck import StuckBits
from chipmend.hardware import read_back
from chipmend.hardware.memory import Filled, WeightMemory
from chipmend.network.coupling import couplings, permute_
from chipmend.repairs.readable import patterns
from chipmend.repairs.words import HitWords, Words, hit_words, in_own_order
from repairs.faulty_memory import words_of_a_weight

SIZES = {"a": 7, "b": 30, "c": 1, "d": 12}


def some_stuck(words, share, seed=0):
    random = np.random.default_rng(seed)
    ones = np.where(random.random(words) < share, random.integers(1, 256, words), 0)
    zeros = np.where(random.random(words) < share, random.integers(1, 256, words), 0) & ~ones
    return StuckBits.of_patterns(ones.astype(np.uint8), zeros.astype(np.uint8))


@pytest.mark.parametrize("words", [1, 5, 11, 49, 50, 51, 200])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_weight_has_the_pattern_of_its_word(words, share):
    filled, stuck = Filled.of(SIZES, WeightMemory(words=words)), some_stuck(words, share)
    found = hit_words(filled, stuck)
    of_words = patterns(*stuck.patterns())
    for name, size in SIZES.items():
        expected = of_words[filled.addresses(name)]
        own = np.zeros(size, np.int64)
        own[found[name].at] = found[name].pattern
        assert own.tolist() == expected.tolist()
        assert len(found[name].at) == np.count_nonzero(expected)


def test_words_go_along_with_the_channels():
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 4)
    )
    found = couplings(model, torch.randn(4, 2, 6, 6))
    assert len(found) == 2
    random = np.random.default_rng(0)
    positions = tuple(random.permutation(len(each.block)) for each in found)
    weights = {name: w for name, w in model.named_parameters() if w.dim() > 1}
    for weight in weights.values():
        weight.data = torch.arange(weight.numel()).view(weight.shape).float()
    filled = Filled.of({n: w.numel() for n, w in weights.items()}, WeightMemory())
    hit = hit_words(filled, some_stuck(filled.words, 0.3))
    own = in_own_order(hit, {n: w.shape for n, w in weights.items()}, found, positions)
    for coupling, position in zip(found, positions, strict=True):
        permute_(model, coupling, position)  # as the chip stores it: every weight says where it was
    for name, weight in weights.items():
        stored = weight.detach().flatten().long()
        assert own[name].at.tolist() == stored[hit[name].at].tolist()
        assert torch.equal(own[name].pattern, hit[name].pattern)


MEMORIES = [
    WeightMemory(bits=bits, coding=coding)
    for bits, coding in itertools.product(
        (3, 8), ("twos_complement", "offset_binary", "sign_magnitude")
    )
]


def wanted_of(memory, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * memory.highest / 2


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda m: f"{m.bits} bits, {m.coding}")
def test_the_nearest_is_that_of_all_codes(memory):
    words, ones, zeros = words_of_a_weight(memory)
    wanted = wanted_of(memory, words.lost.shape)
    found = words.nearest(wanted.clone())
    codes = np.arange(2**memory.bits, dtype=np.uint8)
    read = memory.values[read_back(codes, ones[:, None], zeros[:, None])].astype(np.float32)
    least = np.abs(read - wanted.numpy().ravel()[:, None]).min(1)
    apart = (found - wanted).abs().numpy().ravel()
    assert np.allclose(apart[~words.lost.numpy().ravel()], least[~words.lost.numpy().ravel()])
    for number, can, lost in zip(found.view(-1).tolist(), read, words.lost.view(-1), strict=True):
        assert lost or number in can
    assert not found[words.lost].any()
    for at in (0, 7, 39):
        assert torch.equal(words.nearest_of(at, wanted[:, at]), found[:, at])


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda m: f"{m.bits} bits, {m.coding}")
def test_unaware_of_faults_it_reads_what_the_words_make_of_it(memory):
    words, ones, zeros = words_of_a_weight(memory)
    wanted = wanted_of(memory, words.lost.shape)
    stored = memory.codes(words.sound(wanted).numpy().ravel())
    expected = memory.values[read_back(stored, ones, zeros)].astype(np.float32)
    expected[words.lost.numpy().ravel()] = 0
    assert words.unaware(wanted).view(-1).tolist() == expected.tolist()


def test_sound_words_take_the_nearest_whole_number():
    words = Words(WeightMemory(), HitWords.none(), torch.zeros(1, 5, dtype=torch.bool))
    wanted = torch.tensor([[-200.0, -0.5, 0.49, 0.5, 126.7]])
    for found in (words.nearest(wanted), words.unaware(wanted)):
        assert found.tolist() == [[-128, 0, 0, 1, 127]]


def test_a_weight_that_lies_otherwise_in_memory_is_rounded_alike():
    words, *_ = words_of_a_weight(WeightMemory())
    wanted = 40 * torch.randn(6, 40)
    other = wanted.T.contiguous().T
    assert not other.is_contiguous()
    assert torch.equal(words.nearest(other), words.nearest(wanted))
    assert torch.equal(words.unaware(other), words.unaware(wanted))
