import pytest
import torch
from torch import nn

from chipmend.errors import DataError, NetworkError
from chipmend.hardware import Array, GemmSize, Throughput, WeightShape, network_cycles
from chipmend.network import gemm_sizes
from chipmend.zoo import vgg11


def slow_sizes(model, inputs):
    """By hooks on layers: their rows are the places of their outputs."""
    found = []

    def note(layer, _, output):
        if isinstance(layer, nn.Linear):
            m = output.numel() // layer.out_features
            found.append(GemmSize(m, WeightShape(layer.out_features, layer.in_features)))
        else:
            taps = torch.Size(layer.kernel_size).numel()
            inputs = layer.in_channels // layer.groups
            m = output.numel() // layer.out_channels
            shape = WeightShape(layer.out_channels, inputs, taps, layer.groups)
            found.append(GemmSize(m, shape))

    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        model.eval()(inputs)
    for hook in hooks:
        hook.remove()
    return tuple(found)


NETWORKS = [
    (vgg11(width=0.25, channels=1), (1, 1, 32, 32)),
    (nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=2), (3, 4, 9, 8)),
    (nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1, groups=2)), (1, 6, 5, 5)),
    (nn.Conv1d(4, 6, 3, stride=2), (1, 4, 9)),
    (nn.Linear(5, 4), (2, 3, 5)),
]


@pytest.mark.parametrize(("model", "shape"), NETWORKS, ids=range(len(NETWORKS)))
def test_sizes_are_those_that_layers_show(model, shape):
    inputs = torch.zeros(shape)
    assert gemm_sizes(model, inputs) == slow_sizes(model, inputs)


def test_the_first_and_the_last_product_of_vgg11_by_hand():
    sizes = gemm_sizes(vgg11(width=0.25, channels=1), torch.zeros(1, 1, 32, 32))
    assert len(sizes) == 9
    assert sizes[0] == GemmSize(32 * 32, WeightShape(16, 1, 9))
    assert sizes[-1] == GemmSize(1, WeightShape(10, 128))


def test_the_cycles_that_the_docs_give_for_vgg11_hold():
    sizes = gemm_sizes(vgg11(width=0.25, channels=1), torch.zeros(1, 1, 32, 32))
    array = Array(rows=256, cols=256)
    assert network_cycles(sizes, array) == 21_685
    by_size = {  # more than 128 columns serve nothing
        (rows, cols): network_cycles(sizes, Array(rows=rows, cols=cols))
        for rows in range(1, array.rows + 1)
        for cols in (*range(1, 129), array.cols)
    }
    assert min(by_size.values()) == 16_583
    found = Throughput(array, sizes).left(100, 60)
    best = min(cycles for (rows, cols), cycles in by_size.items() if rows <= 100 and cols <= 60)
    assert found == 16_583 / best


def test_a_weight_that_is_used_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            return self.layer(self.layer(x))

    assert gemm_sizes(Twice(), torch.zeros(1, 3)) == (GemmSize(1, WeightShape(3, 3)),) * 2


def test_attention_is_measured_part_by_part():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    sizes = gemm_sizes(layer, torch.zeros(1, 5, 8))
    assert [(s.m, s.shape.outputs, s.shape.inputs) for s in sizes] == [
        (5, 24, 8),
        *[(5, 5, 4)] * 2,  # each head's queries with its keys
        *[(5, 4, 5)] * 2,  # and what comes of it with its values
        (5, 8, 8),
        (5, 16, 8),
        (5, 8, 16),
    ]


def test_the_network_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gemm_sizes(model, torch.randn(1, 1, 4, 4))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_network_that_uses_none_of_its_layers_is_refused():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return x

    with pytest.raises(NetworkError, match="no matrix product"):
        gemm_sizes(Idle(), torch.zeros(1, 2))
    with pytest.raises(NetworkError, match="no layer"):
        gemm_sizes(nn.Flatten(), torch.zeros(1, 2))


@pytest.mark.parametrize("inputs", [torch.zeros(2, 3, 7, 7), torch.zeros(2), None])
def test_inputs_that_do_not_go_through_are_refused(inputs):
    with pytest.raises(DataError, match="do not go through the network"):
        gemm_sizes(nn.Conv2d(1, 2, 3), inputs)


def test_no_samples_are_refused():
    with pytest.raises(DataError, match="0 rows"):
        gemm_sizes(nn.Linear(2, 2), torch.zeros(0, 2))
