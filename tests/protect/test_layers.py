import torch

from chipmend.protect.layers import layers_of
from protect import small


def test_layers_are_those_on_the_array_in_order():
    names = [layer.name for layer in layers_of(small.network())]
    assert names == ["first.weight", "second.weight", "along.weight", "last.weight"]


def test_accumulators_and_results_are_those_of_the_forward_pass():
    """What stages give is told by the network itself, a stage at a time."""
    network, (inputs, _) = small.network(), small.samples(7, 1)
    layers, values = {layer.at: layer for layer in layers_of(network)}, network.begun(inputs)
    for at, stage in enumerate(network.lowering.stages):
        entering = layers[at].inputs(values) if at in layers else None
        network.go_on_(values, at, at + 1)
        if at not in layers:
            continue
        found = values.whole(stage.result) if stage.integer else values.real(stage.result)
        layer, accumulators = layers[at], layers[at].accumulators(entering)
        results = layer.results(accumulators)
        assert torch.equal(layer.as_pytorch_has_it(results, found), found)
        assert torch.equal(layer.from_pytorch(found), results)
        for output, place in ((0, 0), (len(results) - 1, results.shape[1] - 1)):
            alone = layer.results_of(accumulators[output, place], output)
            assert torch.equal(alone, results[output, place])
            columns = layer.columns_of(place, results.shape[1], 7)
            operand = layer.layer.columns(entering).flatten(0, 1)[:, columns].long()
            operand += 0 if layer.layer.grid.signed else 128
            weights = layer.layer.dense().flatten(1)[output].long()
            assert torch.equal(weights @ operand, accumulators[output, place].long())


def test_what_goes_on_from_the_middle_ends_as_the_whole_does():
    network, (inputs, _) = small.network(), small.samples(5, 2)
    for middle in range(len(network.lowering.stages)):
        values = network.begun(inputs)
        network.go_on_(values, 0, middle)
        again = values.copy()
        for each in (values, again):
            network.go_on_(each, middle)
            found = each.real(network.lowering.graph.output)
            assert torch.equal(found, network(inputs))
