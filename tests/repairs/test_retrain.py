import contextlib
import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_pre_hook

from chipmend.errors import RepairError
from chipmend.network import TensorSamples
from chipmend.repairs import HeldAtZero, Retraining
from chipmend.repairs.retrain import _Order
from chipmend.steps import Anytime, Decaying, Retrain
from conftest import same, state

SAMPLES, BATCH = 40, 16  # 2.5 steps per epoch
CONSTANT = Retrain(batch=BATCH, learning_rate=0.05)


def network(dropout=0.0):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)]
    return nn.Sequential(*layers)


def pruned(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "0.weight": torch.rand(8, 6, generator=generator) < 0.4,
        "4.weight": torch.rand(3, 8, generator=generator) < 0.4,
    }


def split(samples=SAMPLES):
    inputs = torch.randn(samples, 6, generator=torch.Generator().manual_seed(1))
    return TensorSamples(inputs, inputs[:, :3].argmax(1))


def trajectory(steps=CONSTANT, *, model=None, train=None, loss=cross_entropy, seed=7):
    return Retraining(
        model or network(), pruned(), train or split(), loss=loss, settings=steps, seed=seed
    )


def advanced(*amounts, **given):
    training = trajectory(**given)
    for amount in amounts:
        training.advance(amount)
    return training


OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, 0.5, momentum=0.9, nesterov=True, weight_decay=1e-2),
    lambda p: torch.optim.SGD(p, 0.5, momentum=0.9, dampening=0.3),
    lambda p: torch.optim.Adam(p, 0.1),
    lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.5),
    lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9, centered=True),
    lambda p: torch.optim.Adagrad(p, 0.1, initial_accumulator_value=0.1),
]


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(OPTIMIZERS), st.integers(0, 9), st.integers(0, 99))
def test_pruned_weights_stay_zero_whatever_the_optimizer_does(make, steps, seed):
    model, zeros, samples = network(), pruned(seed), split()
    held = HeldAtZero(model, zeros)
    optimizer = make(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(samples.inputs), samples.targets).backward()
        optimizer.step()
        stepped = state(model)
        held.enforce_()
        for name, value in model.state_dict().items():
            zero = zeros.get(name, torch.zeros(value.shape, dtype=torch.bool))
            assert (value[zero] == 0).all()
            assert value[~zero].equal(stepped[name][~zero])
    assert all((model.state_dict()[name][zero] == 0).all() for name, zero in zeros.items())


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.floats(0.1, 3), min_size=1, max_size=3).map(sorted),
    st.sampled_from([Anytime(), Anytime(averaging=0), Decaying()]),
    st.integers(0, 2**63 - 1),
)
def test_retraining_gives_pruned_weights_of_zero_after_any_number_of_steps(amounts, how, seed):
    training = trajectory(Retrain(batch=BATCH, epochs=3, schedule=how), seed=seed)
    for amount in amounts:
        training.advance(amount)
        for model in (training.model, training.network()):
            for name, zero in pruned().items():
                assert (model.state_dict()[name][zero] == 0).all()
                assert (model.state_dict()[name][~zero] != 0).all()


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("amounts", [(0.4, 2), (0.8, 2.4), (1, 1, 3), (0.2, 0.6, 1.1, 4)])
def test_stopping_on_the_way_and_going_straight_give_the_same_network_to_the_bit(amounts, dropout):
    training = trajectory(model=network(dropout))
    for turn, amount in enumerate(amounts):
        torch.manual_seed(100 + turn)  # others draw too
        training.advance(amount)
        fresh = advanced(amount, model=network(dropout))
        assert same(state(training.network()), state(fresh.network()))
        assert same(state(training.model), state(fresh.model))
        assert training.epochs == fresh.epochs


def test_training_draws_from_no_one_else_s_stream():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    advanced(1, model=network(dropout=0.5))
    model = network(dropout=0.5)
    torch.random.set_rng_state(before)
    trajectory(model=model).advance(1)
    assert torch.random.get_rng_state().equal(before)


def test_dropout_does_drop_out_and_otherwise_from_step_to_step():
    drawn = []

    class Spied(nn.Dropout):
        def forward(self, x):
            kept = super().forward(torch.ones_like(x))
            drawn.append(kept)
            return x * kept

    model = network()
    model[3] = Spied(0.5)
    advanced(1.6, model=model)
    assert len(drawn) == 4
    assert all((kept == 0).any() for kept in drawn)
    assert len({tuple(kept.flatten().tolist()) for kept in drawn}) == 4


