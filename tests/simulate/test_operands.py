"""What multipliers give on the way of single sums, against loops over passes and rows."""

import pytest
import torch

from chipmend.hardware import Accumulators, Array
from chipmend.hardware.placement import WeightShape
from chipmend.simulate.operands import FlippedWeights, OfLayer, OfPair
from chipmend.simulate.passes import Passes
from simulate.examples import LAYERS, layer_and_inputs

SIGNED = [True, False]


def index(*numbers):
    return torch.tensor(numbers).T


@pytest.mark.parametrize("is_signed", SIGNED)
@pytest.mark.parametrize("placement", ["im2col", "channel"])
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_products_add_up_to_the_layer_s_and_idle_rows_give_nothing(name, placement, is_signed):
    array = Array(rows=4, cols=3, placement=placement, accumulators=Accumulators(bits=24))
    layer, inputs = layer_and_inputs(name, array, is_signed=is_signed, seed=1)
    operands = OfLayer.of(layer, inputs, array)
    numbers = layer.columns(inputs).flatten(0, 1).long() + (0 if is_signed else 128)
    expected = layer.dense().flatten(1).long() @ numbers
    slices = operands.passes.slices
    at = torch.cartesian_prod(*map(torch.arange, expected.shape))
    total = torch.zeros(len(at), dtype=torch.int64)
    for number, rows in enumerate(slices):
        found = torch.stack([*operands.down(at[:, 0], at[:, 1], torch.full((len(at),), number))])
        assert found.shape == (4, len(at))
        assert not found[rows.stop - rows.start :].any()
        total += found.sum(0)
    assert torch.equal(total.view(expected.shape), expected)


def test_products_of_activations_are_those_of_each_product_by_itself():
    generator = torch.Generator().manual_seed(0)
    left = torch.randint(0, 256, (3, 5, 6), generator=generator).to(torch.uint8)
    right = torch.randint(-128, 128, (3, 6, 2), generator=generator).to(torch.int8)
    passes = Passes(WeightShape(2, 6), Array(rows=4, cols=2))
    which = index((0, 0, 0), (3, 4, 1), (5, 2, 1))  # output, column, pass
    found = torch.stack([*OfPair(left, right, passes).down(*which)])
    for at, (output, column, number) in enumerate(which.T.tolist()):
        rows = passes.slices[number]
        times = left[output // 2, column].long() * right[output // 2, :, output % 2].long()
        assert found[: rows.stop - rows.start, at].tolist() == times[rows].tolist()
        assert not found[rows.stop - rows.start :, at].any()


@pytest.mark.parametrize("samples_last", [True, False])
def test_flipped_weights_are_off_for_their_sample_alone(samples_last):
    """Two weights of 7 rows, for samples 1 and 2 of 3, each of which has 4 columns."""
    flipped = FlippedWeights(
        *(torch.tensor(each) for each in ([5, 0], [6, 3], [1, 2], [-16, 9])),
        places=4,
        samples_last=samples_last,
        sizes=(7, 3),
    )
    read = [[1, 4, 7, 10], [2, 5, 8, 11]] if samples_last else [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert flipped.columns().tolist() == read
    k = torch.arange(7)[:, None].expand(7, 12)
    for output, row, by, columns in ((5, 6, -16, read[0]), (0, 3, 9, read[1])):
        found = flipped.moves(torch.full((12,), output), k, torch.arange(12))
        expected = torch.zeros(7, 12, dtype=torch.int64)
        expected[row, columns] = by
        assert torch.equal(found, expected)
