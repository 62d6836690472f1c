import torch
from torch.nn.functional import cross_entropy

from chipmend.protect.layers import layers_of
from chipmend.protect.slopes import activations, losses, slopes
from protect import small


def test_slopes_are_gradients_at_the_activations_of_whole_numbers():
    """Moving a real output by a little moves the loss by as much as its slope says."""
    network, (inputs, targets) = small.network(), small.samples(20, 5)
    exact, entering = activations(network, inputs)
    name = network.lowering.graph.output
    found = slopes(network, exact, inputs, targets, cross_entropy)
    assert torch.equal(exact[name], network(inputs))
    outputs = exact[name].clone().requires_grad_()
    (expected,) = torch.autograd.grad(losses(cross_entropy, outputs, targets).sum(), outputs)
    assert torch.allclose(found[name], expected, atol=1e-6)
    last = layers_of(network)[-1]
    taken = network.lowering.stages[last.at].tensors[0]
    weight = network.codes["last.weight"].weight()
    assert torch.allclose(found[taken].flatten(1), expected @ weight, atol=1e-5)
    assert set(entering) == {layer.at for layer in layers_of(network)}
