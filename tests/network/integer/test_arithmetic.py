"""Exactness is judged by Python's own integers."""

import pytest
import torch

from chipmend.network.integer.arithmetic import AT_ONCE, FixedPoint


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("largest", [300, 2**20, 2**31])
def test_an_accumulator_becomes_what_integers_say(largest):
    factor = torch.randn(50, generator=seeded(), dtype=torch.float64)
    factor *= 10.0 ** torch.randint(-7, 1, (50,), generator=seeded(1))
    offset = 100 * torch.randn(50, generator=seeded(2), dtype=torch.float64)
    fixed = FixedPoint.of(factor, offset, largest=largest)
    accumulators = torch.randint(-largest, largest + 1, (40, 50), generator=seeded(3))
    accumulators[0], accumulators[1] = largest, -largest
    found = fixed(accumulators.double(), 1)
    for row, results in zip(accumulators.tolist(), found.tolist(), strict=True):
        for a, m, b, s, result in zip(
            row,
            fixed.multiplier.long().tolist(),
            fixed.offset.long().tolist(),
            fixed.shift.long().tolist(),
            results,
            strict=True,
        ):
            assert result == (a * m + b) >> s


@pytest.mark.parametrize("largest", [300, 2**24])
def test_a_factor_is_met_to_the_precision_of_its_multiplier(largest):
    factor = torch.tensor([0.3, -0.3, 1e-5, -7.0, 0.0], dtype=torch.float64)
    offset = torch.tensor([0.5, -3.25, 100.0, 0.0, -2.0], dtype=torch.float64)
    fixed = FixedPoint.of(factor, offset, largest=largest)
    assert fixed.multiplier.abs().max() < 2**24
    accumulators = torch.randint(-largest, largest, (1000, 5), generator=seeded()).double()
    exact = accumulators * factor + offset
    error = fixed(accumulators, 1) - exact
    slack = 1e-6 * exact.abs() + 1e-6
    assert (error > -0.5 - slack).all()
    assert (error <= 0.5 + slack).all()


def test_halves_go_up():
    one = torch.ones(1, dtype=torch.float64)
    fixed = FixedPoint.of(0.5 * one, 0 * one, largest=10)
    assert fixed(torch.tensor([-3.0, -1.0, 1.0, 3.0]), 0).tolist() == [-1, 0, 1, 2]


def test_what_is_far_outside_stays_outside():
    huge = torch.tensor([1e12, -1e12], dtype=torch.float64)
    found = FixedPoint.of(torch.full_like(huge, 1e-12), huge, largest=1000)(torch.zeros(1, 2), 1)
    assert found[0, 0] > 255
    assert found[0, 1] < -128


def test_terms_of_a_sum_share_a_shift():
    factors = torch.tensor([0.9, 0.01], dtype=torch.float64)
    fixed = FixedPoint.together(factors, largest=510)
    (m, n), s, b = fixed.multiplier.long().tolist(), int(fixed.shift[0]), int(fixed.offset[0])
    assert fixed.shift.unique().numel() == 1
    first, second = torch.arange(-255, 256), torch.arange(-255, 256).flip(0)
    found = fixed.sum([first.float(), second.float()])
    assert found.tolist() == [
        (x * m + y * n + b) >> s for x, y in zip(first.tolist(), second.tolist(), strict=True)
    ]


@pytest.mark.parametrize(("least", "most", "dtype"), [(0, 255, "uint8"), (-128, 90, "int8")])
@pytest.mark.parametrize("largest", [2**31, 300])  # faults may bring sums beyond what was expected
def test_what_is_narrowed_is_what_integers_say(least, most, dtype, largest):
    factor = torch.randn(3, generator=seeded(), dtype=torch.float64) * 1e-3
    fixed = FixedPoint.of(factor, 10 * factor.sign(), largest=largest)
    accumulators = torch.randint(-(2**31), 2**31, (3, AT_ONCE + 5), generator=seeded(3))
    accumulators[:, 5:] //= 2**12
    found = fixed.narrowed(accumulators.to(torch.int32), least, most, getattr(torch, dtype))
    m, b, s = (n.long()[:, None] for n in (fixed.multiplier, fixed.offset, fixed.shift))
    assert torch.equal(found.long(), ((accumulators * m + b) >> s).clamp(least, most))
    assert len(found.unique()) > 100


@pytest.mark.parametrize("power", [-7, 0, 12])
def test_a_factor_just_below_a_power_of_two_becomes_that_power(power):
    factor = torch.tensor([2.0**power * (1 - 1e-12)], dtype=torch.float64)
    fixed = FixedPoint.of(factor, torch.zeros_like(factor), largest=2**20)
    assert fixed.multiplier / 2**fixed.shift == 2.0**power


def test_a_shift_is_at_least_one_and_multipliers_fit_whatever_the_factor():
    factor = torch.tensor([2.0**23 * (1 - 1e-12), 1e30, -1e30], dtype=torch.float64)
    fixed = FixedPoint.of(factor, torch.zeros_like(factor), largest=300)
    assert (fixed.shift >= 1).all()
    assert fixed.multiplier.abs().max() < 2**24
