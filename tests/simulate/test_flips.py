import numpy as np
import pytest
import torch
from scipy.stats import binom

from chipmend.errors import ArrayError
from chipmend.simulate.flips import BitErrors, blocks, drawn, with_flips


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.05, 0.5])
def test_every_position_is_drawn_with_the_same_probability(rate):
    positions, times = range(1000, 1400), 500
    counts = np.zeros(400, dtype=int)
    for seed in range(times):
        found = drawn(np.random.default_rng(seed), positions, rate)
        assert np.array_equal(found, np.unique(found))
        counts[found - positions.start] += 1
    least, most = binom.ppf([1e-7, 1 - 1e-7], times, rate)
    assert counts.min() >= least
    assert counts.max() <= most
    assert counts.sum() == pytest.approx(400 * times * rate, rel=0.2, abs=1e-9)


def test_how_many_are_drawn_varies_as_coins_do():
    counts = [len(drawn(np.random.default_rng(s), range(10**12), 2e-11)) for s in range(2000)]
    assert np.mean(counts) == pytest.approx(20, abs=0.5)
    assert np.var(counts) == pytest.approx(20, rel=0.2)


def test_blocks_are_all_sums_in_order():
    for rate in (0.0, 1e-6, 0.5):
        found = [*blocks(10_000, 700, rate)]
        assert [at for block in found for at in block] == [*range(10_000)]
    assert len(found) > 1


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
def test_bits_of_numbers_flip_at_their_rate(dtype):
    numbers = torch.arange(256).to(dtype).repeat(200).view(16, -1).T
    before = numbers.clone()
    found = with_flips(numbers, 0.02, np.random.default_rng(0))
    assert torch.equal(numbers, before)
    assert found.dtype == dtype
    flipped = (found.contiguous().view(torch.uint8) ^ numbers.contiguous().view(torch.uint8)).int()
    for bit in range(8):
        share = (flipped >> bit & 1).float().mean()
        assert share == pytest.approx(0.02, abs=0.004)
    assert torch.equal(with_flips(numbers, 0.0, np.random.default_rng(0)), numbers)


@pytest.mark.parametrize("rate", [-0.1, 0.51, float("nan"), "a"])
def test_what_is_no_rate_of_flips_is_refused(rate):
    with pytest.raises(ArrayError, match="bit errors: weights is"):
        BitErrors(weights=rate)


def test_accumulators_and_multipliers_are_looked_at_one_after_the_other():
    with pytest.raises(ArrayError, match="at once"):
        BitErrors(accumulator=0.1, product=0.1)
