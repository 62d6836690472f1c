import torch
from torch import nn

from chipmend.network.memory import footprint


class Attending(nn.Module):
    """Tokens that attend to each other by hand: the products of tokens are the largest thing."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 4)

    def forward(self, x):
        y = self.project(x)
        return (y @ y.mT).softmax(-1) @ y


def test_the_largest_operation_of_a_chain_is_found():
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    found = footprint(model, torch.zeros(3, 1, 10, 10))
    assert found.largest == 4 * (8 + 8) * 100  # the rectifier's input and output
    assert found.given == 4 * (8 + 8 + 2) * 100


def test_products_of_activations_count_as_well():
    tokens = 100
    found = footprint(Attending(), torch.zeros(2, tokens, 4))
    assert found.largest == 4 * 2 * tokens**2  # softmax
    assert found.given == 4 * (tokens * 4 + 2 * tokens**2 + tokens * 4)


def test_it_is_that_of_one_sample_and_leaves_the_weights_out():
    model = nn.Linear(1000, 10)
    few, many = (footprint(model, torch.zeros(count, 1000)) for count in (2, 50))
    assert few == many
    assert few.largest == 4 * 1010
