import pytest
import torch
from torch import nn

from chipmend.network.gemm import Bias
from chipmend.network.intercepts import Intercept, intercepts


def found(model, *shape):
    return intercepts(model, torch.randn(shape))


def test_a_bias_and_the_norm_behind_it_are_found():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1, bias=False))
    assert found(model, 2, 1, 3, 3) == {
        "0.weight": Intercept(Bias("0.bias"), "1"),
        "2.weight": Intercept(),
    }
    assert not Intercept()


@pytest.mark.parametrize(
    "between", [nn.ReLU(), nn.ReLU(inplace=True), nn.Dropout2d(), nn.AvgPool2d(2)]
)
def test_only_a_norm_right_behind_counts(between):
    layer = nn.Conv2d(1, 2, 1, bias=False)
    norm = found(nn.Sequential(layer, between, nn.BatchNorm2d(2)), 2, 1, 4, 4)["0.weight"].norm
    assert norm == ("2" if isinstance(between, nn.Dropout2d) else None)  # idle in eval mode


def test_a_norm_without_statistics_takes_no_shift():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, track_running_stats=False)
    )
    assert found(model, 2, 1, 4, 4) == {"0.weight": Intercept()}


class Branching(nn.Module):
    """What the layer gives out goes into the norm and around it."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3)

    def forward(self, x):
        y = self.layer(x)
        return self.norm(y) + y


class Shared(nn.Module):
    """Two layers before one norm, and a layer used twice."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.twice = (nn.Linear(3, 3, bias=False) for _ in range(3))
        self.norm = nn.BatchNorm1d(3)
        self.biased, self.tied = nn.Linear(3, 3), nn.Linear(3, 3)
        self.tied.weight = self.biased.weight

    def forward(self, x):
        x = self.norm(self.one(x)) + self.norm(self.two(x))
        return self.tied(self.biased(self.twice(self.twice(x))))


def test_a_norm_that_others_depend_on_takes_no_shift():
    assert set(found(Branching(), 4, 3).values()) == {Intercept()}
    assert set(found(Shared(), 4, 3).values()) == {Intercept()}


def test_a_weight_used_twice_keeps_its_one_bias():
    layer = nn.Linear(3, 3)
    assert found(nn.Sequential(layer, nn.ReLU(), layer), 4, 3) == {
        "0.weight": Intercept(Bias("0.bias"))
    }


def test_projections_of_attention_have_their_third_of_the_bias():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=3, batch_first=True)

        def forward(self, x):
            return self.attention(x, x[..., :3], x[..., :3])[0]

    biases = {name: place.bias for name, place in found(Attending(), 2, 5, 4).items()}
    assert biases == {
        "attention.q_proj_weight": Bias("attention.in_proj_bias", 0),
        "attention.k_proj_weight": Bias("attention.in_proj_bias", 4),
        "attention.v_proj_weight": Bias("attention.in_proj_bias", 8),
        "attention.out_proj.weight": Bias("attention.out_proj.bias"),
    }
