import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import pad

from chipmend.errors import FaultMapError, NetworkError
from chipmend.hardware import Array
from chipmend.repairs import effective_rate, prune_, pruned_weights, weights_per_pe

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@st.composite
def convolutions(draw):
    """A convolution of 1 to 3 dimensions: plain, grouped or depthwise, with any geometry."""
    dims = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    inputs, outputs = (groups * draw(st.integers(1, 3)) for _ in range(2))

    def sizes(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(dims))

    return CONVOLUTIONS[dims](
        inputs,
        outputs,
        sizes(1, 3),
        stride=sizes(1, 2),
        padding=sizes(0, 2),
        dilation=sizes(1, 2),
        groups=groups,
        bias=draw(st.booleans()),
    )


def linears():
    sizes = st.integers(1, 9)
    return st.builds(nn.Linear, sizes, sizes)


def layers():
    return st.one_of(linears(), convolutions())


def arrays():
    sizes = st.integers(1, 6)
    return st.builds(
        Array, rows=sizes, cols=sizes, placement=st.sampled_from(["im2col", "channel"])
    )


def broken(array, seed, rate=0.4):
    return np.random.default_rng(seed).random((array.rows, array.cols)) < rate


def slow_place(layer, index, array):
    """PE of the weight at an index of a layer's stored tensor, from the definition."""
    if isinstance(layer, nn.Linear):
        n, k = index
        return k % array.rows, n % array.cols
    n, own, *tap = index
    group = n // (layer.out_channels // layer.groups)
    channel = group * (layer.in_channels // layer.groups) + own
    if array.placement == "channel":
        return channel % array.rows, n % array.cols
    k = channel
    for at, size in zip(tap, layer.kernel_size, strict=True):
        k = k * size + at
    return k % array.rows, n % array.cols


def slow_pruned(layer, faulty, array):
    found = torch.zeros(layer.weight.shape, dtype=torch.bool)
    for index in itertools.product(*map(range, layer.weight.shape)):
        found[index] = bool(faulty[slow_place(layer, index, array)])
    return found


@settings(deadline=None, max_examples=100)
@given(layers(), arrays(), st.integers(0, 2**32 - 1))
def test_a_weight_is_pruned_if_its_place_by_the_definition_is_faulty(layer, array, seed):
    faulty = broken(array, seed)
    found = pruned_weights(layer, faulty, array)["weight"]
    assert found.dtype == torch.bool
    assert found.equal(slow_pruned(layer, faulty, array))


def dense(layer):
    """A layer's weight as the array is given it: channels in x channels out x taps."""
    if isinstance(layer, nn.Linear):
        return layer.weight.detach().T[:, :, None].numpy()
    outputs, own = layer.weight.shape[:2]
    taps = layer.weight.detach().reshape(outputs, own, -1).numpy()
    whole = np.zeros((layer.in_channels, outputs, taps.shape[2]))
    for n in range(outputs):
        group = n // (outputs // layer.groups)
        for channel in range(own):
            whole[group * own + channel, n] = taps[n, channel]
    return whole


def patches(layer, inputs):
    """What streams in: output positions x channels in x taps, gathered one by one."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(-1, layer.in_features)[:, :, None].numpy(), inputs.shape[:-1]
    around = [amount for size in reversed(layer.padding) for amount in (size, size)]
    padded = pad(inputs, around).numpy()
    sizes = [
        (padded.shape[2 + d] - layer.dilation[d] * (layer.kernel_size[d] - 1) - 1)
        // layer.stride[d]
        + 1
        for d in range(len(layer.kernel_size))
    ]
    found = []
    for image in padded:
        for place in np.ndindex(*sizes):
            seen = []
            for tap in np.ndindex(*layer.kernel_size):
                at = tuple(
                    p * s + t * d
                    for p, s, t, d in zip(place, layer.stride, tap, layer.dilation, strict=True)
                )
                seen.append(image[(slice(None), *at)])
            found.append(np.stack(seen, axis=1))
    return np.stack(found), (len(padded), *sizes)


def on_the_array(streamed, weights, faulty):
    """One matrix product, tile by tile: faulty PEs are bypassed and add nothing."""
    rows, cols = faulty.shape
    m, k = streamed.shape
    n = weights.shape[1]
    sums = np.zeros((m, n))
    for down, across in itertools.product(range(0, k, rows), range(0, n, cols)):
        for row, col in itertools.product(range(rows), range(cols)):
            if down + row < k and across + col < n and not faulty[row, col]:
                held = weights[down + row, across + col]
                sums[:, across + col] += streamed[:, down + row] * held
    return sums


def simulated(layer, inputs, faulty, array):
    """A layer's output on a chip, from nothing but the array and the explicit im2col matrix."""
    streamed, places = patches(layer, inputs)
    weights = dense(layer)
    if array.placement == "im2col":
        m, k = len(streamed), streamed.shape[1] * streamed.shape[2]
        columns = weights.transpose(0, 2, 1).reshape(k, -1)
        sums = on_the_array(streamed.reshape(m, k), columns, faulty)
    else:  # a PE goes through the taps of the kernel that it holds
        sums = sum(
            on_the_array(streamed[:, :, tap], weights[:, :, tap], faulty)
            for tap in range(weights.shape[2])
        )
    if layer.bias is not None:
        sums = sums + layer.bias.detach().numpy()
    whole = torch.from_numpy(sums).reshape(*places, -1)
    return whole if isinstance(layer, nn.Linear) else whole.movedim(-1, 1)


@st.composite
def layers_with_inputs(draw):
    layer = draw(layers()).double()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    if isinstance(layer, nn.Linear):
        leading = draw(st.lists(st.integers(1, 3), max_size=3))
        shape = (*leading, layer.in_features)
    else:
        spatial = [draw(st.integers(5, 6)) for _ in layer.kernel_size]
        shape = (2, layer.in_channels, *spatial)
    return layer, torch.randn(shape, generator=generator, dtype=torch.float64)


@settings(deadline=None, max_examples=60)
@given(layers_with_inputs(), arrays(), st.integers(0, 2**32 - 1))
def test_a_pruned_layer_gives_what_the_array_with_bypassed_pes_gives(layered, array, seed):
    layer, inputs = layered
    faulty = broken(array, seed)
    expected = simulated(layer, inputs, faulty, array)
    prune_(layer, pruned_weights(layer, faulty, array))
    torch.testing.assert_close(layer(inputs).detach(), expected, rtol=1e-10, atol=1e-10)


@settings(deadline=None, max_examples=20)
@given(layers_with_inputs(), arrays())
def test_the_simulated_array_is_right_where_nothing_is_broken(layered, array):
    layer, inputs = layered
    healthy = np.zeros((array.rows, array.cols), dtype=bool)
    torch.testing.assert_close(
        simulated(layer, inputs, healthy, array), layer(inputs).detach(), rtol=1e-10, atol=1e-10
    )


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv1d(4, 6, 3, groups=2)
        self.plain = nn.Conv1d(2, 6, 3)
        self.plain.weight = self.grouped.weight


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.Flatten(),
        nn.Linear(6, 5),
    )