def test_the_same_seed_gives_the_same_network_and_another_one_another():
    assert same(state(advanced(1.2).network()), state(advanced(1.2).network()))
    assert not same(state(advanced(1.2).network()), state(advanced(1.2, seed=8).network()))


def iterates(training, steps):
    """The parameters after every step, recorded on the way."""
    found = []
    for step in range(1, steps + 1):
        training.advance(step * BATCH / SAMPLES)
        assert training.steps == step
        found.append([p.detach().clone() for p in training.model.parameters()])
    return found


@pytest.mark.parametrize("averaging", [0, 1, 3, 8])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_network_is_the_weighted_average_of_all_iterates(averaging, steps):
    # [Shamir2013]: iterate i weighs i (i + 1) ... (i + averaging - 1), exact integers here
    training = trajectory(
        Retrain(batch=BATCH, schedule=Anytime(averaging=averaging)), model=network().double(),
        train=TensorSamples(split().inputs.double(), split().targets),
    )  # fmt: skip
    seen = iterates(training, steps)
    weights = [math.prod(range(i, i + averaging)) for i in range(1, steps + 1)]
    for index, found in enumerate(training.network().parameters()):
        expected = sum(w * step[index] for w, step in zip(weights, seen, strict=True))
        torch.testing.assert_close(found.detach(), expected / sum(weights), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("schedule", [Anytime(), Decaying()])
def test_every_step_is_torch_s_nesterov_step_with_the_pruned_weights_zeroed(schedule, monkeypatch):
    monkeypatch.setattr(
        "chipmend.repairs.retrain.training_precision", lambda _: contextlib.nullcontext()
    )
    samples = TensorSamples(split().inputs.double(), split().targets)
    rate, steps = 0.1, 6  # whole batches: the order of the samples does not matter
    settings = Retrain(
        epochs=steps, batch=999, learning_rate=rate, weight_decay=0.01, schedule=schedule
    )
    training = trajectory(settings, model=network().double(), train=samples)
    training.advance(steps)

    twin, zeros, velocity = network().double(), pruned(), {}
    for step in range(steps):
        for name, parameter in twin.named_parameters():
            if name in zeros:
                parameter.data[zeros[name]] = 0
        twin.zero_grad()
        cross_entropy(twin(samples.inputs), samples.targets).backward()
        now = rate
        if isinstance(schedule, Decaying):
            now = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        for name, parameter in twin.named_parameters():
            slope = parameter.grad + 0.01 * parameter.data
            velocity[name] = 0.9 * velocity.get(name, 0) + slope
            parameter.data -= now * (slope + 0.9 * velocity[name])
    for (name, found), (_, expected) in zip(
        training.model.named_parameters(), twin.named_parameters(), strict=True
    ):
        kept = ~zeros.get(name, torch.zeros(found.shape, dtype=torch.bool))
        torch.testing.assert_close(found[kept], expected[kept], rtol=1e-9, atol=1e-12)


def rates(settings, amount):
    seen = []
    hook = register_optimizer_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
    try:
        advanced(amount, steps=settings)
    finally:
        hook.remove()
    return seen


def test_a_decaying_rate_starts_at_its_peak_only_falls_and_ends_at_almost_zero():
    seen = rates(Retrain(epochs=16, batch=BATCH, learning_rate=0.05, schedule=Decaying()), 16)
    assert len(seen) == 40
    assert seen[0] == 0.05
    assert all(later < earlier for earlier, later in itertools.pairwise(seen))
    assert 0 < seen[-1] < 0.05 * (math.pi / 2 / 40) ** 2 * 1.01
    assert seen[20] == pytest.approx(0.025)


def test_an_anytime_rate_is_constant():
    assert rates(CONSTANT, 2) == [0.05] * 5


class Recorded:
    """Samples that note which of them were asked for."""

    def __init__(self, samples=SAMPLES):
        self.samples, self.asked = split(samples), []

    def __len__(self):
        return len(self.samples)

    def batch(self, indices):
        self.asked.append(indices.tolist())
        return self.samples.batch(indices)


def test_every_sample_is_seen_once_per_epoch_and_batches_reach_over_its_end():
    train = Recorded()
    advanced(2, train=train)
    assert [len(batch) for batch in train.asked] == [BATCH] * 5
    seen = list(itertools.chain(*train.asked))
    first, second = seen[:SAMPLES], seen[SAMPLES:]
    assert sorted(first) == sorted(second) == list(range(SAMPLES))
    assert first != second
    assert first != list(range(SAMPLES))


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 30), st.integers(1, 40), st.integers(0, 2**63 - 1))
def test_the_order_goes_through_all_samples_epoch_after_epoch(samples, batch, seed):
    order = _Order(samples, batch, seed)
    size = min(batch, samples)
    steps = 3 * samples
    found = [order.at(step).tolist() for step in range(steps)]
    assert all(len(indices) == size for indices in found)
    seen = list(itertools.chain(*found))
    for start in range(0, len(seen) - samples + 1, samples):
        assert sorted(seen[start : start + samples]) == list(range(samples))
    assert [order.at(step).tolist() for step in reversed(range(steps))] == found[::-1]


