import copy
import logging
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.network.coupling import couplings, permute_
from repairs.networks import inputs, network


def joined(coupling):
    """What moves together: names of weights with the axis that moves."""
    return {(moved.name, moved.axis) for moved in coupling.moved if "weight" in moved.name}


def blocks(coupling):
    return sorted(np.bincount(coupling.block).tolist())


def test_sums_concatenations_depthwise_and_grouped_layers_tie_channels():
    found = couplings(network("residual"), inputs("residual", 4))
    by_first = {min(joined(coupling)): coupling for coupling in found}
    stream = by_first["depthwise.weight", 0]
    assert joined(stream) == {
        ("stem.weight", 0), ("norm.weight", 0), ("first.weight", 1), ("second.weight", 0),
        ("outer.weight", 0), ("depthwise.weight", 0), ("grouped.weight", 1), ("joined.weight", 1),
    }  # fmt: skip
    assert blocks(stream) == [4, 4]  # the grouped layer takes four channels in each group
    assert joined(by_first["first.weight", 0]) == {
        ("first.weight", 0), ("inner.weight", 0), ("second.weight", 1),
    }  # fmt: skip
    assert joined(by_first["grouped.weight", 0]) == {("grouped.weight", 0), ("joined.weight", 1)}
    assert blocks(by_first["grouped.weight", 0]) == [2, 2]
    assert joined(by_first["head.weight", 1]) == {("joined.weight", 0), ("head.weight", 1)}
    assert len(found) == 4


@pytest.mark.parametrize("name", ["residual", "attending", "volume"])
def test_the_function_is_the_same_after_any_permutation_of_all_couplings(name):
    model, some = network(name), inputs(name, 8)
    found = couplings(model, some)
    assert found
    moved = copy.deepcopy(model)
    random = np.random.default_rng(0)
    for coupling in found:
        position = np.arange(len(coupling.block))
        for label in np.unique(coupling.block):
            ours = np.flatnonzero(coupling.block == label)
            position[ours] = random.permutation(ours)
        permute_(moved, coupling, position)
    with torch.no_grad():
        torch.testing.assert_close(moved(some), model(some), rtol=1e-4, atol=1e-5)
    held = dict(moved.named_parameters())
    assert any(not torch.equal(held[key], value) for key, value in model.named_parameters())


def test_a_flattened_channel_moves_all_its_features():
    model = network("volume")
    (coupling,) = couplings(model, inputs("volume", 4))
    moved = {each.name: each for each in coupling.moved}
    assert moved["3.weight"].index.tolist() == np.arange(32).reshape(4, 8).tolist()
    permuted = copy.deepcopy(model)
    permute_(permuted, coupling, np.array([1, 2, 3, 0]))
    before, after = model[3].weight.unflatten(1, (4, 8)), permuted[3].weight.unflatten(1, (4, 8))
    assert torch.equal(after[:, [1, 2, 3, 0]], before)
    assert torch.equal(permuted[0].weight[[1, 2, 3, 0]], model[0].weight)


class Gated(nn.Module):
    """Halves of one layer's outputs are multiplied with each other: they cannot move freely."""

    def __init__(self):
        super().__init__()
        self.gated, self.free, self.head = nn.Linear(4, 8), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        left, right = self.gated(x).chunk(2, 1)
        return self.head(self.free(left * right.sigmoid()).relu())


def test_what_cannot_be_permuted_keeps_its_place_and_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        found = couplings(Gated(), torch.randn(4, 4))
    assert [joined(coupling) for coupling in found] == [{("free.weight", 0), ("head.weight", 1)}]
    assert "gated.weight" in caplog.text
    assert "head" not in caplog.text, (
        "that the network's outputs keep their places is a matter of course"
    )


class Weighted(nn.Module):
    """One channel counts more than the others, by a number that does not move with it."""

    def __init__(self, channels, special):
        super().__init__()
        self.first, self.last = nn.Linear(4, channels), nn.Linear(channels, 3)
        self.weights = torch.ones(channels)
        self.weights[special] = 1.5

    def forward(self, x):
        return self.last((self.first(x) * self.weights).relu())


