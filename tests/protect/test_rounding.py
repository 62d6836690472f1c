import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from chipmend.protect.layers import layers_of
from chipmend.protect.replay import Replay
from chipmend.protect.rounding import rounding
from protect import small


@pytest.mark.parametrize("at", range(3))
def test_the_loss_changes_as_a_step_of_the_one_number_that_is_answered_to_makes_it(at):
    network, (inputs, targets) = small.network(), small.samples(5, 3)
    layer = layers_of(network)[at]
    replay = Replay.of(network, layer, (inputs, targets), cross_entropy)
    like = _numbers(network, layer, inputs)
    slope = torch.zeros(like.shape)
    where = torch.randint(like[0].numel(), (5,), generator=torch.Generator().manual_seed(at))
    slope.flatten(1)[range(5), where] = -0.1
    found = rounding(replay, slope, np.random.default_rng(0))

    moved = like.clone(memory_format=torch.contiguous_format)
    flat, (least, most) = moved.flatten(1), (layer.end.grid.least, layer.end.grid.most)
    assert least <= int(flat.min())
    for sample, place in enumerate(where):
        flat[sample, place] += 1 if flat[sample, place] < most else -1
    losses = [_losses(network, layer, inputs, targets, each) for each in (moved, like)]
    assert torch.allclose(found, (losses[0] - losses[1]).abs(), atol=1e-6)
    assert found.max() > 0


def test_where_nothing_is_answered_to_any_number_is_moved():
    network, batch = small.network(), small.samples(5, 3)
    layer = layers_of(network)[0]
    replay = Replay.of(network, layer, batch, cross_entropy)
    slope = torch.zeros_like(_numbers(network, layer, batch[0]), dtype=torch.float)
    assert rounding(replay, slope, np.random.default_rng(0)).max() > 0


def test_behind_the_last_layer_nothing_is_rounded():
    network, batch = small.network(), small.samples(5, 3)
    replay = Replay.of(network, layers_of(network)[-1], batch, cross_entropy)
    found = rounding(replay, torch.ones(5, 4), np.random.default_rng(0))
    assert found.tolist() == [0.0] * 5


def _numbers(network, layer, inputs):
    values = network.begun(inputs)
    network.go_on_(values, 0, layer.at + 1)
    return values.whole(layer.stage.result)


def _losses(network, layer, inputs, targets, numbers):
    values = network.begun(inputs)
    network.go_on_(values, 0, layer.at + 1)
    values.drop(layer.stage.result)
    values.put(layer.stage.result, numbers, whole=True)
    network.go_on_(values, layer.at + 1)
    outputs = values.real(network.lowering.graph.output)
    return cross_entropy(outputs, targets, reduction="none")
