"""Which operations are carried out as one, and on what."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from chipmend.errors import NetworkError
from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.graph import traced
from chipmend.network.integer.network import IntegerNetwork, lowering
from chipmend.network.integer.stages import UNBOUNDED, Kind, staged


def stages_of(model, *sizes, float_allowed=False):
    graph = traced(model.eval(), torch.randn(2, *sizes))
    return staged(graph, [g.name for g in gemms(model)], float_allowed=float_allowed)


def kinds(model, *sizes, **options):
    return [s.kind for s in stages_of(model, *sizes, **options) if s.kind is not Kind.NUMBER]


class Function(nn.Module):
    """A product, something done with its outputs, and a last product."""

    def __init__(self, function, last=4):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(last, 3)
        self.function = function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def test_product_norm_and_activation_are_one():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Flatten(), nn.Linear(64, 3)
    )
    first, _, last = (s for s in stages_of(model, 2, 6, 6) if s.kind is not Kind.NUMBER)
    assert first.kind is Kind.PRODUCT
    assert first.norm is not None
    assert (first.norm.mean, first.norm.weight) == ("1.running_mean", "1.weight")
    assert first.bounds == (0, 6)
    assert first.integer
    assert (last.norm, last.bounds, last.integer) == (None, UNBOUNDED, False)


def test_what_is_needed_twice_ends_a_stage():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)
            self.last = nn.Conv2d(4, 3, 1)

        def forward(self, x):
            x = self.first(x)
            return self.last(self.norm(x).relu() + x)

    assert kinds(Twice(), 2, 4, 4) == [Kind.PRODUCT, Kind.NORM, Kind.SUM, Kind.PRODUCT]


def test_a_norm_over_other_channels_than_a_linear_layers_stands_alone():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(5), nn.Linear(4, 2))
    assert kinds(model, 5, 4) == [Kind.PRODUCT, Kind.NORM, Kind.PRODUCT]
    assert kinds(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)), 4) == [Kind.PRODUCT]


AVERAGES = {
    "all": (lambda x: x.mean((2, 3)), 36),
    "adaptive": (lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1), 36),
    "pool": (lambda x: functional.avg_pool2d(x, 2).amax((2, 3)), 4),
    "pool of unlike sides": (lambda x: functional.avg_pool2d(x, (2, 3)).amax((2, 3)), 6),
    "padded": (lambda x: functional.avg_pool2d(x, 3, 1, 1).amax((2, 3)), 9),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_over_equally_many_places_are_integer(name):
    function, places = AVERAGES[name]
    found = stages_of(Function(function), 2, 6, 6)
    assert [s.places for s in found if s.kind is Kind.AVERAGE] == [places]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False).amax((2, 3)),
        lambda x: functional.adaptive_avg_pool2d(x, 4).amax((2, 3)),
        lambda x: functional.avg_pool2d(x, 4, ceil_mode=True).amax((2, 3)),
        lambda x: functional.avg_pool2d(x, 2, divisor_override=3).amax((2, 3)),
    ],
)
def test_averages_over_unlike_numbers_of_places_are_not_known(function):
    with pytest.raises(NetworkError, match="pool2d"):
        stages_of(Function(function), 2, 6, 6)


def test_what_only_moves_numbers_stays_integer():
    def moved(x):
        x = functional.max_pool2d(x, 2).transpose(2, 3).contiguous()
        x = functional.adaptive_avg_pool2d(x, 3)  # leaves 3 x 3 as they are
        a, b = x.chunk(2, 1)
        return torch.cat([b, a], 1)[:, :, 1].flatten(1)

    found = stages_of(Function(moved, last=12), 2, 6, 6)
    assert {s.kind for s in found} <= {Kind.PRODUCT, Kind.MOVE, Kind.JOIN, Kind.NUMBER}
    assert all(s.integer for s in found[:-1])


@pytest.mark.parametrize(
    ("activation", "bounds"),
    [
        (functional.relu, (0, math.inf)),
        (functional.relu6, (0, 6)),
        (functional.hardtanh, (-1, 1)),
        (lambda x: x.clamp(max=2), (-math.inf, 2)),
        (lambda x: x.clamp_min(-3), (-3, math.inf)),
        (lambda x: functional.threshold(x, 0, 0), None),
    ],
)
def test_activations_that_bound_are_known(activation, bounds):
    model = Function(lambda x: activation(x).amax((2, 3)))
    if bounds is None:
        with pytest.raises(NetworkError, match="in the network itself"):
            stages_of(model, 2, 6, 6)
    else:
        assert stages_of(model, 2, 6, 6)[0].bounds == bounds


def test_all_unknown_operators_are_named_with_their_places():
    model = nn.Sequential(
        nn.Linear(4, 4), nn.Threshold(0, 0), nn.Linear(4, 4), nn.LogSoftmax(1), nn.Linear(4, 2)
    )
    with pytest.raises(NetworkError) as error:
        stages_of(model, 4)
    assert "threshold.default in 1, log_softmax.int in 3" in str(error.value)
    assert "real numbers" in error.value.hint


def test_behind_the_last_product_anything_goes():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3), nn.LogSoftmax(1))
    assert kinds(model, 4) == [Kind.PRODUCT, Kind.PRODUCT, Kind.FLOAT]


def test_left_in_float_it_goes_back_to_integers_at_the_next_product():
    def unknown(x):
        return functional.relu(functional.threshold(x, 0, 0)).mean((2, 3))

    found = stages_of(Function(unknown), 2, 6, 6, float_allowed=True)
    assert [s.kind for s in found] == [Kind.PRODUCT, *[Kind.FLOAT] * 3, Kind.PRODUCT]
    assert not found[0].integer, "what only real numbers are made of keeps all its bits"


def test_a_weight_that_the_array_does_not_hold_is_not_a_product():
    class Function(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.by_hand = nn.Linear(3, 3), nn.Parameter(torch.ones(3, 3))

        def forward(self, x):
            return functional.linear(self.first(x), self.by_hand)

    assert kinds(Function(), 3) == [Kind.PRODUCT, Kind.FLOAT]


class Own(nn.Module):
    """Something done with a tensor of the network's own, between two products."""

    def __init__(self, function):
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)
        self.own, self.function = nn.Parameter(torch.randn(1, 3)), function

    def forward(self, x):
        return self.last(self.function(self.own, self.first(x)))


