"""Activations that reach less far: cut off where they end, in finer steps, and flips do less."""

import pytest
import torch

from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.design.ranges import with_range
from chipmend.protect.vulnerability.layers import layers_of
from chipmend.protect.vulnerability.slopes import activations
from chipmend.simulate import BitErrors, UpsetArray
from protect import small


@pytest.fixture(scope="module")
def network():
    return small.network()


def weights(network):
    return {**{n: c.weight() for n, c in network.codes.items()}, **network.held}


def test_all_of_the_range_is_the_same_network(network):
    inputs, _ = small.samples(64, 5)
    assert torch.equal(with_range(network, weights(network), 1.0)(inputs), network(inputs))


@pytest.mark.parametrize("share", [0.8, 0.3])
def test_the_first_layer_gives_what_it_did_up_to_where_its_grid_ends(network, share):
    inputs, _ = small.samples(64, 5)
    found = with_range(network, weights(network), share)
    name = layers_of(network)[0].stage.result
    before, now = (activations(each, inputs)[0][name] for each in (network, found))
    step, most = (getattr(network.grids[name], n) for n in ("step", "most"))
    assert found.grids[found.lowering.graph.input] == network.grids[network.lowering.graph.input]
    assert now.max() == pytest.approx(share * step * most)
    ends = share * step * torch.tensor([network.grids[name].least, most])
    within = (1 + share) * step / 2 + 1e-6
    assert (now - before.clamp(*ends)).abs().max() <= within
    assert len(now.unique()) > len(before.clamp(*ends).unique())


def test_flips_change_outputs_the_less_the_less_far_activations_reach(network):
    inputs, _ = small.samples(512, 6)
    changes = []
    for share in (1.0, 0.5, 0.25):
        sound = with_range(network, weights(network), share)
        on = UpsetArray(small.ARRAY, BitErrors(accumulator=2e-4), seed=0)
        upset = IntegerNetwork(sound.lowering, weights(network), sound.codes, on)
        changes.append(float((upset(inputs) - sound(inputs)).abs().mean()))
    assert changes[0] > 1.2 * changes[1] > 1.44 * changes[2] > 0
