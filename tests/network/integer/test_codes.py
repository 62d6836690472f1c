import pytest
import torch

from chipmend.network.integer.codes import Codes, plain_steps


@pytest.mark.parametrize("shape", [(6, 5), (6, 2, 3, 3)])
@pytest.mark.parametrize("highest", [1, 7, 127])
def test_the_nearest_numbers_are_half_a_step_away_at_most(shape, highest):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    codes = Codes.nearest(weight, highest)
    apart = (codes.weight() - weight).flatten(1).abs()
    assert (apart <= 0.50001 * codes.step[:, None]).all()
    assert codes.numbers.flatten(1).abs().amax(1).tolist() == [highest] * 6
    assert torch.equal(codes.numbers, codes.numbers.round())


def test_an_output_that_is_all_zero_keeps_a_step():
    assert plain_steps(torch.tensor([[0.0, 0.0], [0.5, -2.0]]), 4).tolist() == [1.0, 0.5]
