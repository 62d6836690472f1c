"""Rounding to what words can read, by brute force over all codes; and what compensation gains."""

import itertools

import numpy as np
import pytest
import torch

from chipmend.faults.stuck import StuckBits
from chipmend.hardware import WeightMemory, read_back
from chipmend.hardware.memory import Filled
from chipmend.repairs.closed_form import Inputs, Moments
from chipmend.repairs.gptq import factor_of
from chipmend.repairs.rounding import (
    Words,
    best_steps,
    plain_steps,
    rounded_with_compensation,
)
from chipmend.repairs.words import HitWords, hit_words

MEMORIES = [
    WeightMemory(bits=bits, coding=coding)
    for bits, coding in itertools.product(
        (3, 8), ("twos_complement", "offset_binary", "sign_magnitude")
    )
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(memory, n=6, k=40, share=0.5, seed=0):
    """Words of a weight, and the stuck bits by themselves."""
    random = np.random.default_rng(seed)
    size, top = n * k, 2**memory.bits
    hit = random.random(size) < share
    ones = np.where(hit, random.integers(0, top, size), 0).astype(np.uint8)
    zeros = np.where(hit, random.integers(0, top, size), 0).astype(np.uint8) & ~ones
    stuck = StuckBits.of_patterns(ones, zeros, memory.bits)
    filled = Filled.of({"w": size}, WeightMemory(bits=memory.bits, words=size))
    lost = torch.from_numpy(random.random((n, k)) < 0.1)
    return Words(memory, hit_words(filled, stuck)["w"], lost), ones, zeros


def wanted_of(memory, shape):
    return torch.randn(shape, generator=seeded(1)) * memory.highest / 2


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda m: f"{m.bits} bits, {m.coding}")
def test_the_nearest_is_that_of_all_codes(memory):
    words, ones, zeros = problem(memory)
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
    words, ones, zeros = problem(memory)
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


def moments(k):
    """Of inputs that depend on each other."""
    rows = torch.randn(3 * k, k // 2, generator=seeded(2))
    rows = rows @ torch.randn(k // 2, k, generator=seeded(3))
    h = rows.mT @ rows / len(rows)
    return Moments((h + 0.01 * h.diagonal().mean() * torch.eye(k))[None], torch.zeros(1))


def loss_of(weights, optimum, h):
    apart = (weights - optimum).double()
    return float(((apart @ h.double()) * apart).sum())


@pytest.mark.parametrize("seed", range(3))
def test_compensation_loses_less_than_the_nearest_and_least_with_faulty_words_first(seed):
    memory = WeightMemory()
    words, _, _ = problem(memory, n=8, k=60, share=0.2, seed=seed)
    optimum = torch.randn(8, 60, generator=seeded(seed))
    known = moments(60).with_inverse()
    step, factor = plain_steps(optimum, memory), factor_of(known.inverse)
    along = step[:, None].float()
    nearest = words.nearest(optimum / along) * along
    in_turn, _ = rounded_with_compensation(optimum, words, step, known, factor, faulty_first=False)
    first, _ = rounded_with_compensation(optimum, words, step, known, factor, faulty_first=True)
    for codes in (in_turn, first):
        assert torch.equal(codes.numbers, words.nearest(codes.numbers)), "they can be read"
    h = known.matrix[0]
    by_turns, by_faults = (loss_of(codes.weight(), optimum, h) for codes in (in_turn, first))
    assert by_faults < by_turns < 0.6 * loss_of(nearest, optimum, h)


def test_inputs_too_many_for_a_factor_make_up_for_faulty_words_alone():
    memory, k = WeightMemory(), 200
    words, _, _ = problem(memory, n=4, k=k, share=0.2)
    optimum = torch.randn(4, k, generator=seeded())
    known = Inputs.of(torch.randn(50, k, generator=seeded(4)), 0.01)
    step = plain_steps(optimum, memory)
    codes, _ = rounded_with_compensation(optimum, words, step, known, None, faulty_first=False)
    assert torch.equal(codes.numbers, words.nearest(codes.numbers))
    h = known.rows.mT @ known.rows + known.damping * torch.eye(k)
    along = step[:, None].float()
    nearest = words.nearest(optimum / along) * along
    assert loss_of(codes.weight(), optimum, h) < 0.5 * loss_of(nearest, optimum, h)


def test_best_steps_err_least_of_those_tried():
    memory = WeightMemory()
    words, _, _ = problem(memory, n=20, k=30, share=0.4)
    weight = torch.randn(20, 30, generator=seeded())
    importance = torch.rand(20, 30, generator=seeded(5))
    plain, shares = plain_steps(weight, memory), (1.0, 0.9, 0.8)
    found = best_steps(weight, words, importance, shares=shares, turned=True)

    def error(step):
        along = step[:, None].float()
        return ((words.nearest(weight / along) * along - weight).square() * importance).sum(1)

    every = torch.stack([error(s * share * plain) for s in (1, -1) for share in shares])
    torch.testing.assert_close(error(found), every.min(0).values)
    assert (found < 0).any()
    assert (found > 0).any()
    kept = best_steps(weight, words, importance, shares=(1.0,), turned=False)
    assert torch.equal(kept, plain)