@pytest.mark.parametrize(
    ("amount", "steps"),
    # 2.5 steps per epoch; Python rounds a half to the even number
    [(0.001, 1), (0.4, 1), (0.59, 1), (0.61, 2), (0.8, 2), (1, 2), (1.4, 4), (2, 5), (2.2, 6)],
)
def test_an_amount_is_the_nearest_number_of_steps_and_at_least_one(amount, steps):
    training = advanced(amount)
    assert training.steps == training.steps_of(amount) == steps
    assert training.epochs == steps * BATCH / SAMPLES


def test_a_batch_is_never_more_than_the_split():
    training = advanced(3, steps=Retrain(batch=999))
    assert training.steps == 3
    assert training.epochs == 3


@pytest.mark.parametrize("schedule", [Anytime(), Decaying()])
def test_a_training_that_diverges_is_an_error_that_says_at_which_rate(schedule):
    wild = Retrain(batch=BATCH, epochs=4, learning_rate=1e30, schedule=schedule)
    with pytest.raises(RepairError, match=r"diverged within 4 epochs at a learning rate of 1e\+30"):
        advanced(4, steps=wild)


def test_a_loss_that_is_not_a_number_is_a_divergence():
    with pytest.raises(RepairError, match="diverged"):
        advanced(1, loss=lambda x, y: x.sum() * float("nan"))


def modes(model):
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("eval_of", [(), (1,), (0, 1, 3), (0, 1, 2, 3, 4)])
def test_every_module_is_in_its_own_mode_after_training(eval_of):
    model = network(dropout=0.5)
    for index in eval_of:
        model[index].eval()
    before = modes(model)
    training = advanced(1, model=model)
    assert modes(model) == before
    assert modes(training.network()) == before


def test_modes_are_as_before_even_after_an_error():
    def broken(outputs, targets):
        raise ZeroDivisionError

    model = network().eval()
    with pytest.raises(ZeroDivisionError):
        advanced(1, model=model, loss=broken)
    assert not any(modes(model))


def test_batch_norms_train_on_the_statistics_of_their_batches_whatever_mode_they_came_in():
    found = advanced(1, model=network().eval()).network()
    assert same(state(found), state(advanced(1, model=network()).network()))


def test_frozen_parameters_stay_as_they_are():
    model = network()
    model[4].bias.requires_grad_(False)
    before = copy.deepcopy(model[4].bias)
    training = advanced(2, model=model)
    assert training.network()[4].bias.equal(before)
    assert not training.network()[0].bias.equal(network()[0].bias)


def test_a_network_that_was_given_out_does_not_change_when_training_goes_on():
    training = advanced(1)
    given_out = training.network()
    before = state(given_out)
    training.advance(2)
    assert all(value.equal(before[name]) for name, value in given_out.state_dict().items())


def test_training_lowers_the_loss():
    def loss_of(model):
        with torch.no_grad():
            return float(cross_entropy(model.eval()(split().inputs), split().targets))

    start = advanced(0.001, steps=Retrain(batch=BATCH, learning_rate=1e-9))
    assert loss_of(advanced(40).network()) < 0.5 * loss_of(start.network())


def test_progress_is_told_in_epochs_that_only_grow():
    told = []
    training = trajectory()
    training.advance(40, told.append)
    assert told
    assert told == sorted(told)
    assert 0 < told[0] <= told[-1] <= 40
    assert training.seconds > 0