@pytest.mark.parametrize("placement", ["im2col", "channel"])
def test_a_weight_of_two_layers_is_pruned_if_either_of_its_places_is_faulty(placement):
    array = Array(rows=7, cols=4, placement=placement)
    faulty = broken(array, 1, rate=0.2)
    model = Tied()
    places = [slow_pruned(layer, faulty, array) for layer in (model.grouped, model.plain)]
    assert not places[0].equal(places[1])
    found = pruned_weights(model, faulty, array)
    assert list(found) == ["grouped.weight"]
    assert found["grouped.weight"].equal(places[0] | places[1])
    prune_(model, found)
    assert (model.plain.weight[places[0] | places[1]] == 0).all()


def test_the_whole_of_attention_s_input_projection_is_placed_as_one_matrix():
    attention = nn.MultiheadAttention(4, 2)
    array = Array(rows=3, cols=5)
    faulty = broken(array, 2)
    found = pruned_weights(attention, faulty, array)["in_proj_weight"]
    expected = [[bool(faulty[k % 3, n % 5]) for k in range(4)] for n in range(12)]
    assert found.tolist() == expected


@pytest.mark.parametrize("placement", ["im2col", "channel"])
def test_pruning_zeroes_the_pruned_weights_and_touches_nothing_else(placement):
    model, array = network(), Array(rows=4, cols=4, placement=placement)
    before = copy.deepcopy(model.state_dict())
    pruned = pruned_weights(model, broken(array, 0), array)
    assert list(pruned) == ["0.weight", "2.weight", "4.weight"]
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    prune_(model, pruned)
    for name, value in model.state_dict().items():
        zero = pruned.get(name, torch.zeros(value.shape, dtype=torch.bool))
        assert (value[zero] == 0).all()
        assert value[~zero].equal(before[name][~zero])
        assert name not in pruned or 0 < zero.sum() < zero.numel()


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_sound_chip_loses_nothing_and_a_chip_without_a_sound_pe_everything(rate):
    array = Array(rows=3, cols=2)
    pruned = pruned_weights(network(), np.full((3, 2), bool(rate)), array)
    assert all(zero.double().mean() == rate for zero in pruned.values())


def test_a_map_of_another_size_and_a_network_without_layers_are_refused():
    array = Array(rows=3, cols=2)
    with pytest.raises(FaultMapError, match="2 x 3"):
        pruned_weights(network(), np.zeros((2, 3), bool), array)
    with pytest.raises(NetworkError, match="no layer"):
        pruned_weights(nn.ReLU(), np.zeros((3, 2), bool), array)


@settings(deadline=None, max_examples=50)
@given(layers(), arrays())
def test_weights_per_pe_are_counted_one_by_one(layer, array):
    expected = np.zeros((array.rows, array.cols), int)
    for index in itertools.product(*map(range, layer.weight.shape)):
        expected[slow_place(layer, index, array)] += 1
    assert weights_per_pe(layer, array).tolist() == expected.tolist()


@pytest.mark.parametrize("placement", ["im2col", "channel"])
@pytest.mark.parametrize("seed", range(5))
def test_the_effective_rate_is_the_share_of_pruned_weights(placement, seed):
    model, array = network(), Array(rows=5, cols=4, placement=placement)
    faulty = broken(array, seed)
    pruned = torch.cat([zero.flatten() for zero in pruned_weights(model, faulty, array).values()])
    rate = effective_rate(weights_per_pe(model, array), faulty)
    assert rate == int(pruned.sum()) / len(pruned)


def test_a_weight_that_unlike_layers_share_counts_once_for_each():
    array = Array(rows=7, cols=4)
    model = Tied()
    each = [weights_per_pe(layer, array) for layer in (model.grouped, model.plain)]
    assert weights_per_pe(model, array).tolist() == (each[0] + each[1]).tolist()
