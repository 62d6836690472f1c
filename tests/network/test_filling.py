import torch
from torch import nn

from chipmend.hardware import WeightMemory
from chipmend.network.filling import filled


class Contrary(nn.Module):
    """Declares its layers in another order than it executes them, shares one and leaves one out."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 2)
        self.unused = nn.Linear(1, 5)
        self.shared = nn.Linear(3, 3)
        self.first = nn.Conv2d(1, 3, 2)

    def forward(self, x):
        x = self.first(x).flatten(2).mean(2)
        return self.last(self.shared(torch.relu(self.shared(x))))


def test_weights_lie_in_the_order_in_which_they_are_executed():
    found = filled(Contrary(), torch.zeros(2, 1, 4, 4), WeightMemory())
    assert dict(found.first) == {
        "first.weight": 0,
        "shared.weight": 12,
        "last.weight": 21,
        "unused.weight": 27,
    }
    assert found.words == 32
    assert not found.wraps


def test_a_smaller_memory_begins_anew():
    found = filled(Contrary(), torch.zeros(2, 1, 4, 4), WeightMemory(words=20))
    assert found.addresses("shared.weight").tolist() == [12, 13, 14, 15, 16, 17, 18, 19, 0]
    assert found.wraps


def test_the_network_is_left_as_it_was():
    model = Contrary().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    filled(model, torch.zeros(2, 1, 4, 4), WeightMemory())
    assert model.training
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