IMAGES = split()


def test_a_step_loses_more_weights_for_its_passes_alone():
    model = network().eval()  # statistics of norms stay
    held = HeldAtZero(model, pruned())
    before = state(model)
    with held.losing_more(0.3, seed=1):
        lost = {name: p.detach() == 0 for name, p in model.named_parameters() if name in pruned()}
        share = sum(int(each.sum()) for each in lost.values()) / sum(
            each.numel() for each in lost.values()
        )
        cross_entropy(model(IMAGES.inputs), IMAGES.targets).backward()
    gone = sum(int(each.sum()) for each in pruned().values()) / sum(
        each.numel() for each in pruned().values()
    )
    assert share == pytest.approx(gone + 0.3 * (1 - gone), abs=0.12)
    assert same(state(model), before)
    for name, parameter in model.named_parameters():
        if name in lost:
            assert not parameter.grad[lost[name] & ~pruned()[name]].any()
            assert parameter.grad[~lost[name]].any()


def test_steps_lose_other_weights_each_and_the_same_in_every_run():
    held = HeldAtZero(network(), pruned())
    drawn = []
    for seed in (1, 2, 1):
        with held.losing_more(0.5, seed=seed):
            drawn.append([weight.detach().clone() for weight, _ in held._held])
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[2], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))


def test_training_with_losses_in_mind_makes_a_network_that_stands_them_better():
    def loss_under_losses(losing):
        training = Retraining(
            network(),
            pruned(),
            split(),
            loss=cross_entropy,
            settings=CONSTANT,
            seed=3,
            losing=losing,
        )
        training.advance(30.0)
        held = HeldAtZero(found := training.network(), pruned())
        losses = []
        for seed in range(40):
            with held.losing_more(0.3, seed=seed), torch.no_grad():
                losses.append(float(cross_entropy(found.eval()(IMAGES.inputs), IMAGES.targets)))
        return sum(losses) / len(losses)

    assert loss_under_losses(0.3) < loss_under_losses(0.0)


def steps_under_losses(*, losing, steps=40):
    """Of each step, whether its norm went by the batch, what weights it lost, and its gradient."""
    seen, model, zeros = [], network(), pruned()
    whole = {n: p for n, p in model.named_parameters() if n in zeros}
    training = Retraining(
        model, zeros, split(), loss=cross_entropy, settings=CONSTANT, seed=3, losing=losing
    )

    def look(module, inputs, output):
        lost = sum(int((p == 0).sum() - zeros[n].sum()) for n, p in whole.items())
        seen.append([module[1].training, lost])

    def measure(optimizer, *_):
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        seen[-1].append(float(torch.stack([g.norm() for g in grads]).norm()))

    model.register_forward_hook(look)
    hook = register_optimizer_step_pre_hook(measure)
    training.advance(steps * BATCH / SAMPLES)
    hook.remove()
    return seen


def test_steps_that_lose_weights_take_norms_as_they_are_and_the_others_teach_them():
    seen = steps_under_losses(losing=0.2)
    assert len(seen) == 40
    for step, (by_batch, lost, length) in enumerate(seen):
        assert by_batch == (step < 16 or step % 8 == 0)
        assert lost == 0 or not by_batch
        assert length <= 1 + 1e-6
    assert sum(lost for _, lost, _ in seen) > 20
    plain = steps_under_losses(losing=0.0)
    assert all(by_batch and not lost for by_batch, lost, _ in plain)


@pytest.mark.parametrize("losing", [0.04, 0.3])
def test_steps_lose_up_to_twice_so_many_of_the_weights(losing):
    large = nn.Linear(200, 200)
    kept = {"weight": torch.zeros(200, 200, dtype=torch.bool)}
    samples = TensorSamples(torch.randn(64, 200), torch.zeros(64, dtype=torch.long))
    shares = []

    def loss(outputs, targets):
        shares.append(float((large.weight == 0).float().mean()))
        return outputs.square().mean()

    training = Retraining(large, kept, samples, loss=loss, settings=CONSTANT, seed=0, losing=losing)
    training.advance(200.0)
    harmed = [share for step, share in enumerate(shares) if step >= 16 and step % 8]
    assert sum(harmed) / len(harmed) == pytest.approx(losing, rel=0.1)
    assert min(harmed) < 0.1 * losing
    assert 1.9 * losing < max(harmed) < 2.1 * losing
