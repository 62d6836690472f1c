import pytest
import torch

from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.design import Quantization
from chipmend.protect.design.quantization import quantized
from chipmend.protect.design.ranges import with_range
from chipmend.protect.design.shifts import with_shifts
from protect import small


def never(_):
    pytest.fail("nothing is to be chosen")


def test_ranges_come_first_and_shifts_fit_them():
    network, (inputs, _) = small.network(), small.samples(64, 5)
    weights = {**{n: c.weight() for n, c in network.codes.items()}, **network.held}
    plain, halved = ((), network), ((), with_range(network, weights, 0.5))
    for how, (shifts, wanted) in ((Quantization(), plain), (Quantization(0, 0.5), halved)):
        found = quantized(network, weights, how, never)
        assert found[0] == shifts
        assert torch.equal(found[1](inputs), wanted(inputs))
    sound = network(inputs)

    def near(found: IntegerNetwork) -> float:
        return -float((found(inputs) - sound).abs().mean())

    shifts, found = quantized(network, weights, Quantization(3, 0.5), near)
    assert len(shifts) == 3
    assert torch.equal(found(inputs), with_shifts(halved[1], weights, shifts)(inputs))