def off_by(model, *sizes, **options):
    """How far a network in whole numbers is off, and the spread of the network's outputs."""
    inputs = torch.randn(20, *sizes)
    codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    with torch.no_grad():
        found = IntegerNetwork(lowering(model.eval(), [inputs], **options), model, codes)(inputs)
        expected = model(inputs)
    return float((found - expected).abs().max()), float(expected.std())


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda own, x: own + x, Kind.SUM),
        (lambda own, x: x + own, Kind.SUM),
        (lambda own, x: torch.cat([own.expand(x.shape[0], -1), x], 1)[:, :3], Kind.JOIN),
    ],
)
def test_tensors_of_the_networks_own_are_constants(function, kind):
    torch.manual_seed(0)
    model = Own(function)
    assert kinds(model, 3)[1] is Kind.CONSTANT
    assert kind in kinds(model, 3)
    assert off_by(model, 3)[0] < 0.05


def test_a_number_beside_tensors_has_no_grid():
    torch.manual_seed(0)
    model = Own(lambda _, x: torch.cat([x, x + x.shape[0]], 1)[:, :3])
    with pytest.raises(NetworkError, match="in the network itself"):
        stages_of(model, 3)
    assert off_by(model, 3, float_allowed=True)[0] < 0.05


class Heads(nn.Module):
    """Attention by hand; what is done with its scores, or with values, is given."""

    def __init__(self, scores=lambda s: s / 2, values=lambda v: v):
        super().__init__()
        self.qkv, self.proj, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)
        self.scores, self.values = scores, values

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        seen = self.scores(q @ k.mT).softmax(-1) @ self.values(v)
        return self.proj(self.norm(x + seen.transpose(1, 2).flatten(2)))


def test_attention_is_products_of_activations_shares_and_a_norm():
    torch.manual_seed(0)
    model = Heads()
    found = [kind for kind in kinds(model, 5, 8) if kind is not Kind.MOVE]
    assert found == [
        *(Kind.PRODUCT, Kind.PAIR, Kind.SCALE, Kind.SHARES, Kind.PAIR),
        *(Kind.SUM, Kind.LAYER_NORM, Kind.PRODUCT),
    ]
    off, spread = off_by(model, 5, 8)
    assert off < 0.15 * spread


