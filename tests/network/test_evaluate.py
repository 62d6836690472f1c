import numpy as np
import pytest
import torch
from torch import nn

from chipmend.errors import MetricError
from chipmend.network import TensorSamples, accuracy, scores
from chipmend.network.evaluate import device_of, evaluating
from conftest import state


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def samples(count=23):
    generator = torch.Generator().manual_seed(1)
    return TensorSamples(
        torch.randn(count, 4, generator=generator), torch.arange(count).remainder(3)
    )


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def mixed():
    """A network whose modules are in modes of their own."""
    model = network().train()
    model[1].eval()
    model[3].eval()
    return model


@pytest.mark.parametrize("batch", [1, 4, 23, 250])
def test_scores_are_those_of_one_sample_after_another(batch):
    model, split = network(), samples()
    found = scores(model, split, accuracy, batch=batch)
    model.eval()
    expected = []
    with torch.no_grad():
        for x, y in zip(split.inputs, split.targets, strict=True):
            outputs = model(x[None])[0].tolist()
            expected.append(float(outputs.index(max(outputs)) == int(y)))
    assert found.dtype == np.float64
    assert found.tolist() == expected
    assert 0 < sum(expected) < 23


def test_a_metric_may_give_any_number_per_sample():
    split = samples()
    found = scores(network(), split, lambda x, y: -((x[:, 0] - y) ** 2), batch=7)
    with torch.no_grad():
        outputs = network().eval()(split.inputs)
    expected = [-((float(o[0]) - int(y)) ** 2) for o, y in zip(outputs, split.targets, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("start", [network, mixed, lambda: network().eval()])
def test_scoring_leaves_the_network_as_it_was(start):
    model = start()
    before, values = modes(model), state(model)
    scores(model, samples(), accuracy, batch=5)
    assert modes(model) == before
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and not p.is_inference() for p in model.parameters())


def test_a_metric_that_fails_leaves_the_modes_as_they_were():
    model = mixed()
    before = modes(model)

    def broken(outputs, targets):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scores(model, samples(), broken)
    assert modes(model) == before


def test_evaluating_is_eval_mode_inside_and_each_module_s_own_outside():
    model = mixed()
    before = modes(model)
    with evaluating(model):
        assert not any(modes(model).values())
    assert modes(model) == before
    assert {True, False} <= set(before.values())


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (lambda x, y: accuracy(x, y).mean(), r"shape \(\)"),
        (lambda x, y: accuracy(x, y)[:, None], r"shape \(23, 1\)"),
        (lambda x, y: accuracy(x, y)[1:], r"shape \(22,\)"),
        (lambda x, y: accuracy(x, y).tolist(), "list"),
        (lambda x, y: 0.5, "float"),
        (lambda x, y: accuracy(x, y) / 0, "not a finite number"),
        (lambda x, y: torch.where(y == 1, float("inf"), 0.0), "not a finite number"),
        (lambda x, y: torch.where(y == 2, float("nan"), 0.0), "not a finite number"),
    ],
)
def test_a_metric_that_gives_no_finite_number_per_sample_is_refused(metric, said):
    with pytest.raises(MetricError, match=said) as caught:
        scores(network(), samples(), metric)
    assert caught.value.hint


def test_accuracy_counts_the_greatest_output():
    outputs = torch.tensor([[3.0, 1.0, 2.0], [0.0, -1.0, 5.0], [0.1, 0.2, 0.1]])
    assert accuracy(outputs, torch.tensor([0, 0, 1])).tolist() == [1.0, 0.0, 1.0]


def test_the_device_is_the_weights():
    assert device_of(network()) == torch.device("cpu")
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
