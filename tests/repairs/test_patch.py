"""Going on from the network that a chip was shipped: only what new faults changed is done again."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.errors import RepairError
from chipmend.hardware import Array, WeightMemory
from chipmend.network.grams import grams
from chipmend.network.integer.codes import Codes
from chipmend.network.intercepts import intercepts
from chipmend.repairs.gptq import factor_of
from chipmend.repairs.one_shot import clean_layers, one_shot_
from chipmend.repairs.patch import Shipped, patched_, patched_codes_
from chipmend.repairs.prune import prune_, pruned_weights
from chipmend.repairs.words import HitWords, Words
from chipmend.steps import Prune
from repairs.networks import NETWORKS, inputs, network

ARRAY = Array(rows=8, cols=4)
ALL = 10**9


def faults(rate, seed=0):
    return np.random.default_rng(seed).random((ARRAY.rows, ARRAY.cols)) < rate


def with_one_more(faulty):
    more = faulty.copy()
    more.ravel()[np.flatnonzero(~faulty.ravel())[0]] = True
    return more


def layers_of(model, some, damping=1e-3):
    known = grams(model, some.split(16), samples=len(some), places=ALL, seed=0)
    return clean_layers(model, known, intercepts(model, some[:2]), damping)


def shipped_and_patched(name, seed=0):
    """A network that was repaired for a chip, and patched for one more broken PE."""
    model, some = network(name), inputs(name)
    before = faults(0.3, seed)
    now = with_one_more(before)
    layers = layers_of(model, some)
    shipped = copy.deepcopy(model)
    one_shot_(shipped, layers, pruned_weights(model, before, ARRAY))
    patched, lost = copy.deepcopy(shipped), pruned_weights(model, now, ARRAY)
    work = patched_(patched, layers, lost)
    return model, some, shipped, patched, lost, work


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_lost_is_zero(name):
    *_, patched, lost, work = shipped_and_patched(name)
    held = dict(patched.named_parameters(remove_duplicate=False))
    assert all((held[weight][zero] == 0).all() for weight, zero in lost.items())
    assert work > 0


def test_outputs_stay_much_closer_to_what_was_shipped_than_without():
    apart = torch.zeros(2)
    for seed in range(5):
        _, some, shipped, patched, lost, _ = shipped_and_patched("residual", seed)
        cut = copy.deepcopy(shipped)
        prune_(cut, lost)
        with torch.no_grad():
            each = [(found(some) - shipped(some)).norm() for found in (patched, cut)]
        apart += torch.stack(each)
    assert apart[0] < 0.3 * apart[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_that_lost_nothing_keep_their_weights_to_the_last_bit(name):
    _, _, shipped, patched, lost, _ = shipped_and_patched(name)
    was, now = (dict(m.named_parameters(remove_duplicate=False)) for m in (shipped, patched))
    kept = changed = 0
    for weight, zero in lost.items():
        hit = (zero & (was[weight] != 0)).flatten(1).any(1)
        assert torch.equal(now[weight][~hit], was[weight][~hit])
        kept, changed = kept + int((~hit).sum()), changed + int(hit.sum())
    assert kept
    assert changed


def test_a_network_without_new_losses_stays_as_it_is():
    model, some = network("residual"), inputs("residual")
    layers, lost = layers_of(model, some), pruned_weights(model, faults(0.3), ARRAY)
    shipped = copy.deepcopy(model)
    one_shot_(shipped, layers, lost)
    patched = copy.deepcopy(shipped)
    assert patched_(patched, layers, lost) == 0
    for key, value in patched.state_dict().items():
        assert torch.equal(value, shipped.state_dict()[key])


def linear_patched():
    """A linear layer that was trained on after repair, so that its optimum is not the clean one."""
    torch.manual_seed(0)
    model, some = nn.Linear(12, 5), torch.randn(500, 12) @ torch.randn(12, 12) + 2
    before, now = faults(0.3), with_one_more(faults(0.3))
    layers, lost = layers_of(model, some, 1e-6), pruned_weights(model, now, ARRAY)
    shipped = copy.deepcopy(model)
    with torch.no_grad():
        shipped.weight.add_(0.3 * torch.randn_like(shipped.weight))
    prune_(shipped, pruned_weights(model, before, ARRAY))
    patched = copy.deepcopy(shipped)
    patched_(patched, layers, lost)
    return some, shipped, patched, lost["weight"]


def test_it_is_the_least_squares_fit_to_what_was_shipped_and_not_to_the_clean_network():
    some, shipped, patched, lost = linear_patched()
    hit = (lost & (shipped.weight != 0)).any(1)
    assert hit.any()
    for output in hit.nonzero().flatten():
        centred = (some - some.mean(0)).double()
        wanted = centred @ shipped.weight[output].detach().double()
        rows = centred[:, ~lost[output]]
        best = torch.linalg.lstsq(rows, wanted[:, None]).solution.flatten()
        found = patched.weight[output][~lost[output]].double()
        torch.testing.assert_close(found, best, rtol=1e-2, atol=1e-2)


def test_mean_outputs_are_those_of_what_was_shipped():
    some, shipped, patched, _ = linear_patched()
    with torch.no_grad():
        apart = (patched(some) - shipped(some)).mean(0)
    torch.testing.assert_close(apart, torch.zeros(5), atol=1e-4, rtol=0)


def coded(stuck_at=None, k=12, n=6, groups=1):
    """A layer in codes, and the words that it has now; of one, some bits came to be stuck."""
    torch.manual_seed(1)
    model = nn.Conv1d(k * groups, n, 1, groups=groups)
    some = (torch.randn(400, k * groups) @ torch.randn(k * groups, k * groups))[:, :, None]
    memory = WeightMemory(bits=8)
    step = model.weight.detach().flatten(1).abs().amax(1).double() / memory.highest
    numbers = (model.weight.detach().flatten(1) / step[:, None]).round()
    codes = Codes(numbers.view(model.weight.shape).float(), step)
    with torch.no_grad():
        model.weight.copy_(codes.weight().view_as(model.weight))
    lost = torch.zeros(n, k, dtype=torch.bool)
    hit = HitWords.none()
    if stuck_at is not None:
        hit = HitWords(torch.tensor(stuck_at), torch.full((len(stuck_at),), 64))
    return model, some, codes, Words(memory, hit, lost), lost, memory


def patched_in_codes(model, some, codes, words):
    layers = layers_of(model, some, 1e-4)
    factors = {name: factor_of(layer.known.inverse) for name, layer in layers.items()}
    patched = copy.deepcopy(model)
    found, work = patched_codes_(patched, {"weight": codes}, layers, factors, {"weight": words})
    return patched, found["weight"], work


def test_codes_stay_where_words_read_what_they_did():
    model, some, codes, words, *_ = coded()
    patched, found, work = patched_in_codes(model, some, codes, words)
    assert work == 0
    assert torch.equal(found.numbers, codes.numbers)
    assert torch.equal(found.step, codes.step)
    assert torch.equal(patched.weight, model.weight)
    assert torch.equal(patched.bias, model.bias)


@pytest.mark.parametrize("groups", [1, 2])
def test_codes_are_chosen_anew_for_outputs_whose_words_read_something_else(groups):
    model, some, codes, _, lost, memory = coded(groups=groups)
    lost[1, 3] = lost[4, :5] = True
    words = Words(memory, HitWords.none(), lost)
    patched, found, work = patched_in_codes(model, some, codes, words)
    flat = found.numbers.flatten(1)
    assert not flat[lost].any()
    assert torch.equal(words.nearest(flat), flat)  # every word can read its number
    others = [0, 2, 3, 5]
    assert torch.equal(found.numbers[others], codes.numbers[others])
    assert torch.equal(found.step[others], codes.step[others])
    assert work > 0
    with torch.no_grad():
        apart = (patched(some) - model(some))[:, :, 0]
    torch.testing.assert_close(apart.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    for output in (1, 4):  # as near as real weights could come, but for the rounding
        inputs_of = some[:, :, 0].unflatten(1, (groups, 12))[:, output // (6 // groups)].double()
        centred = inputs_of - inputs_of.mean(0)
        wanted = centred @ codes.weight().view(6, 12)[output].double()
        rows = centred[:, ~lost[output]]
        best = torch.linalg.lstsq(rows, wanted[:, None]).solution.flatten()
        assert apart[:, output].norm() < 1.05 * (rows @ best - wanted).norm() + 0.02 * wanted.norm()


def test_a_word_whose_bits_came_to_be_stuck_is_met_as_well():
    model, some, codes, words, *_ = coded(stuck_at=[5, 17])
    read = words.nearest(codes.numbers.flatten(1))
    changed = (read != codes.numbers.flatten(1)).any(1)
    assert changed.any()
    _, found, _ = patched_in_codes(model, some, codes, words)
    flat = found.numbers.flatten(1)
    assert torch.equal(words.nearest(flat), flat)
    assert torch.equal(flat[~changed], codes.numbers.flatten(1)[~changed])


def test_another_network_than_was_shipped_is_refused():
    model = network("twice")
    tensors = {name: tensor.detach() for name, tensor in model.named_parameters()}
    tensors.pop("head.bias")
    shipped = Shipped(steps=(Prune(),), faults="", tensors=tensors)
    with pytest.raises(RepairError, match="another network"):
        shipped.load_(model)
