import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.hardware import Array
from chipmend.network.intercepts import intercepts
from chipmend.network.sensitivity import sensitivities
from chipmend.repairs import sequential
from chipmend.repairs.factors import second_moments
from chipmend.repairs.prune import are_zero, prune_, pruned_weights
from chipmend.repairs.sequential import _chosen, sequential_, targets
from repairs.networks import NETWORKS, inputs, network

ARRAY = Array(rows=8, cols=4)
ALL = 10**9


def faults(rate=0.3, seed=0):
    return np.random.default_rng(seed).random((ARRAY.rows, ARRAY.cols)) < rate


def sequenced(model, some, faulty, *, pull=1e-3, places=ALL):
    pruned = pruned_weights(model, faulty, ARRAY)
    mended = copy.deepcopy(model)
    clean, _ = targets(model, some, places=places, seed=0)
    work = sequential_(mended, some, clean, pruned, intercepts(model, some[:2]), pull=pull)
    return mended, pruned, work


@pytest.mark.parametrize("name", NETWORKS)
def test_lost_weights_are_zero_and_the_outputs_come_closer_on_average(name):
    model, some = network(name), inputs(name)
    mended, pruned, work = sequenced(model, some, faults())
    cut = copy.deepcopy(model)
    prune_(cut, pruned)
    held = dict(mended.named_parameters(remove_duplicate=False))
    assert all((held[weight][zero] == 0).all() for weight, zero in pruned.items())
    assert work > 0
    with torch.no_grad():
        wanted = model(some)
        assert (mended(some) - wanted).norm() < (cut(some) - wanted).norm()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_chip_without_faults_keeps_its_network(name):
    model, some = network(name), inputs(name)
    mended, *_ = sequenced(model, some, faults(0))
    for key, value in mended.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_each_layer_is_fitted_on_what_repaired_layers_hand_it(bias):
    """Two linear layers: the second one is the least squares fit on the first one's new outputs."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 9, bias=bias), nn.ReLU(), nn.Linear(9, 5, bias=bias))
    some, pull = torch.randn(400, 10) + 1, 0.05
    mended, pruned, _ = sequenced(model, some, faults(), pull=pull)
    with torch.no_grad():
        rows, wanted = mended[1](mended[0](some)).double(), model(some).double()
        given = model[2].weight.double()
        if bias:
            torch.testing.assert_close(mended(some).mean(0), model(some).mean(0), rtol=0, atol=1e-4)
            rows, wanted = rows - rows.mean(0), wanted - wanted.mean(0)
    rows, wanted = rows / 20, wanted / 20
    added = pull * rows.square().sum(0).mean()
    for output, zero in enumerate(pruned["2.weight"]):
        healthy = ~zero
        tall = torch.cat([rows[:, healthy], added.sqrt() * torch.eye(int(healthy.sum()))])
        toward = torch.cat([wanted[:, output], added.sqrt() * given[output, healthy]])
        best = torch.linalg.lstsq(tall, toward[:, None]).solution.flatten()
        torch.testing.assert_close(
            mended[2].weight[output, healthy].double(), best, rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("groups", "given"), [(1, 6), (2, 6), (4, 4), (4, 8)])
def test_each_group_of_a_convolution_is_fitted_on_its_own_inputs(groups, given, bias):
    """By the normal equations of each output, from patches that torch unfolds."""
    torch.manual_seed(0)
    last = nn.Conv2d(4, given, 3, padding=1, groups=groups, bias=bias)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), last).eval()
    some, pull = torch.randn(60, 2, 6, 6) + 0.5, 0.05
    mended, pruned, _ = sequenced(model, some, faults(), pull=pull)
    with torch.no_grad():
        handed, wanted = mended[:2](some).double(), model(some).double().movedim(1, 0).flatten(1)
        out = mended(some).double().movedim(1, 0).flatten(1)
        clean = last.weight.flatten(1).double()
    for output in range(given):
        of_group = handed.tensor_split(groups, 1)[output * groups // given]
        rows = nn.functional.unfold(of_group, 3, padding=1).transpose(1, 2).flatten(0, 1)
        target, healthy = wanted[output], ~pruned["2.weight"][output].flatten()
        if bias:
            rows, target = rows - rows.mean(0), target - target.mean()
            torch.testing.assert_close(out[output].mean(), wanted[output].mean())
        added = pull * rows.square().mean() * len(rows)
        normal = rows[:, healthy].T @ rows[:, healthy] + added * torch.eye(int(healthy.sum()))
        best = torch.linalg.solve(
            normal, rows[:, healthy].T @ target + added * clean[output, healthy]
        )
        found = mended[2].weight[output].flatten()[healthy].double()
        torch.testing.assert_close(found, best, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["residual", "twice", "attending", "volume"])
def test_wide_layers_fitted_in_the_space_of_samples_come_to_the_same(name, monkeypatch):
    model, some = network(name), inputs(name)
    mended, _, _ = sequenced(model, some, faults())
    monkeypatch.setattr(sequential, "WIDEST", 5)
    monkeypatch.setattr(sequential, "second_moments", forbidden_for_dense_layers)
    wide, _, work = sequenced(model, some, faults())
    assert work > 0
    for key, value in wide.state_dict().items():
        torch.testing.assert_close(value, mended.state_dict()[key], rtol=1e-3, atol=1e-3)


def forbidden_for_dense_layers(rows):
    assert len(rows) > 1
    return second_moments(rows)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float64])
def test_a_network_of_any_precision_is_repaired_in_its_own(precision):
    model, some = network("residual").to(precision), inputs("residual").to(precision)
    mended, pruned, _ = sequenced(model, some, faults())
    cut = copy.deepcopy(model)
    prune_(cut, pruned)
    assert {tensor.dtype for tensor in mended.parameters()} == {precision}
    with torch.no_grad():
        wanted = model(some)
        assert (mended(some) - wanted).norm() < (cut(some) - wanted).norm()


def test_norms_give_out_their_clean_mean_and_variance():
    model, some = network("residual"), inputs("residual")
    mended, *_ = sequenced(model, some, faults())
    found = []
    for each in (model, mended):
        given = {}
        for name in ("norm", "inner", "outer"):
            each.get_submodule(name).register_forward_hook(
                lambda _, __, out, name=name, given=given: given.__setitem__(name, out)
            )
        with torch.no_grad():
            each(some)
        found.append(given)
    for name, clean in found[0].items():
        for moment in (torch.mean, torch.var):
            torch.testing.assert_close(
                moment(found[1][name], (0, 2, 3)), moment(clean, (0, 2, 3)), rtol=1e-2, atol=1e-3
            )


def test_a_weight_used_twice_is_fitted_once_on_both_uses():
    model, some = network("twice"), inputs("twice", 256)
    mended, pruned, _ = sequenced(model, some, faults(), pull=1e-6)
    weight = model.layer.weight.double()
    again = model.layer(some).relu().double()
    rows = torch.cat([some.double(), again]).detach()
    wanted = (rows @ weight.mT).detach()
    for output, zero in enumerate(pruned["layer.weight"]):
        best = torch.linalg.lstsq(rows[:, ~zero], wanted[:, [output]]).solution.flatten()
        found = mended.layer.weight[output, ~zero].double()
        torch.testing.assert_close(found, best, rtol=1e-2, atol=1e-2)


def test_some_rows_say_about_as_much_as_all():
    model, some = network("residual"), inputs("residual", 256)
    found = []
    for places in (ALL, 2000):
        mended, *_ = sequenced(model, some, faults(), places=places)
        with torch.no_grad():
            found.append((mended(some) - model(some)).norm())
    assert found[1] < 1.3 * found[0]


def test_rows_are_chosen_once_each_and_more_often_where_more_hangs_on_them():
    rows, places, generator = 400, 100, torch.Generator().manual_seed(0)
    weights = torch.zeros(rows)
    weights[:200] = 1.0
    counts = torch.zeros(rows)
    for _ in range(50):
        chosen = _chosen(rows, places, weights, generator)
        assert len(chosen.unique()) == places
        assert chosen.tolist() == sorted(chosen.tolist())
        counts[chosen] += 1
    # odds of 0.2 + 0.8 * 2 against 0.2, that is 9 to 1 at the first draw
    assert 6 < counts[:200].sum() / counts[200:].sum() < 10
    assert counts[200:].sum() > 0, "some are chosen evenly, whatever the outputs hang on"


def test_where_nothing_is_known_of_rows_they_are_chosen_evenly_and_few_rows_are_all_taken():
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(100)
    for _ in range(400):
        counts[_chosen(100, 20, None, generator)] += 1
    assert counts.min() > 40
    assert counts.max() < 130
    assert _chosen(7, 20, torch.rand(7), generator).tolist() == list(range(7))


def test_targets_are_taken_at_the_chosen_rows_of_the_product():
    model, some = network("residual"), inputs("residual")
    found = sensitivities(model, [some], seed=0)
    clean, _ = targets(model, some, places=50, seed=0, sensitive=found)
    everything, _ = targets(model, some, places=ALL, seed=0)
    for part, target in clean.parts.items():
        assert len(target.places) <= 50
        wanted = everything.parts[part].outputs[target.places]
        torch.testing.assert_close(target.outputs, wanted, rtol=1e-5, atol=1e-5)
    assert clean.norms.keys() == everything.norms.keys()


def test_a_layer_that_no_input_reaches_loses_its_weights_like_any_other():
    class WithHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.only_in_training = nn.Linear(8, 6), nn.Linear(8, 6)

        def forward(self, x):
            return self.used(x) + (self.only_in_training(x) if self.training else 0)

    model, some = WithHead().eval(), torch.randn(40, 8)
    mended, pruned, _ = sequenced(model, some, faults())
    assert pruned["only_in_training.weight"].any()
    assert are_zero(mended, pruned)


def best_over_all_losses(rows, wanted, missed):
    """The weights with the least expected error, by going through all that may be lost."""
    k = rows.shape[1]
    moments, sought = torch.zeros(k, k), torch.zeros(k, wanted.shape[1])
    for kept in itertools.product((0.0, 1.0), repeat=k):
        left = torch.tensor(kept)
        odds = missed ** (k - left.sum()) * (1 - missed) ** left.sum()
        moments += odds * left[:, None] * (rows.mT @ rows) * left
        sought += odds * left[:, None] * (rows.mT @ wanted)
    return torch.linalg.solve(moments, sought).mT


@pytest.mark.parametrize("missed", [0.0, 0.05, 0.3])
def test_a_layer_reckons_with_all_that_may_be_lost(missed):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 6, generator=generator) + 1
    layer = nn.Linear(6, 4, bias=False)
    model = nn.Sequential(layer)
    clean, _ = targets(model, rows, places=200, seed=0)
    none = {"0.weight": torch.zeros(4, 6, dtype=torch.bool)}
    wanted = layer(rows).detach()
    sequential_(model, rows, clean, none, intercepts(model, rows), pull=1e-7, missed=missed)
    assert torch.allclose(layer.weight, best_over_all_losses(rows, wanted, missed), atol=1e-4)


def test_lost_weights_are_made_up_for_with_what_may_be_lost_in_mind():
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(300, 6, generator=generator)
    rows[:, 1] = rows[:, 0] + 0.1 * rows[:, 1]  # what the first carries, the second could
    layer = nn.Linear(6, 4, bias=False)
    model, wanted = nn.Sequential(layer), layer(rows).detach()
    clean, _ = targets(model, rows, places=300, seed=0)
    lost = torch.zeros(4, 6, dtype=torch.bool)
    lost[:, 0] = True
    sequential_(
        model, rows, clean, {"0.weight": lost}, intercepts(model, rows), pull=1e-7, missed=0.1
    )
    expected = best_over_all_losses(rows[:, 1:], wanted, 0.1)
    assert torch.allclose(layer.weight[:, 1:], expected, atol=1e-4)
    assert not layer.weight[:, 0].any()
