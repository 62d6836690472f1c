import copy

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.hardware import Array
from chipmend.network.grams import grams
from chipmend.network.intercepts import intercepts
from chipmend.network.sensitivity import sensitivities
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.one_shot import clean_layers, one_shot_
from chipmend.repairs.prune import prune_, pruned_weights
from chipmend.steps import OneShot
from repairs.networks import NETWORKS, inputs, network

ARRAY = Array(rows=8, cols=4)
ALL = 10**9


def faults(rate=0.3, seed=0):
    return np.random.default_rng(seed).random((ARRAY.rows, ARRAY.cols)) < rate


def layers_of(model, some, damping=1e-3):
    known = grams(model, some.split(16), samples=len(some), places=ALL, seed=0)
    return clean_layers(model, known, intercepts(model, some[:2]), damping)


def repaired(name, rate=0.3):
    model, some = network(name), inputs(name)
    pruned = pruned_weights(model, faults(rate), ARRAY)
    mended = copy.deepcopy(model)
    losses, work = one_shot_(mended, layers_of(model, some), pruned)
    return model, mended, pruned, some, losses, work


@pytest.mark.parametrize("name", NETWORKS)
def test_lost_weights_are_zero_and_the_outputs_come_closer_on_average(name):
    model, mended, pruned, some, losses, work = repaired(name)
    cut = copy.deepcopy(model)
    prune_(cut, pruned)
    held = dict(mended.named_parameters(remove_duplicate=False))
    assert all((held[weight][zero] == 0).all() for weight, zero in pruned.items())
    assert losses.keys() == pruned.keys()
    assert work > 0
    with torch.no_grad():
        wanted = model(some)
        assert (mended(some) - wanted).norm() < (cut(some) - wanted).norm()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_chip_without_faults_keeps_its_network(name):
    model, mended, *_ = repaired(name, rate=0.0)
    for key, value in mended.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float64])
def test_a_network_of_any_precision_is_repaired_in_its_own(precision):
    model, some = network("residual").to(precision), inputs("residual").to(precision)
    pruned = pruned_weights(model, faults(), ARRAY)
    mended, cut = copy.deepcopy(model), copy.deepcopy(model)
    one_shot_(mended, layers_of(model, some), pruned)
    prune_(cut, pruned)
    assert {tensor.dtype for tensor in mended.parameters()} == {precision}
    with torch.no_grad():
        wanted = model(some)
        assert (mended(some) - wanted).norm() < (cut(some) - wanted).norm()


