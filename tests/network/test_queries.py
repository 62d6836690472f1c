"""Where the left operands of products of activations come from."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from chipmend.network.gemm import gemms
from chipmend.network.queries import mixed_, mixing_of, queries


class Attending(nn.Module):
    """Two heads of three numbers each; what is done with queries is given."""

    def __init__(self, ask=lambda q, k: (q, k), bias=True):
        super().__init__()
        self.qkv, self.proj = nn.Linear(6, 18, bias=bias), nn.Linear(6, 6)
        self.ask = ask

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 3)).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.ask(q, k)
        seen = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(seen.transpose(1, 2).flatten(2))


class Module(nn.Module):
    def __init__(self, **more):
        super().__init__()
        self.attention, self.more = nn.MultiheadAttention(6, 2, batch_first=True), more

    def forward(self, x):
        return self.attention(x, x, x, **self.more)[0]


X = torch.randn(5, 4, 6)


def made(model):
    torch.manual_seed(0)
    return model().eval()


@pytest.mark.parametrize(
    ("model", "weight"),
    [
        (Attending, "qkv.weight"),
        (lambda: Attending(bias=False), "qkv.weight"),
        (lambda: Attending(lambda q, k: (q / 3, k)), "qkv.weight"),
        (Module, "attention.in_proj_weight"),
        (lambda: Module(need_weights=False), "attention.in_proj_weight"),
    ],
)
def test_queries_are_found_through_whatever_moves_and_scales_them(model, weight):
    ((query,), _) = queries(made(model), X)
    assert (query.product, query.weight) == (0, weight)
    assert query.outputs.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert query.heads.tolist() == [0, 1] * 5, "head after head, for each sample"


@pytest.mark.parametrize(
    "ask",
    [
        lambda q, k: (q.tanh(), k),  # more than moved
        lambda q, k: (q + k, k),  # more than one source
        lambda q, k: (q, q),  # of further use
        lambda q, k: (q * torch.tensor([1.0, 2.0, 3.0]), k),  # scaled one by one
        lambda q, k: (q + torch.arange(4.0)[:, None], k),  # unlike from token to token
    ],
)
def test_what_cannot_be_mixed_ahead_is_none(ask):
    assert queries(made(lambda: Attending(ask)), X)[0] == []


def test_networks_without_attention_have_none():
    assert queries(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)), X)[0] == []


def test_outputs_are_replaced_by_mixtures_of_them():
    network = made(lambda: nn.Linear(4, 3))
    expected, mixing = network(torch.eye(4)), torch.randn(3, 3)
    mixed_(network, gemms(network)[0], mixing)
    assert torch.allclose(network(torch.eye(4)), expected @ mixing.T, atol=1e-6)


def test_mixtures_of_heads_are_put_where_their_outputs_are():
    mixtures = torch.randn(2, 2, 2)
    found = mixing_of(torch.tensor([[4, 0], [1, 3]]), mixtures, 5)
    outputs = torch.randn(5)
    mixed = found @ outputs
    assert torch.allclose(mixed[[4, 0]], mixtures[0] @ outputs[[4, 0]])
    assert torch.allclose(mixed[[1, 3]], mixtures[1] @ outputs[[1, 3]])
    assert mixed[2] == outputs[2]


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.b(x[0]) @ self.a(x[0]).T,  # one matrix for all samples
        lambda self, x: self.b(self.own) @ self.a(x).mT,  # of no sample
        lambda self, x: self.b(x[:1]) @ self.a(x).mT,  # the same for all
    ],
)
def test_operands_that_are_no_matrix_for_each_sample_are_none(forward):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.own = (
                nn.Linear(6, 6),
                nn.Linear(6, 6),
                nn.Parameter(torch.randn(1, 3, 6)),
            )

        def forward(self, x):
            return forward(self, x)

    assert queries(Odd(), X)[0] == []


def test_networks_of_several_outputs_are_tried_by_all():
    class Several(Attending):
        def forward(self, x):
            return super().forward(x), {"more": x.sum()}

    assert len(queries(made(Several), X)[0]) == 1
