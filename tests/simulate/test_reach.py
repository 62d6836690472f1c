"""How far sums go, against all inputs of small layers."""

import itertools

import pytest
import torch

from chipmend.errors import ArrayError
from chipmend.hardware import Accumulators, Array
from chipmend.network.integer.grids import Grid
from chipmend.simulate.reach import bits_for, bounds, check_wide_enough

SIGNED, UNSIGNED = Grid(1.0, signed=True), Grid(1.0, signed=False)


@pytest.mark.parametrize("grid", [SIGNED, UNSIGNED])
def test_bounds_are_reached_and_never_passed(grid):
    weights = torch.tensor([[3.0, -2, 0, 7], [-1.0, -1, 5, -128]])
    slices = [slice(0, 3), slice(3, 4)]
    least, most = bounds(weights, grid, slices)
    for place, rows in enumerate(slices):
        extremes = itertools.product((grid.least, 0, grid.most), repeat=rows.stop - rows.start)
        sums = torch.stack([weights[:, rows] @ torch.tensor(x).float() for x in extremes], 1)
        assert torch.equal(sums.amin(1).long(), least[:, place])
        assert torch.equal(sums.amax(1).long(), most[:, place])


def test_bounds_of_several_weights_are_those_of_all():
    weights = torch.randint(-128, 128, (2, 3, 4, 6)).float()
    slices = [slice(0, 4), slice(4, 6)]
    each = [bounds(one, UNSIGNED, slices) for one in weights.flatten(0, 1)]
    least, most = bounds(weights, UNSIGNED, slices)
    assert torch.equal(least, torch.stack([low for low, _ in each]).amin(0))
    assert torch.equal(most, torch.stack([high for _, high in each]).amax(0))


def test_bits_are_the_fewest_that_hold_both_ends():
    for least, most in itertools.product(range(-20, 1), range(20)):
        bits = bits_for(least, most)
        assert -(2 ** (bits - 1)) <= least <= most < 2 ** (bits - 1)
        assert bits == 1 or least < -(2 ** (bits - 2)) or most >= 2 ** (bits - 2)


def found_of(total):
    """Two passes that reach so far each."""
    return bounds(torch.full((1, 2), total / 127.0), SIGNED, [slice(0, 1), slice(1, 2)])


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"bits": 22, "outside_bits": 23}, None),
        ({"bits": 21, "outside_bits": 23}, r"of its PEs have 21 bits, .* need 22"),
        ({"bits": 22, "outside_bits": 22}, r"outside of the array have 22 bits, .* need 23"),
        ({"bits": 22, "tiles": "reentry"}, r"of its PEs have 22 bits, .* need 23"),
        ({"bits": 23, "tiles": "reentry"}, None),
    ],
)
def test_what_is_too_narrow_is_named_with_the_bits_it_needs(held, said):
    array = Array(rows=1, cols=1, accumulators=Accumulators(**held))
    found = found_of(2**20 + 1)
    if said is None:
        check_wide_enough("conv1", found, array)
    else:
        with pytest.raises(ArrayError, match=f"conv1: the accumulators {said}"):
            check_wide_enough("conv1", found, array)
