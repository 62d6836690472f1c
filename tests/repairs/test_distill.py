import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div

from chipmend.errors import RepairError
from chipmend.faults import FaultMap
from chipmend.hardware import Array
from chipmend.network import Task, TensorSamples
from chipmend.repairs import Workbench
from chipmend.repairs.distill import TaughtSamples, divergence, squared_error
from chipmend.steps import Distill, Prune, Retrain

INPUTS = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
SOME = torch.tensor([7, 3, 3, 11])


def teacher():
    """Its modules are of different modes, and would draw and estimate in training."""
    torch.manual_seed(0)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3)]
    model = nn.Sequential(*layers)
    model(INPUTS)
    model[1].eval()
    return model


def outputs(seed):
    return 3 * torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)).double()


def test_targets_are_what_the_teacher_says_when_it_is_used():
    model = teacher()
    targets = torch.arange(20)
    taught = TaughtSamples(TensorSamples(INPUTS, targets), model)
    inputs, wanted = taught.batch(SOME)
    assert len(taught) == 20
    assert inputs.equal(INPUTS[SOME])
    assert wanted.equal(teacher().eval()(INPUTS[SOME]).detach())
    assert not wanted.requires_grad


def test_the_teacher_stays_as_it_was():
    model = teacher()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    TaughtSamples(TensorSamples(INPUTS, torch.zeros(20)), model).batch(SOME)
    assert [module.training for module in model.modules()] == modes
    assert len(set(modes)) == 2
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_the_divergence_is_that_of_the_probabilities_times_the_squared_temperature(temperature):
    given, taught = outputs(0), outputs(1)
    wanted = (
        kl_div(
            (given / temperature).log_softmax(1),
            (taught / temperature).softmax(1),
            reduction="batchmean",
        )
        * temperature**2
    )
    assert float(divergence(temperature)(given, taught)) == pytest.approx(float(wanted))
    assert wanted > 0


def test_equal_outputs_do_not_diverge_and_a_shift_of_all_classes_changes_nothing():
    loss, given = divergence(2.0), outputs(0)
    assert float(loss(given, given)) == pytest.approx(0, abs=1e-12)
    assert float(loss(given + 5, given)) == pytest.approx(0, abs=1e-12)


def test_gradients_keep_their_size_at_high_temperatures():
    """Toward T to infinity it is half the squared distance of centred outputs [Hinton2015]."""
    given, taught = outputs(0).requires_grad_(), outputs(1)
    divergence(1e6)(given, taught).backward()
    apart = (given - taught).detach()
    centred = apart - apart.mean(1, keepdim=True)
    torch.testing.assert_close(given.grad, centred / given.numel(), rtol=1e-3, atol=1e-6)


def test_sure_teachers_give_finite_gradients():
    given, taught = (1e4 * outputs(seed) for seed in (0, 1))
    loss = divergence(1.0)(given.requires_grad_(), taught)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(given.grad).all())


def test_nested_outputs_are_compared_tensor_by_tensor():
    given = {"scores": torch.zeros(4, 3), "more": (torch.ones(4), torch.arange(4))}
    taught = {"scores": torch.full((4, 3), 2.0), "more": (torch.full((4,), 4.0), torch.arange(4))}
    assert float(squared_error(given, taught)) == pytest.approx((4 + 9) / 2)


def test_outputs_without_numbers_are_refused():
    with pytest.raises(RepairError, match="a str tells a network nothing"):
        squared_error("a", "b")


class Talkative(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.first(x).relu()
        return {"scores": self.head(hidden), "hidden": hidden}


def loss_of_scores(outputs, targets):
    return cross_entropy(outputs["scores"], targets)


def hits_of_scores(outputs, targets):
    return (outputs["scores"].argmax(1) == targets).float()


def test_a_network_of_several_outputs_learns_from_its_clean_self():
    torch.manual_seed(0)
    model = Talkative()
    split = TensorSamples(torch.randn(512, 6), torch.randint(0, 3, (512,)))
    task = Task(
        model, train=split, validation=split, test=split, loss=loss_of_scores, metric=hits_of_scores
    )
    faulty = np.random.default_rng(0).random((8, 8)) < 0.3
    bench = Workbench(task, Array(rows=8, cols=8), FaultMap.of_pes(faulty), chip="a", seed=0)
    retrain = Retrain(epochs=20.0, learning_rate=0.1, batch=32, teacher=Distill())

    def apart(*recipe):
        with torch.no_grad():
            return float(squared_error(bench.network(recipe)(split.inputs), model(split.inputs)))

    assert apart(Prune(), retrain) < 0.9 * apart(Prune())
