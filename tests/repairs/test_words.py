"""Which weights are hit, by brute force over the addresses of all weights."""

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.faults.stuck import StuckBits
from chipmend.hardware.memory import Filled, WeightMemory
from chipmend.network.coupling import couplings, permute_
from chipmend.repairs.readable import patterns
from chipmend.repairs.words import hit_words, in_own_order

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
