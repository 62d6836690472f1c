"""Exactness is judged by Python's own integers."""

import pytest
import torch
from torch.nn.functional import conv2d, linear

from chipmend.network.integer.arithmetic import FixedPoint, exact_parts, exact_product


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


def whole(*shape, least, most, seed):
    return torch.randint(least, most + 1, shape, generator=seeded(seed))


@pytest.mark.parametrize("inputs_of_a_sum", [4, 600, 5000])
def test_a_linear_product_is_exact(inputs_of_a_sum):
    inputs = whole(3, inputs_of_a_sum, least=200, most=255, seed=0)
    weight = whole(7, inputs_of_a_sum, least=100, most=127, seed=1)
    exactly = exact_product(linear, weight.float(), axis=-1, groups=1, highest=255)
    assert torch.equal(exactly(inputs.float()).long(), inputs @ weight.T)


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (300, 1), (600, 2)])
def test_a_convolution_is_exact(channels, groups):
    inputs = whole(2, channels, 5, 5, least=200, most=255, seed=0)
    weight = whole(6, channels // groups, 3, 3, least=-128, most=-90, seed=1)
    exactly = exact_product(
        lambda x, w: conv2d(x, w, groups=groups),
        weight.float(),
        axis=1,
        groups=groups,
        highest=255,
    )
    found = exactly(inputs.float())
    patches = inputs.unfold(2, 3, 1).unfold(3, 3, 1).unflatten(1, (groups, -1))
    by_group = weight.unflatten(0, (groups, -1))
    expected = (patches[:, :, None] * by_group[None, :, :, :, None, None].long()).sum((3, 6, 7))
    assert torch.equal(found.long(), expected.flatten(1, 2))


@pytest.mark.parametrize("shape", [(5, 3000), (4, 700, 3, 3), (2, 3, 1)])
def test_no_part_of_a_sum_can_leave_single_precision(shape):
    weight = whole(*shape, least=-128, most=127, seed=0).float()
    parts = exact_parts(weight, 255)
    assert [i for part in parts for i in part] == list(range(shape[1]))
    for part in parts:
        reach = weight[:, part.start : part.stop].abs().double().flatten(1).sum(1) * 255
        assert (reach < 2**24).all()


def test_a_kernel_too_large_for_single_precision_is_multiplied_in_double():
    inputs = whole(1, 2, 40, 40, least=250, most=255, seed=0)
    weight = whole(1, 2, 40, 40, least=120, most=127, seed=1)
    assert exact_parts(weight.float(), 255) == []
    exactly = exact_product(conv2d, weight.float(), axis=1, groups=1, highest=255)
    assert int(exactly(inputs.float())) == int((inputs * weight).sum()) > 2**24
