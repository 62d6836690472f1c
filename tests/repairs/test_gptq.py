import pytest
import torch

from chipmend.repairs.gptq import BLOCK, factor_of, rounded_in_turn


def moments(blocks, k, seed=0):
    """Positive definite ones, whose inputs depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(blocks, k, k, generator=generator, dtype=torch.float64)
    rows = torch.randn(blocks, 3 * k, k, generator=generator, dtype=torch.float64) @ mixed
    return rows.mT @ rows / (3 * k) + 0.1 * torch.eye(k, dtype=torch.float64)


def weights(n, k, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, k, generator=generator, dtype=torch.float64)


def slow(optimum, h, to):
    """Round one weight, solve for all those that are left, and so on; output by output."""
    rounded = optimum.clone()
    for output, row in enumerate(rounded):
        wanted = optimum[output].clone()
        for at in range(len(row)):
            row[at] = to(at, wanted[at])
            done, rest = row[: at + 1] - optimum[output, : at + 1], slice(at + 1, None)
            if at + 1 < len(row):
                moved = torch.linalg.solve(h[rest, rest], -h[rest, : at + 1] @ done)
                wanted[rest] = optimum[output, rest] + moved
    return rounded


def to_whole(_, wanted):
    return wanted.round()


def to_whole_or_lost(at, wanted):
    """Every third input's weights have to be zero."""
    return torch.zeros_like(wanted) if at % 3 == 0 else wanted.round()


@pytest.mark.parametrize("to", [to_whole, to_whole_or_lost])
def test_each_rounding_is_made_up_for_by_the_best_values_of_the_weights_left(to):
    h, optimum = moments(1, 11), weights(4, 11)
    found, _, _ = rounded_in_turn(optimum, factor_of(torch.linalg.inv(h)), to)
    assert torch.equal(found, slow(optimum, h[0], to))


@pytest.mark.parametrize("k", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 5])
def test_the_loss_is_half_the_mean_squared_error_whatever_the_number_of_inputs(k):
    h, optimum = moments(1, k), weights(3, k)
    found, loss, _ = rounded_in_turn(optimum, factor_of(torch.linalg.inv(h)), to_whole)
    apart = found - optimum
    assert torch.allclose(loss, ((apart @ h[0]) * apart).sum(1) / 2, rtol=1e-6)
    assert torch.equal(found, found.round())


def test_groups_with_inputs_of_their_own_are_rounded_by_their_own_moments():
    h, optimum = moments(3, 7), weights(6, 7)
    factor = factor_of(torch.linalg.inv(h))
    found, loss, _ = rounded_in_turn(optimum, factor, to_whole)
    for block in range(3):
        own = slice(2 * block, 2 * block + 2)
        alone = rounded_in_turn(optimum[own], factor[block : block + 1], to_whole)
        assert torch.equal(found[own], alone[0])
        assert torch.allclose(loss[own], alone[1])


def test_it_costs_less_than_rounding_each_weight_alone():
    h, optimum = moments(1, 100), weights(20, 100)
    found, loss, _ = rounded_in_turn(optimum, factor_of(torch.linalg.inv(h)), to_whole)
    alone = optimum.round() - optimum
    assert loss.sum() < 0.5 * ((alone @ h[0]) * alone).sum() / 2
    assert found.shape == optimum.shape


def test_weights_that_need_no_rounding_stay():
    optimum = weights(3, 20).round()
    found, loss, _ = rounded_in_turn(optimum, factor_of(torch.linalg.inv(moments(1, 20))), to_whole)
    assert torch.equal(found, optimum)
    assert not loss.any()
