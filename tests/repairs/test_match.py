import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from chipmend.hardware import Array
from chipmend.network.intercepts import intercepts
from chipmend.repairs.match import matched_, trust_in
from chipmend.repairs.norms import Statistics, meeting_norms, unlikeness
from chipmend.repairs.prune import prune_, pruned_weights
from chipmend.repairs.recalibrate import reestimate_
from chipmend.repairs.sequential import targets
from conftest import tiny_network, tiny_split
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


STRANGE = {
    "bright": lambda seed: 2 + 0.05 * torch.randn(8, 1, 6, 6, generator=seed),
    "dark": lambda seed: 0.01 * torch.randn(8, 1, 6, 6, generator=seed),
    "noise": lambda seed: 3 * torch.rand(8, 1, 6, 6, generator=seed),
}


@pytest.mark.parametrize("rate", [1 / 64, 0.1, 0.3])
@pytest.mark.parametrize("kind", STRANGE)
def test_unrepresentative_inputs_make_no_chip_worse_where_reestimating_does(task, kind, rate):
    """A tenth of a point is four of the 4,000 pictures."""
    pictures, wanted = tiny_split(4000, seed=9)

    def right(net):
        with torch.no_grad():
            return float((net(pictures).argmax(1) == wanted).float().mean())

    gains, of_reestimating = [], []
    for seed in range(8):
        strange = STRANGE[kind](torch.Generator().manual_seed(seed))
        faulty = np.random.default_rng(seed).random((8, 8)) < rate
        cut = copy.deepcopy(task.model)
        prune_(cut, pruned_weights(task.model, faulty, Array(rows=8, cols=8)))
        held, anew = copy.deepcopy(cut), copy.deepcopy(cut)
        clean, _ = targets(task.model, strange, places=ALL, seed=0)
        matched_(held, task.model, strange, clean, intercepts(task.model, strange[:2]))
        few = type(task.train)(strange, torch.zeros(8, dtype=torch.long))
        reestimate_(anew, few, torch.arange(8))
        gains.append(right(held) - right(cut))
        of_reestimating.append(right(anew) - right(cut))
    assert min(gains) >= -0.002
    assert sum(gains) >= 0
    assert sum(of_reestimating) < min(0, sum(gains))


def test_inputs_are_trusted_as_far_as_they_are_like_those_that_the_norms_were_trained_on(task):
    alike, other = task.train.batch(torch.arange(64))[0], STRANGE["noise"](torch.Generator())
    near, far = (targets(task.model, some, places=9, seed=0)[0] for some in (alike, other))
    assert trust_in(task.model, near) > 0.9
    assert trust_in(task.model, far) < 0.1
    untold = tiny_network().eval()
    assert trust_in(untold, targets(untold, other, places=9, seed=0)[0]) == 1.0


def test_a_correction_that_is_held_back_leaves_what_was_mended_before(task):
    """Held back wholly, it is none, whatever earlier steps have set."""
    noise = 30 * STRANGE["noise"](torch.Generator())
    clean, _ = targets(task.model, noise, places=ALL, seed=0)
    assert trust_in(task.model, clean) < 1e-6
    mended = copy.deepcopy(task.model)
    with torch.no_grad():
        for name, tensor in mended.state_dict().items():
            if name.endswith(("bias", "running_mean", "running_var")):
                tensor += torch.rand(tensor.shape)
    held = copy.deepcopy(mended)
    matched_(held, task.model, noise, clean, intercepts(task.model, noise[:2]))
    for name, tensor in mended.state_dict().items():
        torch.testing.assert_close(held.state_dict()[name], tensor, rtol=1e-3, atol=1e-3)


def test_unlikeness_is_the_divergence_of_normal_laws():
    norm = nn.BatchNorm1d(3, eps=0.0)
    met = Statistics(torch.tensor([0.5, 1.0, -2.0]), torch.tensor([1.5, 0.7, 0.5]))
    assert unlikeness(norm, met) == 0.0  # nothing was stored since it was made
    norm.running_mean.copy_(torch.tensor([0.0, 1.0, -1.0]))
    norm.running_var.copy_(torch.tensor([1.0, 2.0, 0.5]))
    assert norm.num_batches_tracked == 0, "as of a checkpoint that keeps no count"
    laws = [
        Normal(*of)
        for of in (
            (met.mean, met.variance.sqrt()),
            (norm.running_mean, norm.running_var.sqrt()),
        )
    ]
    assert unlikeness(norm, met) == pytest.approx(float(kl_divergence(*laws).mean()), rel=1e-5)


def test_a_norm_is_met_once_and_before_it_computes():
    model, met = tiny_network().eval(), []
    with meeting_norms(model, lambda path, norm, found: met.append((path, found))), torch.no_grad():
        model(torch.ones(2, 1, 6, 6))
        model(torch.ones(2, 1, 6, 6))
    assert [path for path, _ in met] == ["1"]
