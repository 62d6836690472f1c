"""Queries that are fitted to what is left of keys, against least squares over all equations."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.hardware import Array
from chipmend.network.dynamic import DynamicProducts, Lost
from chipmend.network.queries import Query, queries
from chipmend.repairs import queries as fitting
from chipmend.repairs.queries import fitted_queries, mix_

ARRAY = Array(rows=4, cols=3)
FAULTY = np.zeros((4, 3), dtype=bool)
FAULTY[[0, 2, 1], [1, 2, 0]] = True
X = torch.randn(20, 5, 6, generator=torch.Generator().manual_seed(0))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 3)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Attending().eval()


def operands(model):
    met = []
    with torch.no_grad(), DynamicProducts(model, lambda *pair: met.append(pair) or pair[1]):
        model(X)
    return met[0]


def by_least_squares(q, k, gone, damping):
    """Rows: every query with every key; unknowns: the mixture's numbers, held to the identity."""
    left, size = k * ~gone, q.shape[-1]
    rows = np.concatenate(
        [np.kron(a, b.T) for a, b in zip(q.numpy(), left.numpy(), strict=True)]
    )  # of the mixture in row-major order
    wanted = np.concatenate([(a @ b).numpy().ravel() for a, b in zip(q, k - left, strict=True)])
    moments = rows.T @ rows
    added = damping * moments.diagonal().mean()
    moved = np.linalg.solve(moments + added * np.eye(size**2), rows.T @ wanted)
    return np.eye(size) + moved.reshape(size, size)


def test_mixtures_are_those_of_least_squares(model):
    lost = Lost(FAULTY, ARRAY)
    mixing, work = fitted_queries(model, X, queries(model, X)[0], lost)
    q, k = operands(model)
    for head in range(2):
        outputs = slice(3 * head, 3 * head + 3)
        found = mixing["qkv.weight"][outputs, outputs].T
        expected = by_least_squares(q[:, head], k[:, head], lost(3, 5), fitting.DAMPING)
        assert np.allclose(found.numpy(), expected, atol=1e-3)
    assert torch.equal(mixing["qkv.weight"][6:], torch.eye(18)[6:]), "keys and values are as before"
    assert work > 0


def test_scores_miss_less_once_queries_are_fitted(model):
    lost = Lost(FAULTY, ARRAY)
    mixing, _ = fitted_queries(model, X, queries(model, X)[0], lost)
    fitted = copy.deepcopy(model)
    mix_(fitted, mixing)
    (q, k), (now, same) = operands(model), operands(fitted)
    left, wanted = k * ~lost(3, 5), q @ k
    assert torch.equal(same, k)
    before, after = ((each @ left - wanted).square().mean() for each in (q, now))
    assert after < 0.9 * before


def test_where_nothing_is_lost_nothing_is_mixed(model):
    sound = Lost(np.zeros((4, 3), dtype=bool), ARRAY)
    assert fitted_queries(model, X, queries(model, X)[0], sound) == ({}, 0)


def test_wide_heads_need_no_room_for_their_equations():
    """Moments of 256 numbers a head would be 17 GB."""
    generator = torch.Generator().manual_seed(0)
    q, k = (
        torch.randn(4, 20, 256, generator=generator),
        torch.randn(4, 256, 30, generator=generator),
    )
    gone = torch.rand(256, 30, generator=generator) < 0.2
    query = Query(0, "w", torch.arange(256)[None], torch.zeros(4, dtype=torch.long))
    mixture, _ = fitting._fit(q, k, k * ~gone, query)
    fitted = q @ mixture[0].T
    errors = [((each @ (k * ~gone) - q @ k).square().mean()) for each in (q, fitted)]
    assert errors[1] < 0.2 * errors[0]