@pytest.mark.parametrize(
    ("channels", "special"), [(2, 0), (2, 1), (4, 3), (8, 0), (8, 7), (64, 63)]
)
def test_a_single_channel_that_differs_keeps_all_in_their_places(channels, special, caplog):
    torch.manual_seed(0)
    assert couplings(Weighted(channels, special), torch.randn(8, 4)) == []
    assert "first.weight" in caplog.text


class Cyclic(nn.Module):
    """Three channels that may be turned round, but not exchanged."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x):
        x = self.first(x)
        return self.last((x + 2 * x.roll(1, 1)).relu())


def test_channels_that_can_only_be_turned_round_keep_their_places():
    torch.manual_seed(0)
    assert couplings(Cyclic(), torch.randn(8, 4)) == []


def test_the_two_permutations_that_are_tried_make_up_all_others():
    (coupling,) = couplings(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), torch.randn(8, 4))
    reached, fresh = set(), {tuple(range(5))}
    while fresh:
        reached |= fresh
        steps = (tuple(p[list(known)]) for p in coupling.generators() for known in fresh)
        fresh = set(steps) - reached
    assert len(reached) == 120


def test_attention_keeps_its_places_and_the_rest_is_permuted(caplog):
    found = couplings(network("attending"), inputs("attending", 4))
    assert [joined(coupling) for coupling in found] == [
        {("encoder.linear1.weight", 0), ("encoder.linear2.weight", 1)}
    ]
    assert "MultiheadAttention" in caplog.text


def test_the_network_is_left_as_it_was():
    model = network("residual").train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    couplings(model, inputs("residual", 4))
    assert all(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Tied(nn.Module):
    """Two layers that share a weight, and two outputs."""

    def __init__(self):
        super().__init__()
        self.first, self.tied, self.free = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 5)
        self.tied.weight = self.first.weight
        self.heads = nn.ModuleList([nn.Linear(5, 2), nn.Linear(5, 3)])

    def forward(self, x):
        x = self.free(self.tied(self.first(x).relu()).relu()).relu()
        return tuple(head(x) for head in self.heads)


def test_shared_weights_keep_their_places_and_several_outputs_are_all_looked_at(caplog):
    with caplog.at_level(logging.WARNING):
        found = couplings(Tied(), torch.randn(4, 6))
    free = {("free.weight", 0), ("heads.0.weight", 1), ("heads.1.weight", 1)}
    assert [joined(coupling) for coupling in found] == [free]
    assert "tied.weight" in caplog.text or "first.weight" in caplog.text


class Telling(nn.Module):
    """Gives out a scalar, a mask and counts beside its scores."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        scores = self.body(x)
        return scores, self.scale, scores > 0, (scores > 0).sum(1)


def test_outputs_that_are_no_scores_do_not_stand_in_the_way():
    (found,) = couplings(Telling(), torch.randn(4, 6))
    assert joined(found) == {("body.0.weight", 0), ("body.2.weight", 1)}


class Chain(nn.Module):
    def __init__(self, taken=8):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(taken, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.after(self.first(x))

    def after(self, h):
        return self.head(self.second(h).mean((2, 3)))


class Shuffled(Chain):
    def __init__(self):
        super().__init__(taken=2)

    def forward(self, x):
        return self.after(nn.functional.pixel_shuffle(self.first(x), 2))


class Crossed(Chain):
    def forward(self, x):
        a, b = self.first(x).chunk(2, 1)
        return self.after(torch.cat([b * a, a], 1))


@dataclass
class Said:
    scores: torch.Tensor


class Wrapped(Chain):
    def forward(self, x):
        return Said(super().forward(x))


class Silent(Chain):
    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)


@pytest.mark.parametrize("kind", [Shuffled, Crossed, Wrapped, Silent])
def test_what_cannot_be_followed_keeps_its_places_and_that_is_told(kind, caplog):
    model, some = kind().eval(), torch.randn(4, 3, 8, 8)
    with caplog.at_level(logging.WARNING):
        found = couplings(model, some)
    assert {coupling.tensors[0].partition(".")[0] for coupling in found} <= {"second"}
    assert "keep their places" in caplog.text or "no channels of the network" in caplog.text


def test_a_parameter_without_gradients_does_not_stand_in_the_way():
    model = Chain().eval()
    model.steps = nn.Parameter(torch.tensor([3]), requires_grad=False)
    assert len(couplings(model, torch.randn(4, 3, 8, 8))) == 2
