"""Products are compared with what layers give out, whatever the layer."""

import pytest
import torch
from torch import nn

from chipmend.network import gemms
from chipmend.network.products import Products


def met(model, *inputs):
    """All products of a forward pass, with what the operation gave."""
    found = []
    with torch.no_grad(), Products(gemms(model), found.append):
        model.eval()(*inputs)
    return found


def outputs(product):
    """What a product gives out, from its rows and the weight: samples x outputs."""
    weight = product.gemm.weight.flatten(1)[list(product.outputs)]
    by_group = weight.unflatten(0, (product.groups, -1))
    return torch.einsum("pgk,gok->pgo", product.rows(), by_group).flatten(1)


CONVOLUTIONS = [
    (nn.Conv1d(4, 6, 3, stride=2, padding=1, bias=False), (4, 9)),
    (nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=2, bias=False), (4, 9, 8)),
    (nn.Conv2d(4, 6, 3, groups=2, bias=False), (4, 5, 5)),
    (nn.Conv2d(4, 8, 3, groups=4, padding="same", padding_mode="circular", bias=False), (4, 5, 5)),
    (nn.Conv2d(4, 6, 3, bias=False).to(memory_format=torch.channels_last), (4, 5, 6)),
    (nn.Conv3d(2, 3, (1, 2, 3), padding=1, bias=False), (2, 4, 5, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=lambda x: str(x))
def test_a_convolution_is_the_product_of_its_rows_and_its_weight(layer, shape):
    inputs = torch.randn(3, *shape)
    (product,) = met(layer, inputs)
    expected = layer(inputs).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(outputs(product), expected)
    assert product.samples == len(expected)
    assert product.multiply_adds == len(expected) * layer.weight.numel()


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_takes_any_leading_dimensions(shape, bias):
    layer, inputs = nn.Linear(5, 4, bias=bias), torch.randn(shape)
    (product,) = met(layer, inputs)
    expected = layer(inputs) - (layer.bias if bias else 0)
    torch.testing.assert_close(outputs(product), expected.reshape(-1, 4))


def test_inputs_that_do_not_lie_in_order_are_read_in_order():
    layer, inputs = nn.Linear(5, 4, bias=False), torch.randn(2, 5, 3).transpose(1, 2)
    (product,) = met(layer, inputs)
    torch.testing.assert_close(outputs(product), layer(inputs).reshape(-1, 4))


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=lambda x: str(x))
def test_some_rows_are_those_of_all(layer, shape):
    (product,) = met(layer, torch.randn(3, *shape))
    places = torch.randperm(product.samples)[:5]
    assert torch.equal(product.rows(places), product.rows()[places])


class Attending(nn.Module):
    def __init__(self, **sizes):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **sizes)

    def forward(self, x, y):
        return self.attention(x, y, y)[0]


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ({}, [("in_proj_weight", range(8)), ("in_proj_weight", range(8, 24))]),
        (
            {"kdim": 5, "vdim": 5},
            [(f"{part}_proj_weight", range(8)) for part in ("q", "k", "v")],
        ),
    ],
)
def test_attention_to_other_inputs_is_met_part_by_part(sizes, parts):
    inputs = torch.randn(2, 3, 8), torch.randn(2, 4, sizes.get("kdim", 8))
    found = met(Attending(**sizes), *inputs)
    assert [(p.gemm.name.removeprefix("attention."), p.outputs) for p in found] == [
        *parts,
        ("out_proj.weight", range(8)),
    ]


def test_a_fused_transformer_layer_is_met_product_by_product():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    fused = torch.backends.mha.get_fastpath_enabled()
    names = [product.gemm.name for product in met(layer, torch.randn(2, 3, 8))]
    assert names == [gemm.name for gemm in gemms(layer)]
    assert torch.backends.mha.get_fastpath_enabled() == fused


class ByHand(nn.Module):
    """A weight used by hand, from the left, and beside another in one block of memory."""

    def __init__(self):
        super().__init__()
        joint = torch.randn(7, 5)
        self.first, self.second = nn.Linear(5, 3, bias=False), nn.Linear(5, 4, bias=False)
        self.first.weight.data, self.second.weight.data = joint[:3], joint[3:]

    def forward(self, x):
        return (self.first.weight @ x.mT).mT, x @ self.second.weight.mT


def test_weights_used_by_hand_are_met_like_those_of_layers():
    model, inputs = ByHand(), torch.randn(6, 5)
    found = met(model, inputs)
    assert [product.gemm.name for product in found] == ["first.weight", "second.weight"]
    for product, expected in zip(found, model(inputs), strict=True):
        torch.testing.assert_close(outputs(product), expected)


def test_what_is_changed_on_meeting_is_computed_with():
    layer, inputs = nn.Conv2d(1, 2, 3), torch.randn(1, 1, 4, 4)
    with torch.no_grad(), Products(gemms(layer), lambda p: p.gemm.weight.data.zero_()):
        assert torch.equal(layer(inputs), layer.bias.view(1, 2, 1, 1).expand(1, 2, 2, 2))


def test_weights_off_the_array_are_not_met():
    model = nn.Sequential(nn.ConvTranspose2d(2, 2, 2), nn.Flatten(), nn.Linear(2 * 16, 3))
    found = met(model, torch.randn(1, 2, 3, 3))
    assert [product.gemm.name for product in found] == ["2.weight"]
