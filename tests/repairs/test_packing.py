import pytest
import torch

from chipmend.network.grams import Gram
from chipmend.network.intercepts import Intercept
from chipmend.repairs.closed_form import Inputs, damped
from chipmend.repairs.norms import Statistics
from chipmend.repairs.one_shot import CleanLayer
from chipmend.repairs.packing import (
    packed_layers,
    packed_targets,
    unpacked_layers,
    unpacked_targets,
)
from chipmend.repairs.sequential import Target, Targets
from conftest import same

PLACES = {"body.0.weight": Intercept(None, None), "head.weight": Intercept(None, "norm")}


def layer(name, *, wide):
    rows, weight = torch.randn(9, 4), torch.randn(3, 4)
    if wide:
        known = Inputs.of(rows, 0.1)
    else:
        known = damped(
            Gram(rows.mean(0)[None], (rows.mT @ rows)[None] / 9, None), 0.1, centred=True
        )
        known = known.with_inverse()
    return CleanLayer(weight, rows.mean(0)[None], known, torch.rand(3), torch.rand(3), PLACES[name])


@pytest.mark.parametrize("wide", [False, True])
def test_layers_come_back_as_they_were(wide):
    layers = {name: layer(name, wide=wide) for name in PLACES}
    packed = packed_layers(layers)
    assert all(
        isinstance(tensor, torch.Tensor) and tensor.is_contiguous() for tensor in packed.values()
    )
    assert same(unpacked_layers(packed, PLACES), layers)


def test_targets_come_back_as_they_were_with_later_uses_and_norms():
    def some(*shape):
        return torch.randn(*shape)

    once = Target(torch.arange(5), some(5, 1, 3))
    thrice = Target(torch.arange(2), some(2, 2, 3), [(some(2, 2, 4), some(2, 2, 3))] * 2)
    norms = {"body.1": Statistics(some(3), some(3).square())}
    found = Targets({("body.0.weight", 0): once, ("in_proj weight", 8): thrice}, norms)
    assert same(unpacked_targets(packed_targets(found)), found)
