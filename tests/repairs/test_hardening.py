"""A network that was trained to stand losses stands them, and is otherwise as good."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from chipmend.errors import RepairError
from chipmend.network import gemms, scores
from chipmend.repairs.hardening import hardened
from conftest import state, tiny_network

EPOCHS = 150.0


@pytest.fixture(scope="module")
def hard(task):
    return hardened(task, EPOCHS, seed=0)


def loss_under_losses(task, network, draws=60):
    """Mean loss on the validation split, each time without another tenth of the weights."""
    inputs, targets = task.validation.batch(torch.arange(len(task.validation)))
    weights, generator, found = [g.weight for g in gemms(network)], np.random.default_rng(7), []
    with torch.no_grad():
        for _ in range(draws):
            whole = [weight.clone() for weight in weights]
            for weight in weights:
                weight[torch.from_numpy(generator.random(weight.shape) < 0.1)] = 0.0
            found.append(float(cross_entropy(network(inputs), targets)))
            for weight, before in zip(weights, whole, strict=True):
                weight.copy_(before)
    return float(np.mean(found))


def test_a_hardened_network_stands_losses_better_and_is_as_good_without(task, hard, monkeypatch):
    network, _ = hard
    monkeypatch.setattr("chipmend.repairs.hardening.LOST", 0.0)
    only_trained, _ = hardened(task, EPOCHS, seed=0)
    without = loss_under_losses(task, only_trained)
    assert loss_under_losses(task, network) < 0.9 * without
    clean = scores(task.model, task.validation, task.metric).mean()
    assert scores(network, task.validation, task.metric).mean() > clean - 0.05


def test_it_has_the_same_layers_and_the_clean_one_stays(task, hard):
    network, _ = hard
    before, now = state(tiny_network()).keys(), state(network)
    assert now.keys() == before
    fresh = task.fresh_network()
    hardened(task, 2.0, seed=0)
    assert all(torch.equal(t, state(task.model)[name]) for name, t in state(fresh).items())
    assert not torch.equal(now["0.weight"], state(task.model)["0.weight"])


def test_it_is_the_same_in_every_run_and_another_with_another_seed(task):
    one, same, other = (state(hardened(task, 12.0, seed=seed)[0]) for seed in (1, 1, 2))
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
    assert not torch.equal(one["0.weight"], other["0.weight"])


def test_an_epoch_costs_a_third_more_for_the_teacher_and_norms_a_pass(task):
    told = []
    _, cost = hardened(task, 15.0, seed=0, tick=told.append)
    assert cost.retrain == pytest.approx(20.0)
    samples = min(2048, len(task.train))
    assert cost.recalibrate == pytest.approx(samples / (3 * len(task.train)))
    assert told == sorted(told)
    assert 0 < told[-1] <= 20.0


def test_what_cannot_be_trained_is_told(task):
    frozen = task.with_tensors({})
    for parameter in frozen.model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(RepairError, match="every parameter of the network is frozen"):
        hardened(frozen, 1.0, seed=0)