def test_each_output_is_fitted_to_the_clean_one_about_its_mean():
    """A linear layer: the repaired outputs' distance from the clean ones is the loss."""
    torch.manual_seed(0)
    model, some = nn.Linear(12, 5), torch.randn(500, 12) @ torch.randn(12, 12) + 2
    pruned = pruned_weights(model, faults(), ARRAY)
    mended = copy.deepcopy(model)
    layers = layers_of(model, some, damping=1e-6)
    losses, _ = one_shot_(mended, layers, pruned)
    with torch.no_grad():
        apart = mended(some) - model(some)
    torch.testing.assert_close(apart.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(apart.square().mean(0) / 2, losses["weight"], rtol=1e-2, atol=1e-4)
    for output, zero in enumerate(pruned["weight"]):
        rows = (some - some.mean(0))[:, ~zero].double()
        wanted = (some - some.mean(0)).double() @ model.weight[output].double()
        best = torch.linalg.lstsq(rows, wanted[:, None]).solution.flatten()
        torch.testing.assert_close(
            mended.weight[output][~zero].double(), best, rtol=1e-2, atol=1e-2
        )


def test_a_layer_that_cannot_be_shifted_is_fitted_about_zero():
    torch.manual_seed(0)
    model, some = nn.Linear(12, 5, bias=False), torch.randn(500, 12) @ torch.randn(12, 12) + 2
    pruned = pruned_weights(model, faults(), ARRAY)
    mended = copy.deepcopy(model)
    one_shot_(mended, layers_of(model, some, damping=1e-6), pruned)
    for output, zero in enumerate(pruned["weight"]):
        wanted = some.double() @ model.weight[output].detach().double()
        best = torch.linalg.lstsq(some[:, ~zero].double(), wanted[:, None]).solution.flatten()
        torch.testing.assert_close(
            mended.weight[output][~zero].double(), best, rtol=1e-2, atol=1e-2
        )


@pytest.mark.parametrize("bias", [False, True])
def test_the_norm_behind_gives_out_the_clean_mean_and_variance_without_running_the_network(bias):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3, bias=bias), nn.BatchNorm2d(6)).eval()
    if bias:
        nn.init.constant_(model[0].bias, 5.0)
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    some = torch.randn(100, 2, 6, 6) + 1
    mended = copy.deepcopy(model)
    one_shot_(mended, layers_of(model, some), pruned_weights(model, faults(), ARRAY))
    with torch.no_grad():
        now, clean = (net(some).transpose(0, 1).flatten(1) for net in (mended, model))
    torch.testing.assert_close(now.mean(1), clean.mean(1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(now.var(1), clean.var(1), rtol=1e-2, atol=1e-3)


def test_an_output_whose_weights_are_all_lost_gives_out_its_clean_mean():
    torch.manual_seed(0)
    model, some = nn.Linear(6, 4), torch.randn(300, 6) + 1
    dead = np.zeros((8, 4), bool)
    dead[:, 2] = True
    mended = copy.deepcopy(model)
    one_shot_(mended, layers_of(model, some), pruned_weights(model, dead, ARRAY))
    with torch.no_grad():
        expected = model(some)[:, 2].mean().expand(300)
        torch.testing.assert_close(mended(some)[:, 2], expected, rtol=1e-4, atol=1e-4)


def test_a_layer_that_no_input_reaches_is_only_pruned():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(6, 4), nn.Linear(6, 4)

        def forward(self, x):
            return self.used(x)

    model, some = Idle(), torch.randn(50, 6)
    pruned = pruned_weights(model, faults(), ARRAY)
    mended = copy.deepcopy(model)
    one_shot_(mended, layers_of(model, some), pruned)
    assert torch.equal(mended.idle.weight, model.idle.weight.masked_fill(pruned["idle.weight"], 0))


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_an_output_that_does_not_vary_on_the_calibration_inputs_keeps_its_scale(level):
    """What its moments say of its variance is rounding alone."""
    torch.manual_seed(0)
    some = torch.randn(400, 6, 5, 5)
    some[:, 3:] = level
    model = nn.Sequential(nn.Conv2d(6, 18, 3, groups=6, bias=False), nn.BatchNorm2d(18)).eval()
    model[1].running_var.uniform_(0.5, 2)
    model[0].weight.data *= 10 ** torch.linspace(-2, 2, 18)[:, None, None, None]
    pruned = pruned_weights(model, faults(0.4), ARRAY)
    mended = copy.deepcopy(model)
    one_shot_(mended, layers_of(model, some), pruned)
    torch.testing.assert_close(
        mended[1].running_var[9:], model[1].running_var[9:], rtol=1e-3, atol=0
    )
    assert not torch.allclose(mended[1].running_var[:9], model[1].running_var[:9], rtol=1e-2)


def test_outputs_are_weighed_by_how_much_the_network_hangs_on_them():
    model, some = network("residual"), inputs("residual")
    known = grams(model, [some], samples=len(some), places=ALL, seed=0)
    found = sensitivities(model, [some], seed=0)
    places = intercepts(model, some[:2])
    weighed = clean_layers(model, known, places, 0.01, found)
    unknown = clean_layers(model, known, places, 0.01)
    for name, layer in weighed.items():
        alone = layer.known.loss_alone(layer.weight)
        torch.testing.assert_close(layer.saliency(), alone * found[name].outputs[:, None])
        shares = unknown[name].saliency() * layer.power[:, None] * len(layer.power)
        torch.testing.assert_close(shares, alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("cleanly", [True, False])
def test_the_power_after_a_change_is_what_the_products_give(cleanly, task):
    known = Calibration(task)
    for layer in known.layers(OneShot(samples=128, places=1024)).values():
        before = layer.weight if cleanly else layer.weight + 0.1 * torch.randn_like(layer.weight)
        now = before + 0.2 * torch.randn_like(before)
        h = layer.known.matrix.repeat_interleave(len(now) // len(layer.known.matrix), 0).double()
        powers = [torch.einsum("ni,nij,nj->n", w.double(), h, w.double()) for w in (before, now)]
        apart = (now - before).double()
        loss = (torch.einsum("ni,nij,nj->n", apart, h, apart) / 2).float()
        for told in (loss, None):
            found = layer.power_after(before, now, told)
            for one, other in zip(found, powers, strict=True):
                assert torch.allclose(one.double(), other, rtol=1e-3)