def test_what_the_array_holds_has_a_sign():
    model, inputs = Heads(values=functional.relu), torch.randn(20, 5, 8)
    found = lowering(model.eval(), [inputs])
    pairs = [stage for stage in found.stages if stage.kind is Kind.PAIR]
    all_grids = IntegerNetwork(
        found, model, {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    ).grids
    assert all(all_grids[stage.tensors[1]].signed for stage in pairs)
    assert not all_grids[pairs[1].tensors[0]].signed, "shares are never below zero"


@pytest.mark.parametrize(
    ("scores", "operator"),
    [
        (lambda s: s.masked_fill(torch.ones(5, 5).triu(1).bool(), -1e9), "masked_fill"),
        (lambda s: s * -2.0, "mul.Tensor"),
    ],
)
def test_scores_that_are_masked_or_turned_round_are_not_known(scores, operator):
    with pytest.raises(NetworkError, match=operator):
        stages_of(Heads(scores), 5, 8)


@pytest.mark.parametrize("name", ["gelu", "silu", "sigmoid", "tanh", "hardswish", "softplus"])
def test_functions_of_one_number_are_tables(name):
    torch.manual_seed(0)
    model = Function(lambda x: getattr(functional, name)(x).amax((2, 3)))
    assert kinds(model, 2, 6, 6)[1] is Kind.TABLE
    off, spread = off_by(model, 2, 6, 6)
    assert off < 0.15 * spread


@pytest.mark.parametrize(
    "ending",
    [
        lambda x: x.softmax(-1),
        torch.tanh,
        lambda x: x / 2,
        lambda x: x.mean(1),
        lambda x: x[:, 0],
        functional.relu,
    ],
)
def test_whatever_ends_a_network_its_last_product_keeps_all_bits(ending):
    class Ended(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            return ending(self.last(self.first(x).relu()))

    found = stages_of(Ended(), 5, 6)
    assert [s.integer for s in found if s.kind is Kind.PRODUCT] == [True, False]
    assert {s.kind for s in found if not s.integer} <= {Kind.PRODUCT, Kind.FLOAT}


@pytest.mark.parametrize(
    "function",
    [
        lambda own, x: x @ own.expand(3, 3).T,
        lambda own, x: torch.einsum("bj,kj->bk", x, own.expand(3, 3)),
        lambda own, x: (x[:, None] @ own.expand(x.shape[0], 3, 3))[:, 0],
    ],
)
def test_products_with_what_the_network_holds_are_no_pairs(function):
    with pytest.raises(NetworkError, match="integer hardware does not know"):
        stages_of(Own(function), 3)
    assert Kind.PAIR not in kinds(Own(function), 3, float_allowed=True)


@pytest.mark.parametrize("large", [-1e4, -math.inf])
def test_masks_that_are_added_are_no_constants(large):
    class Masked(Heads):
        def __init__(self):
            super().__init__(scores=lambda s: s + self.mask)
            self.register_buffer("mask", torch.full((5, 5), large).triu(1))

    with pytest.raises(NetworkError, match=r"add\.Tensor"):
        stages_of(Masked(), 5, 8)
    torch.manual_seed(0)
    off, spread = off_by(Masked(), 5, 8, float_allowed=True)
    assert off < 0.1 * spread


def test_only_numbers_of_the_networks_own_are_constants():
    class Looked(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.last = nn.Embedding(4, 3), nn.Linear(3, 2)
            self.register_buffer("places", torch.arange(3))

        def forward(self, x):
            return self.last(x + self.table(self.places.expand(3)))

    assert Kind.CONSTANT not in kinds(Looked(), 3, 3, float_allowed=True)


def test_what_is_computed_of_the_networks_own_alone_is_left_in_float():
    class Latent(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.first, self.last = (
                nn.Parameter(torch.randn(1, 3)),
                nn.Linear(3, 3),
                nn.Linear(3, 2),
            )

        def forward(self, x):
            return self.last(x * self.first(self.own).mean(-1, keepdim=True))

    torch.manual_seed(0)
    off, spread = off_by(Latent(), 3, float_allowed=True)
    assert off < 0.1 * spread


def test_added_products_are_products_and_sums():
    class Added(Heads):
        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            seen = torch.baddbmm(x, torch.bmm(q, k.mT).softmax(-1), v, beta=2, alpha=0.5)
            return self.proj(self.norm(seen))

    torch.manual_seed(0)
    found = kinds(Added(), 5, 8)
    assert found.count(Kind.PAIR) == 2
    off, spread = off_by(Added(), 5, 8)
    assert off < 0.1 * spread
