"""Injected flips against the array PE by PE, in front of a whole forward pass."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from chipmend.network.integer.layers import soundly
from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.injection import injected
from chipmend.protect.layers import layers_of
from chipmend.simulate.passes import Passes
from protect import small
from simulate import by_hand
from simulate.examples import columns_of, dense


class Told:
    """Chance that notes what it gave."""

    def __init__(self, seed):
        self.rng, self.given = np.random.default_rng(seed), []

    def integers(self, *how, **more):
        self.given.append(self.rng.integers(*how, **more))
        return self.given[-1]


class Instead:
    """Accumulators of one layer that are given, in sound arithmetic."""

    def __init__(self, name, accumulators):
        self.name, self.accumulators = name, accumulators

    def __call__(self, layer):
        if layer.name != self.name:
            return soundly(layer)
        return lambda inputs: self.accumulators.clone()


@pytest.mark.parametrize("at", range(4))
def test_losses_change_as_flips_on_the_way_of_a_sum_make_them(at, monkeypatch):
    network, batch = small.network(), small.samples(3, 3)
    layer, (inputs, targets) = layers_of(network)[at], batch
    told = Told(at)
    monkeypatch.setattr("chipmend.protect.injection.np.random.Generator", lambda _: told)
    places = {"last.weight": 1, "along.weight": 5}.get(layer.name, 4)
    neuron = (len(layer.layer.numbers) - 1, places - 1)
    found = injected(network, layer, [neuron], [batch], cross_entropy, array=small.ARRAY, seed=0)
    assert found.shape == (1, 22, 3)
    assert found.max() > 0
    passes, rows = told.given
    values = network.begun(inputs)
    network.go_on_(values, 0, layer.at)
    columns = columns_of(layer.layer, layer.inputs(values)) if layer.layer.window else None
    if columns is None:
        columns = layer.inputs(values).long().flatten(0, -2).numpy()[:, :, None]
    which = layer.columns_of(neuron[1], len(columns) // 3, 3).tolist()
    weights = [dense(layer.layer)] * len(columns)
    assert passes.max() < len(Passes(layer.layer.shape, small.ARRAY).slices)
    clean = cross_entropy(network(inputs), targets, reduction="none")
    for bit in (0, 5, 9, 13, 16, 20, 21):
        flips = {
            (neuron[0], column, int(passes[s]), int(rows[bit, 0, s])): [bit]
            for s, column in enumerate(which)
        }
        sums = by_hand.upset_product(columns, weights, small.ARRAY, flips, "accumulator").T
        hit = Instead(layer.name, torch.from_numpy(sums.copy()).int())
        upset = IntegerNetwork(network.lowering, _tensors(network), network.codes, hit)
        changed = cross_entropy(upset(inputs), targets, reduction="none")
        assert torch.allclose(found[0, bit], (changed - clean).abs(), atol=1e-6)


def test_of_a_sample_some_bits_alone_can_be_flipped_round_and_round():
    network, batch = small.network(), small.samples(30, 3)
    layer = layers_of(network)[1]
    whole, some = (
        injected(
            network, layer, [(1, 2)], [batch], cross_entropy, array=small.ARRAY, seed=0, each=each
        )[0]
        for each in (None, 4)
    )
    there = ~some.isnan()
    assert (there.sum(0) == 4).all()
    assert 5 <= there.sum(1).min() <= there.sum(1).max() <= 6
    assert torch.equal(some[there], whole[there])


def _tensors(network):
    return {**network.held, **{name: codes.weight() for name, codes in network.codes.items()}}
