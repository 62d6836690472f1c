import copy

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.hardware import Array
from chipmend.network.intercepts import intercepts
from chipmend.repairs.match import matched_
from chipmend.repairs.norms import meeting_norms
from chipmend.repairs.prune import prune_, pruned_weights
from chipmend.repairs.recalibrate import reestimate_
from chipmend.repairs.sequential import targets
from conftest import tiny_network
from repairs.networks import NETWORKS, inputs, network

ARRAY = Array(rows=8, cols=4)
ALL = 10**9


def faults(rate=0.3):
    return np.random.default_rng(0).random((ARRAY.rows, ARRAY.cols)) < rate


def matched(model, some, faulty):
    """A cut network, and the same after matching."""
    cut = copy.deepcopy(model)
    prune_(cut, pruned_weights(model, faulty, ARRAY))
    mended = copy.deepcopy(cut)
    clean, _ = targets(model, some, places=ALL, seed=0)
    matched_(mended, model, some, clean, intercepts(model, some[:2]))
    return cut, mended


def statistics_of_norm_outputs(model, some):
    """Mean and variance of what every norm gives out."""
    found = []

    def note(norm, _, outputs):
        found.append(torch.stack([outputs.mean((0, 2, 3)), outputs.var((0, 2, 3), correction=0)]))

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_hook(note) for norm in norms]
    with torch.no_grad():
        model(some)
    for hook in hooks:
        hook.remove()
    return found


def test_every_channel_comes_out_of_its_norm_with_its_clean_mean_and_variance():
    model, some = network("residual"), inputs("residual", count=200)
    cut, mended = matched(model, some, faults(0.15))
    for clean, off, right in zip(
        *(statistics_of_norm_outputs(net, some) for net in (model, cut, mended)), strict=True
    ):
        torch.testing.assert_close(right, clean, rtol=1e-3, atol=1e-4)
        assert (off - clean).abs().max() > 1e-2


@pytest.mark.parametrize("name", NETWORKS)
def test_a_chip_without_faults_keeps_its_network(name):
    model, some = network(name), inputs(name)
    _, mended = matched(model, some, faults(0))
    for key, value in mended.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-4, atol=1e-4)


def test_a_layer_without_a_norm_gets_its_mean_back_through_its_bias():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)).eval()
    some = torch.randn(100, 8) + 1
    cut, mended = matched(model, some, faults())
    with torch.no_grad():
        wanted = model(some).mean(0)
        torch.testing.assert_close(mended(some).mean(0), wanted, rtol=0, atol=1e-5)
        assert (cut(some).mean(0) - wanted).abs().max() > 0.1


def test_only_norms_and_biases_are_changed():
    model, some = network("residual"), inputs("residual")
    cut, mended = matched(model, some, faults())
    for name, value in mended.state_dict().items():
        if name.endswith("weight"):
            assert value.equal(cut.state_dict()[name]), name


def test_unrepresentative_inputs_do_no_harm_where_reestimating_does(task):
    """Few, dim, flat pictures say nothing of the data, but what the faults change is the same."""
    model = copy.deepcopy(task.model)
    strange = 0.05 * torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0)) + 2
    faulty = np.zeros((8, 8), bool)
    faulty[0, 0] = True
    pruned = pruned_weights(model, faulty, Array(rows=8, cols=8))
    cut = copy.deepcopy(model)
    prune_(cut, pruned)
    matched_net, guessed = copy.deepcopy(cut), copy.deepcopy(cut)
    clean, _ = targets(model, strange, places=ALL, seed=0)
    matched_(matched_net, model, strange, clean, intercepts(model, strange[:2]))
    few = type(task.train)(strange, torch.zeros(8, dtype=torch.long))
    reestimate_(guessed, few, torch.arange(8))
    pictures, wanted = task.test.batch(torch.arange(len(task.test)))

    def right(net):
        with torch.no_grad():
            return float((net(pictures).argmax(1) == wanted).float().mean())

    assert right(matched_net) >= right(cut) - 0.02
    assert right(guessed) < right(matched_net) - 0.1


def test_a_norm_is_met_once_and_before_it_computes():
    model, met = tiny_network().eval(), []
    with meeting_norms(model, lambda path, norm, found: met.append((path, found))), torch.no_grad():
        model(torch.ones(2, 1, 6, 6))
        model(torch.ones(2, 1, 6, 6))
    assert [path for path, _ in met] == ["1"]
