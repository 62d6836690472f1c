"""Products of two activations, met however they are written."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from chipmend.errors import NetworkError
from chipmend.hardware import Array
from chipmend.network.dynamic import (
    DynamicProducts,
    Lost,
    attention,
    has_dynamic_products,
    lose_in_products_,
)

X, Y = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
BIAS = torch.randn(2, 3, 5)

WRITTEN = {
    "@": lambda: X @ Y,
    "matmul": lambda: torch.matmul(X, Y),
    "matmul by name": lambda: torch.matmul(input=X, other=Y),
    "matmul half by name": lambda: torch.matmul(X, other=Y),
    "method": lambda: X.matmul(Y),
    "linalg": lambda: torch.linalg.matmul(X, Y),
    "bmm": lambda: torch.bmm(X, Y),
    "bmm by name": lambda: torch.bmm(X, mat2=Y),
    "bmm method": lambda: X.bmm(Y),
    "mm": lambda: torch.mm(X[0], Y[0]),
    "mm method": lambda: X[0].mm(Y[0]),
    "added to": lambda: torch.baddbmm(BIAS, X, Y),
    "added to by name": lambda: torch.baddbmm(BIAS, batch1=X, batch2=Y),
    "added to in place": lambda: BIAS.clone().baddbmm_(X, Y),
    "addmm": lambda: torch.addmm(BIAS[0], X[0], Y[0], beta=2),
    "addmm by name": lambda: BIAS[0].addmm(mat1=X[0], mat2=Y[0]),
    "einsum": lambda: torch.einsum("bij,bjk->bik", X, Y),
    "einsum of a list": lambda: torch.einsum("bij, bjk -> bik", [X, Y]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_product_is_met_however_it_is_written(name):
    met = []

    def doubled(left, right):
        met.append((left, right))
        return 2 * right

    expected, added = WRITTEN[name](), "add" in name
    with DynamicProducts(nn.Identity(), doubled):
        found = WRITTEN[name]()
    ((left, right),) = met
    more = left @ right
    assert torch.allclose(found, expected + more.view(expected.shape), atol=1e-5)
    assert added or torch.allclose(found, 2 * expected, atol=1e-5)


def test_products_with_what_the_network_holds_are_none():
    network = nn.Linear(4, 4)
    network.register_buffer("held", torch.randn(4, 4))
    met = []
    with DynamicProducts(network, lambda _, right: met.append(right) or right):
        network(X)
        X @ network.weight.T
        torch.einsum("bij,jk->bik", X, network.held)
        torch.matmul(network.held[:2, None, :4], Y)
    assert not met


class Odd(nn.Module):
    """What a forward pass may do with what the network holds, and with activations."""

    def __init__(self, forward):
        super().__init__()
        self.w, self.h = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(2))
        self.register_buffer("last", torch.zeros(4, 4))
        self.register_buffer("adj", torch.eye(4).to_sparse())
        self.made = forward

    def forward(self, x):
        return self.made(self, x)


def kept(self, x):
    """A buffer that is set anew in every pass."""
    self.last = x.mean(0)
    return x @ self.last.T.clone()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda self, x: x @ x.mT, 1),
        (lambda self, x: x.float() @ self.w.float(), 0),  # a copy of what the network holds
        (lambda self, x: x @ (self.w @ self.w.T).softmax(-1), 0),
        (lambda self, x: x * torch.einsum("i,j->ij", torch.arange(4.0), torch.ones(4)), 0),
        (lambda self, x: torch.einsum("bij,bi->bij", x, x.mean(-1)), 0),  # nothing is summed up
        (lambda self, x: torch.sparse.mm(self.adj.float(), x[0].float()), 0),
        (kept, 1),
        (lambda self, x: x @ x.mean((0, 1)), 1),  # a matrix and a row
        (lambda self, x: x.mean((0, 1)) @ x.mT, 1),
        (lambda self, x: torch.zeros_like(x).copy_(x) @ x.mT, 1),
        (lambda self, x: x @ torch.zeros(4, 4).add_(x[0]).to(x.dtype), 1),
    ],
)
def test_activations_are_what_depends_on_the_input(forward, expected, dtype):
    network, x, met = Odd(forward), torch.randn(3, 4, 4).to(dtype), []

    def meet(left, right):
        assert left.dim() > 1
        assert right.dim() > 1
        met.append(right)
        return right

    plain = network.to(dtype)(x)
    for _ in range(3):
        met.clear()
        with DynamicProducts(network, meet):
            found = network(x)
        assert len(met) == expected
        assert torch.allclose(found.float(), plain.float(), atol=1e-2)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: torch.einsum("bij,bkj,b->bik", x, x, self.h[:1].expand(3)),
        lambda self, x: torch.tensordot(x, x, ([2], [2])),
        lambda self, x: torch.inner(x, x),
        lambda self, x: torch.mv(x[0], x[0, 0]),
    ],
)
def test_products_that_cannot_be_laid_on_the_array_are_refused_by_name(forward):
    network = Odd(forward)
    with pytest.raises(NetworkError, match="cannot be laid on the array"):
        has_dynamic_products(network, torch.randn(3, 4, 4))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": torch.randn(4, 4)},
        {"attn_mask": torch.ones(4, 4, dtype=torch.bool).tril()},
        {"enable_gqa": True},
    ],
)
def test_attention_in_parts_is_attention(options):
    q, k, v = torch.randn(3, 2, 4, 4, 8)
    if "enable_gqa" in options:
        k, v = k[:, :2], v[:, :2]
    expected = functional.scaled_dot_product_attention(q, k, v, **options)
    assert torch.allclose(attention(q, k, v, **options), expected, atol=1e-5)


def test_who_sees_nobody_takes_nothing():
    q, k, v = torch.randn(3, 2, 4, 8)
    seen = torch.ones(4, 4, dtype=torch.bool)
    seen[1] = False
    expected = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    assert torch.allclose(attention(q, k, v, attn_mask=seen), expected, atol=1e-5)


def test_a_scale_of_nothing_is_one():
    q, k, v = torch.randn(3, 2, 4, 8)
    expected = v.mean(-2, keepdim=True).expand(2, 4, 8)
    assert torch.allclose(attention(q, k, v, scale=0.0), expected, atol=1e-6)


def test_dropout_within_attention_drops():
    q, k, v = torch.randn(3, 1, 50, 8)
    assert not torch.equal(attention(q, k, v, dropout_p=0.5), attention(q, k, v))


MODULES = {
    "with weights": {},
    "without weights": {"need_weights": False},
    "masked": {"attn_mask": torch.zeros(5, 5)},
    "padded": {"key_padding_mask": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])},
    "causal": {
        "attn_mask": torch.ones(5, 5).triu(1).bool(),
        "is_causal": True,
        "need_weights": False,
    },
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("grad", [True, False])
def test_pytorchs_module_is_taken_apart(name, grad):
    module, x, met = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.randn(2, 5, 8), []
    with torch.set_grad_enabled(grad):
        expected = module(x, x, x, **MODULES[name])[0]
        with DynamicProducts(module, lambda *pair: met.append(pair) or pair[1]):
            found = module(x, x, x, **MODULES[name])[0]
    assert len(met) == 2
    assert torch.allclose(found, expected, atol=1e-6)


def test_its_fast_path_is_not_taken_behind_ones_back():
    layer, met = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), []
    with torch.no_grad(), DynamicProducts(layer, lambda *pair: met.append(pair) or pair[1]):
        layer(torch.randn(2, 5, 8))
    assert len(met) == 2


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(4, 12), nn.Linear(4, 4)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj(functional.scaled_dot_product_attention(q, k, v))


ARRAY = Array(rows=3, cols=2)
FAULTY = np.array([[False, True], [True, False], [False, False]])


def by_hand(network, x):
    """Key and value, element by element of the operand that the array holds."""
    q, k, v = network.qkv(x).chunk(3, -1)
    seen = []
    for queries, keys, values in zip(q, k, v, strict=True):
        keys, values = keys.clone(), values.clone()
        for token in range(len(keys)):
            for feature in range(4):
                if FAULTY[feature % 3, token % 2]:  # rows take the features, columns the tokens
                    keys[token, feature] = 0
                if FAULTY[token % 3, feature % 2]:
                    values[token, feature] = 0
        seen.append((queries @ keys.T / 2).softmax(-1) @ values)
    return network.proj(torch.stack(seen))


def test_operands_on_faulty_pes_are_lost_at_run_time_and_gradients_know_it():
    torch.manual_seed(0)
    network, x = Attending(), torch.randn(3, 5, 4)
    losing = copy.deepcopy(network)
    lose_in_products_(losing, Lost(FAULTY, ARRAY))
    expected, found = by_hand(network, x), losing(x)
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, network(x), atol=1e-3)
    expected.square().sum().backward()
    found.square().sum().backward()
    pairs = zip(network.parameters(), losing.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-5) for a, b in pairs)


def test_copies_of_a_network_that_loses_operands_lose_them_too():
    torch.manual_seed(0)
    network, x = Attending(), torch.randn(3, 5, 4)
    clean = network(x)
    lose_in_products_(network, Lost(FAULTY, ARRAY))
    expected = network(x)
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        with torch.no_grad():
            assert torch.equal(copied(x), expected)
            copied.proj.weight += 1  # of the copy alone
        assert torch.equal(network(x), expected)
    with torch.no_grad():
        assert torch.equal(Attending.forward(network, x), clean), "forward itself is as it was"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_whatever_cuts_a_pass_off_products_elsewhere_stay_whole(error):
    class CutOff(nn.Module):
        def forward(self, x):
            raise error

    network = CutOff()
    lose_in_products_(network, Lost(np.ones((2, 2), dtype=bool), Array(rows=2, cols=2)))
    with pytest.raises(error):
        network(torch.ones(2, 2))
    assert (torch.ones(2, 4, 4) @ torch.ones(2, 4, 4) == 4).all()


def test_losing_twice_is_losing_as_told_last():
    torch.manual_seed(0)
    network, x = Attending(), torch.randn(3, 5, 4)
    lose_in_products_(network, Lost(np.ones((3, 2), dtype=bool), ARRAY))
    lose_in_products_(network, Lost(FAULTY, ARRAY))
    assert torch.allclose(network(x), by_hand(network, x), atol=1e-6)


def test_an_error_on_the_way_leaves_nothing_behind():
    network = Attending()
    lose_in_products_(network, Lost(FAULTY, ARRAY))
    with pytest.raises(RuntimeError):
        network(torch.randn(3, 5, 7))
    x, y = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    assert torch.equal(x @ y, torch.bmm(x, y))


def test_a_network_that_loses_operands_can_be_exported():
    network, x = Attending().eval(), torch.randn(3, 5, 4)
    lose_in_products_(network, Lost(FAULTY, ARRAY))
    exported = torch.export.export(network, (x,)).module()
    assert torch.allclose(exported(x), network(x), atol=1e-6)


def test_networks_know_whether_they_have_any():
    assert has_dynamic_products(Attending(), torch.randn(2, 5, 4))
    assert not has_dynamic_products(nn.Linear(4, 2), torch.randn(2, 4))
