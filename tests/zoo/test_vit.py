import pytest
import torch
from torch import nn

from chipmend.errors import NetworkError
from chipmend.network.dynamic import DynamicProducts
from chipmend.zoo import vit
from chipmend.zoo.vit import Attention, EncoderBlock


def test_full_width_has_the_parameters_that_counting_by_hand_gives():
    size, block = 256, 0
    for inputs, outputs in ((size, 3 * size), (size, size), (size, 2 * size), (2 * size, size)):
        block += inputs * outputs + outputs
    stem = 9 * 3 * 128 + 2 * 128 + 9 * 128 * size + size
    norms = (2 * 4 + 1) * 2 * size
    expected = stem + 64 * size + 4 * block + norms + size * 10 + 10
    assert sum(p.numel() for p in vit().parameters()) == expected


@pytest.mark.parametrize(("classes", "channels"), [(10, 1), (100, 3)])
def test_a_picture_gives_one_number_per_class(classes, channels):
    network = vit(classes=classes, channels=channels, width=0.125).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, channels, 32, 32)).shape == (2, classes)


def test_attention_is_pytorchs_with_the_same_weights():
    torch.manual_seed(0)
    ours, theirs = Attention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight, theirs.in_proj_bias = ours.qkv.weight, ours.qkv.bias
    theirs.out_proj.weight, theirs.out_proj.bias = ours.proj.weight, ours.proj.bias
    x = torch.randn(3, 5, 8)
    assert torch.allclose(ours(x), theirs(x, x, x)[0], atol=1e-6)


def test_a_block_is_pytorchs_encoder_layer():
    torch.manual_seed(0)
    ours = EncoderBlock(8, 2, 3).eval()
    theirs = nn.TransformerEncoderLayer(
        8, 2, 24, dropout=0, activation="gelu", layer_norm_eps=1e-6, batch_first=True,
        norm_first=True,
    ).eval()  # fmt: skip
    attention = theirs.self_attn
    pairs = {
        attention.in_proj_weight: ours.attn.qkv.weight,
        attention.in_proj_bias: ours.attn.qkv.bias,
        attention.out_proj.weight: ours.attn.proj.weight,
        attention.out_proj.bias: ours.attn.proj.bias,
        theirs.linear1.weight: ours.mlp.fc1.weight,
        theirs.linear1.bias: ours.mlp.fc1.bias,
        theirs.linear2.weight: ours.mlp.fc2.weight,
        theirs.linear2.bias: ours.mlp.fc2.bias,
    }
    with torch.no_grad():
        for mine, other in pairs.items():
            mine.copy_(other)
    x = torch.randn(3, 5, 8)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def test_each_of_four_blocks_has_two_products_of_activations():
    met, network = [], vit(channels=1, width=0.125).eval()

    def meet(left, right):
        met.append((tuple(left.shape), tuple(right.shape)))
        return right

    with torch.no_grad(), DynamicProducts(network, meet):
        network(torch.zeros(2, 1, 32, 32))
    scores, seen = ((2, 4, 64, 8), (2, 4, 8, 64)), ((2, 4, 64, 64), (2, 4, 64, 8))
    assert met == [scores, seen] * 4


def test_a_width_without_tokens_is_refused():
    with pytest.raises(NetworkError, match="width"):
        vit(width=0.001)
