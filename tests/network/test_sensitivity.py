import copy

import pytest
import torch
from torch import nn

from chipmend.network.gemm import gemms
from chipmend.network.products import Products
from chipmend.network.sensitivity import sensitivities
from repairs.networks import inputs, network

ATTENTION = ("in_proj_weight", "out_proj.weight")


def jacobians(layer, tail, some):
    """Of the network's outputs by the layer's, sample by sample, from torch's own."""
    given = [layer(x[None]).detach() for x in some]
    return [torch.autograd.functional.jacobian(lambda y: tail(y)[0], each) for each in given]


def test_outputs_are_the_squared_columns_of_the_jacobian():
    torch.manual_seed(0)
    first, tail = nn.Linear(5, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 6), nn.Tanh())
    model, some = nn.Sequential(first, tail), torch.randn(8, 5)
    many = [some] * 600  # random signs average out
    found = sensitivities(model, many, seed=0)["0.weight"]
    squared = torch.stack([j.square().sum(0)[0] for j in jacobians(first, tail, some)])
    spread = torch.cat([model(some)] * 600).detach().var(0).sum()
    torch.testing.assert_close(found.outputs, squared.mean(0) / spread, rtol=0.1, atol=0)
    by_row = found.rows.view(600, 8).mean(0)
    torch.testing.assert_close(by_row, squared.sum(1) / spread, rtol=0.1, atol=0)


def test_rows_are_in_the_order_of_the_product_s_rows():
    model, some = network("residual"), inputs("residual", 6)
    found = sensitivities(model, some.split(4), seed=0)
    rows = {}

    def note(product):
        rows[product.gemm.name] = product.samples

    with torch.no_grad(), Products(gemms(model), note):
        model(some)
    assert {name: len(each.rows) for name, each in found.items()} == rows
    # what is cropped away by a layer that follows cannot matter
    crop = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(2 * 9, 2))
    with torch.no_grad():
        crop[2].weight.view(2, 2, 3, 3)[:, :, 0] = 0
    of_rows = sensitivities(crop, [torch.randn(4, 1, 3, 3)], seed=0)["0.weight"].rows
    assert of_rows.view(4, 3, 3)[:, 0].abs().max() == 0
    assert of_rows.view(4, 3, 3)[:, 1:].min() > 0


@pytest.mark.parametrize("name", ["residual", "attending", "twice", "volume"])
def test_every_weight_that_is_used_once_by_a_layer_is_found_and_none_else(name):
    model = network(name)
    found = sensitivities(model, [inputs(name)], seed=0)
    otherwise = {"layer.weight"} if name == "twice" else set()
    if name == "attending":  # attention is one function of four weights
        otherwise = {f"{at}.{w}" for at in ("encoder.self_attn", "cross") for w in ATTENTION}
    assert {gemm.name for gemm in gemms(model)} - found.keys() == otherwise
    for each in found.values():
        assert torch.isfinite(each.rows).all()
        assert (each.outputs >= 0).all()


def test_what_the_outputs_do_not_hang_on_has_none():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            self.idle(x)
            return self.used(x)

    assert sensitivities(Idle(), [torch.randn(5, 4)], seed=0).keys() == {"used.weight"}


def test_the_network_and_torch_are_left_as_they_were():
    model = network("residual").train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    fused = torch.backends.mha.get_fastpath_enabled()
    sensitivities(model, [inputs("residual", 4)], seed=0)
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.modules())
    assert torch.backends.mha.get_fastpath_enabled() is fused


def test_outputs_that_are_no_scores_are_passed_over():
    body = nn.Linear(6, 3)

    class Telling(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.scale = body, nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            scores = self.body(x)
            return scores, self.scale, scores > 0

    some = torch.randn(8, 6)
    found = sensitivities(Telling(), [some], seed=0)["body.weight"].outputs
    wanted = sensitivities(nn.Sequential(body), [some], seed=0)["0.weight"].outputs
    torch.testing.assert_close(found, wanted)


class SequenceFirst(nn.Module):
    """A layer whose rows are in the order of tokens, and samples within them."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.first(x.transpose(0, 1)).mean(0))


def test_rows_in_another_order_than_the_samples_are_not_noted():
    found = sensitivities(SequenceFirst(), torch.randn(6, 3, 4).split(2), seed=0)
    assert len(found["first.weight"].rows) == 0
    assert len(found["first.weight"].outputs) == 4
    assert len(found["last.weight"].rows) == 6


class Overwriting(nn.Module):
    """Runs forward, but has no way back: what the gradient needs is overwritten."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.second(self.first(x).sigmoid().mul_(2))


def test_a_network_that_cannot_be_gone_through_backward_has_none_and_that_is_told(caplog):
    assert sensitivities(Overwriting(), [torch.randn(8, 5)], seed=0) == {}
    assert "no way back" in caplog.text


def test_a_want_of_memory_is_no_want_of_a_way_back():
    class Greedy(nn.Linear):
        def forward(self, x):
            raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        sensitivities(Greedy(5, 4), [torch.randn(8, 5)], seed=0)


def test_a_parameter_without_gradients_does_not_stand_in_the_way():
    model = nn.Linear(5, 4)
    model.steps = nn.Parameter(torch.tensor([3]), requires_grad=False)
    assert sensitivities(model, [torch.randn(8, 5)], seed=0).keys() == {"weight"}
