"""A network as the tensors that it holds."""

import torch
from torch import nn

from chipmend.network.tensors import digest_of_tensors, give_, own_tensors, same_tensors
from conftest import state, tiny_network


def test_shared_weights_are_named_once_and_buffers_are_there():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = {"0.weight", "0.bias", "2.bias", *(f"1.{name}" for name in norm)}
    assert set(own_tensors(model)) == expected


def test_a_network_is_given_what_another_one_holds():
    one, other = tiny_network(), tiny_network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other[1].running_mean.fill_(3.0)
    assert not same_tensors(own_tensors(one), own_tensors(other))
    held = [*one.parameters()]
    give_(one, own_tensors(other))
    assert same_tensors(own_tensors(one), own_tensors(other))
    assert all(torch.equal(tensor, state(other)[name]) for name, tensor in state(one).items())
    assert all(a is b for a, b in zip(one.parameters(), held, strict=True))


def test_tensors_are_the_same_with_the_same_names_alone():
    zeros = torch.zeros(2)
    assert same_tensors({"a": zeros}, {"a": zeros.clone()})
    assert not same_tensors({"a": zeros}, {"b": zeros})
    assert not same_tensors({"a": zeros}, {"a": zeros, "b": zeros})


def test_digests_tell_names_numbers_types_and_shapes_apart_and_no_layouts():
    picture = torch.arange(16.0).reshape(1, 2, 2, 4)
    tensors = [
        {"a": picture},
        {"b": picture},
        {"a": picture + 1},
        {"a": picture.double()},
        {"a": picture.reshape(2, 1, 2, 4)},
        {"a": picture, "b": torch.tensor(1)},
        {"a": picture, "b": torch.tensor(2)},
    ]
    digests = [digest_of_tensors(each) for each in tensors]
    assert len(set(digests)) == len(tensors)
    assert digest_of_tensors({"a": picture.to(memory_format=torch.channels_last)}) == digests[0]
    turned = dict(reversed(tensors[5].items()))
    assert digest_of_tensors(turned) == digests[5]
