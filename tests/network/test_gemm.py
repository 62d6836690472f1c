import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from chipmend.errors import NetworkError
from chipmend.hardware import WeightShape
from chipmend.network import gemms
from chipmend.network.gemm import assumed_healthy


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x))


class Tied(nn.Module):
    """A grouped and a plain convolution that share a parameter: equal sizes, unlike geometry."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv1d(4, 6, 3, groups=2)
        self.plain = nn.Conv1d(2, 6, 3)
        self.plain.weight = self.grouped.weight


class WithTable(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.up = nn.ConvTranspose2d(2, 3, 2)
        self.free = nn.Parameter(torch.ones(2, 2))
        self.scale = nn.Parameter(torch.ones(4))
        self.norms = nn.ModuleList([nn.LayerNorm((2, 4)), nn.BatchNorm1d(4), nn.GroupNorm(2, 4)])
        self.head = nn.Linear(4, 2)


def found(model):
    return [(gemm.name, gemm.shapes) for gemm in gemms(model)]


def test_linear_and_convolutions_of_all_dimensions_are_found_in_order_of_declaration():
    model = nn.Sequential(
        nn.Conv3d(2, 4, (1, 2, 3), groups=2),
        nn.BatchNorm3d(4),
        nn.Conv2d(4, 8, (3, 5), stride=2, dilation=2),
        nn.Sequential(nn.ReLU(), nn.Conv1d(8, 8, 3, groups=8, bias=False)),
        nn.Linear(8, 10),
    )
    assert found(model) == [
        ("0.weight", (WeightShape(4, 1, 6, 2),)),
        ("2.weight", (WeightShape(8, 4, 15, 1),)),
        ("3.1.weight", (WeightShape(8, 1, 3, 8),)),
        ("4.weight", (WeightShape(10, 8, 1, 1),)),
    ]
    own = dict(model.named_parameters())
    assert all(gemm.weight is own[gemm.name] for gemm in gemms(model))
    assert all(s.weights == g.weight.numel() for g in gemms(model) for s in g.shapes)


def test_a_module_that_is_called_or_held_twice_counts_once():
    assert found(Twice()) == [("layer.weight", (WeightShape(4, 4),))]
    layer = nn.Linear(3, 3)
    assert found(nn.Sequential(layer, nn.ReLU(), layer)) == [("0.weight", (WeightShape(3, 3),))]


def test_a_parameter_of_two_layers_alike_counts_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert found(model) == [("0.weight", (WeightShape(3, 3),))]


def test_a_parameter_of_two_layers_of_unlike_geometry_counts_once_with_both_shapes():
    assert found(Tied()) == [
        ("grouped.weight", (WeightShape(6, 2, 3, 2), WeightShape(6, 2, 3, 1))),
    ]


def test_attention_runs_its_projections_on_the_array():
    assert found(nn.MultiheadAttention(4, 2)) == [
        ("in_proj_weight", (WeightShape(12, 4),)),
        ("out_proj.weight", (WeightShape(4, 4),)),
    ]


def test_attention_with_keys_and_values_of_other_sizes_has_three_input_projections():
    assert found(nn.MultiheadAttention(4, 2, kdim=3, vdim=5)) == [
        ("q_proj_weight", (WeightShape(4, 4),)),
        ("k_proj_weight", (WeightShape(4, 3),)),
        ("v_proj_weight", (WeightShape(4, 5),)),
        ("out_proj.weight", (WeightShape(4, 4),)),
    ]


@pytest.mark.parametrize(
    ("make", "undo", "arguments"),
    [
        (parametrizations.weight_norm, nn.utils.parametrize.remove_parametrizations, ["weight"]),
        (nn.utils.spectral_norm, nn.utils.remove_spectral_norm, []),
        (partial(prune.l1_unstructured, name="weight", amount=1), prune.remove, ["weight"]),
    ],
)
def test_a_weight_that_is_computed_anew_at_every_pass_is_refused_by_name(make, undo, arguments):
    model = nn.Sequential(nn.ReLU(), make(nn.Linear(3, 3)))
    with pytest.raises(NetworkError, match=r"1\.weight is computed anew") as caught:
        gemms(model)
    assert undo.__name__ in caught.value.hint
    undo(model[1], *arguments)
    assert found(model) == [("1.weight", (WeightShape(3, 3),))]


@pytest.mark.parametrize("model", [nn.ReLU(), nn.Sequential(), nn.BatchNorm2d(3)])
def test_a_network_without_a_layer_for_the_array_is_refused(model):
    with pytest.raises(NetworkError, match="no layer that the array can run"):
        gemms(model)


def test_weights_that_are_not_placed_are_named_and_norms_are_not():
    assert found(WithTable()) == [("head.weight", (WeightShape(2, 4),))]
    assert assumed_healthy(WithTable()) == ["free", "table.weight", "up.weight"]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(2), nn.Linear(2, 2)),
        Tied(),
        nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
    ],
)
def test_nothing_is_named_where_everything_is_placed(model):
    assert assumed_healthy(model) == []


def test_a_layer_without_a_size_yet_is_refused_by_name():
    with pytest.raises(NetworkError, match=r"0\.weight has no size yet"):
        gemms(nn.Sequential(nn.LazyLinear(3)))


def test_looking_changes_nothing_in_the_network():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MultiheadAttention(4, 2))
    model[1].eval()
    before = copy.deepcopy(model)
    gemms(model)
    assert repr(model) == repr(before)
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    for (name, value), (other, expected) in zip(
        model.state_dict().items(), before.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(value, expected)
