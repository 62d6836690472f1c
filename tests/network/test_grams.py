"""The oracle is every row of every product, in float64."""

import pytest
import torch
from torch import nn

from chipmend.network import grams as module
from chipmend.network.grams import grams


def taken(model, inputs, *, batch=4, places=10**6):
    return grams(model.eval(), inputs.split(batch), samples=len(inputs), places=places, seed=0)


def unfolded(inputs, kernel=3, padding=1):
    """Rows of a 2d convolution by torch's own unfolding."""
    patches = nn.functional.unfold(inputs.double(), kernel, padding=padding)
    return patches.transpose(1, 2).flatten(0, 1)


def check(gram, block, rows):
    torch.testing.assert_close(gram.mean[block].double(), rows.mean(0), rtol=1e-4, atol=1e-5)
    moments = torch.cov(rows.T, correction=0)
    torch.testing.assert_close(gram.moments[block].double(), moments, rtol=1e-4, atol=1e-4)


def test_a_gram_holds_mean_and_moments_of_all_rows():
    inputs = torch.randn(10, 2, 6, 6) + 5
    found = taken(nn.Conv2d(2, 3, 3, padding=1), inputs)
    check(found["weight"], 0, unfolded(inputs))


def test_single_precision_loses_nothing_to_a_large_mean():
    inputs = torch.randn(4000, 8) * torch.arange(1, 9) + 1000
    found = taken(nn.Linear(8, 2), inputs, batch=500)["weight"].moments[0]
    moments = torch.cov(inputs.double().T, correction=0)
    assert (found - moments).abs().max() < 1e-4 * moments.diagonal().max()


def test_groups_have_inputs_of_their_own():
    inputs = torch.randn(6, 4, 5, 5)
    found = taken(nn.Conv2d(4, 6, 3, padding=1, groups=2), inputs)["weight"]
    assert found.moments.shape == (2, 18, 18)
    for group in range(2):
        check(found, group, unfolded(inputs[:, 2 * group :][:, :2]))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x) + 3)


def test_a_weight_used_twice_pools_both_uses():
    model, inputs = Twice(), torch.randn(20, 4) - 2
    again = model.layer(inputs).detach() + 3
    check(taken(model, inputs)["layer.weight"], 0, torch.cat([inputs, again]).double())


class Tied(nn.Module):
    """A grouped and a plain convolution that share a parameter."""

    def __init__(self):
        super().__init__()
        self.grouped, self.plain = nn.Conv1d(4, 6, 1, groups=2), nn.Conv1d(2, 6, 1)
        self.plain.weight = self.grouped.weight

    def forward(self, x):
        return self.grouped(x), self.plain(x[:, :2] + 1)


def test_uses_of_unlike_groups_are_pooled_block_by_block():
    inputs = torch.randn(30, 4, 2)
    found = taken(Tied(), inputs)["grouped.weight"]
    rows = inputs.transpose(1, 2).flatten(0, 1).double()
    for block in range(2):
        of_group = rows[:, 2 * block :][:, :2]
        check(found, block, torch.cat([of_group, rows[:, :2] + 1]))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        other = x[:, :1] * 2 + 1
        return self.attention(x, other, other)[0]


def test_a_packed_projection_has_a_block_for_each_input():
    inputs = torch.randn(12, 3, 4)
    found = taken(Attending(), inputs)["attention.in_proj_weight"]
    assert found.moments.shape == (3, 4, 4)
    check(found, 0, inputs.flatten(0, 1).double())
    for block in (1, 2):
        check(found, block, inputs[:, 0].double() * 2 + 1)


def test_wide_weights_keep_their_rows(monkeypatch):
    monkeypatch.setattr(module, "WIDEST", 5)
    inputs = torch.randn(10, 6) + 1
    found = taken(nn.Linear(6, 2), inputs)["weight"]
    assert found.moments is None
    torch.testing.assert_close(found.mean[0], inputs.mean(0))
    assert sorted(map(tuple, (found.rows + found.mean).round(decimals=4).tolist())) == sorted(
        map(tuple, inputs.round(decimals=4).tolist())
    )


def test_wide_weights_whose_outputs_have_inputs_of_their_own_keep_moments(monkeypatch):
    torch.manual_seed(0)
    grouped, packed = nn.Conv1d(12, 4, 1, groups=2), Attending()
    channels, tokens = torch.randn(9, 12, 5) + torch.arange(12.0)[:, None], torch.randn(12, 3, 4)
    found = taken(grouped, channels) | taken(packed, tokens)
    monkeypatch.setattr(module, "WIDEST", 3)
    again = taken(grouped, channels) | taken(packed, tokens)
    for name in ("weight", "attention.in_proj_weight"):
        torch.testing.assert_close(again[name].mean, found[name].mean)
        torch.testing.assert_close(again[name].moments, found[name].moments)
    assert again["attention.out_proj.weight"].moments is None


def test_a_share_of_all_rows_is_looked_at_from_every_batch():
    inputs = torch.arange(40.0)[:, None].expand(40, 2)
    found = grams(nn.Linear(2, 1).eval(), inputs.split(4), samples=40, places=10, seed=0)
    again = grams(nn.Linear(2, 1).eval(), inputs.split(4), samples=40, places=10, seed=0)
    other = grams(nn.Linear(2, 1).eval(), inputs.split(4), samples=40, places=10, seed=1)
    assert torch.equal(found["weight"].mean, again["weight"].mean)
    assert not torch.equal(found["weight"].mean, other["weight"].mean)
    assert float(found["weight"].mean[0, 0]) == pytest.approx(19.5, abs=1.6)  # one of each four


def test_a_weight_that_no_input_reaches_has_no_gram():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return self.used(x)

    assert list(taken(Idle(), torch.randn(8, 3))) == ["used.weight"]


def test_the_network_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grams(model, [torch.randn(4, 1, 5, 5)], samples=4, places=10, seed=0)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
