import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.hardware import Array
from chipmend.network import gemms
from chipmend.network.coupling import couplings, permute_
from chipmend.network.grams import grams
from chipmend.network.intercepts import intercepts
from chipmend.repairs.one_shot import clean_layers, one_shot_
from chipmend.repairs.prune import pruned_weights
from chipmend.repairs.remap import remapped
from repairs.networks import inputs, network

ARRAY = Array(rows=8, cols=4)


def faults(seed=0, rate=0.3):
    return np.random.default_rng(seed).random((ARRAY.rows, ARRAY.cols)) < rate


def magnitude(model):
    return {gemm.name: gemm.weight.detach().abs() for gemm in gemms(model)}


def lost(pruned, saliency):
    return sum(float(saliency[name][zero].sum()) for name, zero in pruned.items())


@pytest.mark.parametrize("name", ["residual", "attending", "volume"])
@pytest.mark.parametrize("placement", ["im2col", "channel"])
def test_what_is_lost_is_what_the_permuted_network_loses_on_the_array(name, placement):
    model, array = network(name), Array(rows=8, cols=4, placement=placement)
    found = couplings(model, inputs(name, 4))
    pruned = pruned_weights(model, faults(), array)
    mapping = remapped(pruned, magnitude(model), found)
    permuted, marked = copy.deepcopy(model), copy.deepcopy(model)
    held = dict(marked.named_parameters())
    for parameter in held.values():
        parameter.data.zero_()
    for weight, zero in mapping.pruned.items():
        held[weight].data.copy_(zero)
    for coupling, position in zip(found, mapping.positions, strict=True):
        permute_(permuted, coupling, position)
        permute_(marked, coupling, position)
    for weight, zero in pruned_weights(permuted, faults(), array).items():
        assert torch.equal(held[weight].bool(), zero)  # the logical map, moved, is the physical one


@pytest.mark.parametrize("name", ["residual", "attending", "volume"])
@pytest.mark.parametrize("seed", range(3))
def test_less_saliency_is_lost_than_before(name, seed):
    model = network(name)
    pruned, saliency = pruned_weights(model, faults(seed), ARRAY), magnitude(model)
    mapping = remapped(pruned, saliency, couplings(model, inputs(name, 4)))
    assert lost(mapping.pruned, saliency) < lost(pruned, saliency)
    assert mapping.multiply_adds > 0


def test_on_a_chain_of_two_layers_it_is_the_best_of_all_permutations():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    saliency, array = magnitude(model), Array(rows=3, cols=5)
    faulty = np.random.default_rng(0).random((3, 5)) < 0.4
    pruned = pruned_weights(model, faulty, array)
    best = min(
        float(saliency["0.weight"][pruned["0.weight"][list(order)]].sum())
        + float(saliency["2.weight"][pruned["2.weight"][:, list(order)]].sum())
        for order in itertools.permutations(range(5))
    )
    mapping = remapped(pruned, saliency, couplings(model, torch.randn(4, 6)))
    assert lost(mapping.pruned, saliency) == pytest.approx(best)


def test_a_perfect_chip_keeps_its_mapping():
    model = network("residual")
    pruned = pruned_weights(model, faults(rate=0), ARRAY)
    mapping = remapped(pruned, magnitude(model), couplings(model, inputs("residual", 4)))
    assert all((p == np.arange(len(p))).all() for p in mapping.positions)


def test_channels_stay_within_their_blocks():
    model = network("residual")
    found = couplings(model, inputs("residual", 4))
    mapping = remapped(pruned_weights(model, faults(), ARRAY), magnitude(model), found)
    for coupling, position in zip(found, mapping.positions, strict=True):
        assert (coupling.block[position] == coupling.block).all()
        assert sorted(position) == list(range(len(position)))


@pytest.mark.parametrize("seed", range(4))
def test_lost_weights_taken_together_give_the_best_of_all_permutations_of_a_layer(seed):
    """Only the first layer is faulty: then the objective is the compensated loss itself."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    some = torch.randn(200, 8) @ torch.randn(8, 8)
    known = grams(model, [some], samples=len(some), places=10**9, seed=0)
    layers = clean_layers(model, known, intercepts(model, some[:2]), 0.01)
    saliency = {name: layer.saliency() for name, layer in layers.items()}
    pruned = pruned_weights(model, faults(seed, 0.4), ARRAY)
    pruned["2.weight"] = torch.zeros_like(pruned["2.weight"])

    def loss(lost):
        losses, _ = one_shot_(copy.deepcopy(model), layers, {**pruned, "0.weight": lost})
        return float((losses["0.weight"] / layers["0.weight"].power).mean())

    found = remapped(pruned, saliency, couplings(model, some[:4]), layers, sweeps=1)
    orders = itertools.permutations(range(4))
    best = min(loss(pruned["0.weight"][list(order)]) for order in orders)
    assert loss(found.pruned["0.weight"]) == pytest.approx(best, rel=1e-4)


def test_depthwise_channels_are_weighed_with_their_own_inputs_wherever_they_go():
    """Depthwise outputs have inputs of their own, so what is lost together cannot be compared."""
    model, some = network("residual"), inputs("residual")
    found = couplings(model, some[:4])
    known = grams(model, [some], samples=len(some), places=10**9, seed=0)
    layers = clean_layers(model, known, intercepts(model, some[:2]), 0.01)
    saliency = magnitude(model)
    only = {"depthwise.weight": layers["depthwise.weight"]}
    pruned = pruned_weights(model, faults(), ARRAY)
    with_it = remapped(pruned, saliency, found, only, sweeps=2)
    without = remapped(pruned, saliency, found)
    assert [p.tolist() for p in with_it.positions] == [p.tolist() for p in without.positions]


class Looped(nn.Module):
    """Two layers each take in and give out the channels of one sum."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = (
            nn.Conv2d(given, 16, size, padding="same") for given, size in ((3, 1), (16, 3), (16, 3))
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.first(x).relu()
        x = x + self.second(x).relu()
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_where_a_weight_lies_between_the_same_channels_nothing_gets_worse(rate):
    array, gained = Array(rows=16, cols=16, placement="channel"), 0
    for seed in range(6):
        torch.manual_seed(seed)
        model = Looped().eval()
        with torch.no_grad():
            model.stem.weight.mul_(0.01)
            model.head.weight.mul_(0.01)
        faulty = np.random.default_rng(seed).random((16, 16)) < rate
        pruned, saliency = pruned_weights(model, faulty, array), magnitude(model)
        mapping = remapped(pruned, saliency, couplings(model, torch.randn(4, 3, 8, 8)))
        before, after = lost(pruned, saliency), lost(mapping.pruned, saliency)
        assert after <= before
        gained += after < before
    assert gained > 0
