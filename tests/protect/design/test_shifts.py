import itertools

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.design.shifts import chosen, sets, with_shifts
from chipmend.protect.vulnerability.layers import layers_of
from exported import in_integers
from protect import small


@pytest.fixture(scope="module")
def network():
    return small.network()


def weights(network):
    return {**{n: c.weight() for n, c in network.codes.items()}, **network.held}


@pytest.mark.parametrize("shifts", [(6,), (5, 7), (4, 6, 8)])
def test_every_factor_is_one_of_the_shifts(network, shifts):
    found = with_shifts(network, weights(network), shifts)
    for layer in layers_of(found):
        if layer.end.grid is None:
            continue
        factors = (layer.end.factor / layer.end.grid.step).numpy()
        assert set(np.log2(factors).round(9)) <= {-float(s) for s in shifts}
        multiplier = layer.end.fixed.multiplier
        assert (torch.log2(multiplier) % 1 == 0).all()  # a power of two and nothing else
        assert layer.layer.numbers.abs().max() <= 127


def test_weights_stay_what_they_are_within_half_a_step(network):
    real = weights(network)
    shifts = next(sets(network, 4))
    found = with_shifts(network, real, shifts)
    for layer in layers_of(found):
        codes = found.codes[layer.name]
        steps = codes.step.abs().view(-1, *[1] * (codes.numbers.dim() - 1))
        inside = codes.numbers.abs() < 127
        error = (codes.weight() - real[layer.name]).abs() / steps
        assert error[inside].max() <= 0.5 + 1e-4


def test_the_largest_shift_that_does_not_clip_is_taken(network):
    before = {la.name: la for la in layers_of(network)}
    for layer in layers_of(with_shifts(network, weights(network), (3, 5, 6, 7))):
        if layer.end.grid is None:
            continue
        was = (before[layer.name].end.factor / layer.end.grid.step).abs()
        now = layer.end.factor / layer.end.grid.step
        for old, new in zip(was.tolist(), now.tolist(), strict=True):
            fitting = [s for s in (3, 5, 6, 7) if 2.0**-s >= old * (1 - 1e-12)]
            assert new == pytest.approx(2.0 ** -max(fitting, default=3))


def test_the_set_that_scores_best_is_chosen(network):
    wanted = list(itertools.islice(sets(network, 2), 6))[1]
    seen = []

    def score(candidate):
        seen.append(candidate)
        return float(len(seen) == 2)

    shifts, found = chosen(network, weights(network), 2, score)
    assert shifts == wanted
    assert found is seen[1]


def test_dead_channels_stay_as_they_are():
    network = small.network()
    held = {**network.held, "norm.weight": network.held["norm.weight"].clone()}
    held["norm.weight"][2] = 0
    dead = IntegerNetwork(network.lowering, {**weights(network), **held}, network.codes)
    shifts, found = chosen(dead, weights(network), 2, lambda _: 0.0)
    assert len(shifts) == 2
    assert torch.equal(found.codes["first.weight"].step[2], network.codes["first.weight"].step[2])
    inputs, _ = small.samples(20, 4)
    assert found(inputs).isfinite().all()


def test_a_network_without_a_next_grid_needs_no_shifts():
    torch.manual_seed(0)
    inputs = torch.randn(50, 6)
    network = in_integers(nn.Sequential(nn.Linear(6, 3)).eval(), inputs)
    shifts, found = chosen(network, weights(network), 2, lambda _: 0.0)
    assert shifts == ()
    assert torch.equal(found(inputs), network(inputs))
