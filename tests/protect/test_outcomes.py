import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from chipmend.protect.layers import layers_of
from chipmend.protect.outcomes import outcome
from chipmend.protect.slopes import activations, losses, slopes
from exported import in_integers
from protect import small


@pytest.mark.parametrize("pool", [(2, 2, 0, 1), (3, 2, 1, 1), ((2, 3), 1, 1, 1), (2, 1, 0, 2)])
def test_what_becomes_the_greatest_is_seen_through_a_maximum(pool):
    """Behind it the loss is linear, so it can be computed neuron by neuron."""
    torch.manual_seed(1)
    kernel, stride, padding, dilation = pool
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(kernel, stride, padding, dilation),
        nn.Flatten(),
        nn.LazyLinear(4),
    ).eval()
    inputs, targets = small.samples(6, 7)
    with torch.no_grad():
        model(inputs)
    network = in_integers(model, inputs)

    def loss(outputs, targets):
        return outputs.gather(1, targets[:, None]).mean()

    layer = layers_of(network)[0]
    exact, entering = activations(network, inputs)
    results = layer.results(layer.accumulators(entering[layer.at]))
    moved = torch.randint(0, 256, results.shape, generator=torch.Generator().manual_seed(0))
    answers = slopes(network, exact, inputs, targets, loss)
    none = torch.zeros(6)
    found = outcome(network, layer, results, exact, answers, targets, loss, none)(moved)
    behind, step = model[2:], layer.worth()
    weight = network.codes["4.weight"].weight()
    behind[2].weight.data = weight
    for at in itertools.product(*map(range, results.shape[:2])):
        one = results.clone()
        one[at] = moved[at].to(one.dtype)
        changed, clean = (
            losses(loss, behind(layer.as_pytorch_has_it(each, exact["relu"]) * step), targets)
            for each in (one, results)
        )
        assert torch.allclose(found[at], (changed - clean).abs().sum(), rtol=1e-3, atol=1e-5)


def test_whatever_moves_at_all_moves_what_is_rounded():
    network, (inputs, targets) = small.network(), small.samples(9, 4)
    layer, (exact, entering) = layers_of(network)[1], activations(network, inputs)
    results = layer.results(layer.accumulators(entering[layer.at]))
    moved, noise = results.clone(), torch.arange(9) / 10
    moved[2, 1], moved[3, 0, 4] = 50, 60
    answers = slopes(network, exact, inputs, targets, cross_entropy)
    bare, found = (
        outcome(network, layer, results, exact, answers, targets, cross_entropy, each)(moved)
        for each in (torch.zeros(9), noise)
    )
    slope = layer.from_pytorch(answers[layer.stage.result]) * layer.worth()
    change = slope * (moved.float() - results.float())
    by_hand = (change.square() + (moved != results) * noise.square()).sqrt().sum(2)
    assert torch.allclose(found, by_hand, rtol=1e-5)
    assert torch.allclose(bare, change.abs().sum(2), rtol=1e-5, atol=1e-9)
    assert (found > 0).nonzero().tolist() == [[2, 1], [3, 0]]


def test_of_the_network_s_outputs_the_loss_is_computed_as_it_is():
    network, (inputs, targets) = small.network(), small.samples(9, 4)
    layer, (exact, entering) = layers_of(network)[-1], activations(network, inputs)
    results = layer.results(layer.accumulators(entering[layer.at]))
    moved = results + 5
    noise = torch.ones(9)
    found = outcome(network, layer, results, exact, {}, targets, cross_entropy, noise)(moved)
    outputs = exact[network.lowering.graph.output]
    for output in range(4):
        changed = outputs.clone()
        changed[:, output] += 5
        each = [cross_entropy(o, targets, reduction="none") for o in (changed, outputs)]
        assert torch.allclose(found[output, 0], (each[0] - each[1]).abs().sum(), rtol=1e-4)
