"""The oracle is least squares on the healthy columns of the inputs, output by output."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chipmend.errors import RepairError
from chipmend.network.grams import Gram
from chipmend.repairs import closed_form
from chipmend.repairs.closed_form import Inputs, Moments, compensated, damped, losses_together

FORMS = ("faulty", "healthy", "dual")


def problem(seed, *, blocks=1, outputs=6, k=9, samples=30, rate=0.4):
    """Inputs of each block, weights, and which have to be zero; outputs share faulty sets."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(blocks, samples, k, generator=generator, dtype=torch.float64)
    weights = torch.randn(blocks * outputs, k, generator=generator, dtype=torch.float64)
    patterns = torch.rand(4, k, generator=generator) < rate
    return inputs, weights, patterns[torch.arange(blocks * outputs) % 4]


def known(inputs, damping, form):
    rows = inputs / inputs.shape[1] ** 0.5
    added = torch.full((len(inputs),), damping, dtype=torch.float64)
    if form == "dual":
        return Inputs(rows[0], added[0])
    matrix = rows.mT @ rows + damping * torch.eye(rows.shape[-1], dtype=torch.float64)
    moments = Moments(matrix, added)
    return moments.with_inverse() if form == "faulty" else moments


def solved(form, weights, faulty, held, monkeypatch):
    """The closed form, made to take one of its forms."""
    if form == "faulty":
        monkeypatch.setattr(closed_form, "_work_of_faulty_form", lambda *_: 0)
    if form == "healthy":
        monkeypatch.setattr(closed_form, "_work_of_healthy_form", lambda *_: -1)
    return compensated(weights, faulty, held)


def least_squares(inputs, weights, faulty, damping):
    """Best healthy weights of each output, and half their damped mean squared error."""
    best, loss = torch.zeros_like(weights), torch.zeros(len(weights), dtype=torch.float64)
    for n, (weight, bad) in enumerate(zip(weights, faulty, strict=True)):
        rows = inputs[n * len(inputs) // len(weights)]
        scale, k = len(rows) ** 0.5, rows.shape[1]
        tall = torch.cat([rows / scale, damping**0.5 * torch.eye(k, dtype=torch.float64)])
        if not bad.all():
            best[n, ~bad] = torch.linalg.lstsq(tall[:, ~bad], tall @ weight).solution
        loss[n] = (tall @ (best[n] - weight)).square().sum() / 2
    return best, loss


@pytest.mark.parametrize(
    ("form", "blocks"),
    [("dual", 1), *itertools.product(sorted({*FORMS} - {"dual"}), (1, 3))],  # wide: one block
)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_every_form_is_the_least_squares_solution(form, rate, blocks, monkeypatch):
    inputs, weights, faulty = problem(0, blocks=blocks, rate=rate)
    best, loss = least_squares(inputs, weights, faulty, 0.1)
    found = solved(form, weights, faulty, known(inputs, 0.1, form), monkeypatch)
    torch.testing.assert_close(found.weights, best, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.loss, loss, rtol=1e-6, atol=1e-12)
    assert (found.weights[faulty] == 0).all()


@given(
    seed=st.integers(0, 1000),
    blocks=st.integers(1, 4),
    outputs=st.integers(1, 9),
    k=st.integers(1, 12),
    rate=st.floats(0, 1),
)
def test_the_objective_is_that_of_least_squares_whatever_the_sizes(seed, blocks, outputs, k, rate):
    inputs, weights, faulty = problem(seed, blocks=blocks, outputs=outputs, k=k, rate=rate)
    found = compensated(weights, faulty, known(inputs, 0.01, "healthy"))
    _, loss = least_squares(inputs, weights, faulty, 0.01)
    torch.testing.assert_close(found.loss, loss, rtol=1e-6, atol=1e-12)


def test_batches_of_any_size_give_the_same(monkeypatch):
    inputs, weights, faulty = problem(1)
    whole = compensated(weights, faulty, known(inputs, 0.1, "faulty"))
    monkeypatch.setattr(closed_form, "LARGEST_BATCH", 1)
    one_by_one = compensated(weights, faulty, known(inputs, 0.1, "faulty"))
    torch.testing.assert_close(one_by_one.weights, whole.weights)


def test_few_faults_take_the_faulty_form_and_many_the_healthy_one():
    inputs, weights, _ = problem(2, k=40, outputs=8)
    held = known(inputs, 0.1, "faulty")
    few, many = torch.zeros(8, 40, dtype=torch.bool), torch.ones(8, 40, dtype=torch.bool)
    few[:, 0], many[:, 0] = True, False
    solving = 8 * 1 + 1 // 3  # right-hand sides of one system of one, and its factor
    assert compensated(weights, few, held).multiply_adds == 8 * 40 * 1 + solving
    assert compensated(weights, many, held).multiply_adds == 8 * 40 * 40 + solving


@pytest.mark.parametrize("form", ["faulty", "healthy"])
def test_singular_moments_are_told_as_such(form, monkeypatch):
    inputs, weights, faulty = problem(3, samples=3)
    with pytest.raises(RepairError, match="larger 'damping'"):
        solved(form, weights, faulty, known(inputs, 0.0, form), monkeypatch)


def gram(inputs, *, keep=False):
    mean = inputs.mean(1)
    apart = inputs - mean[:, None]
    moments = apart.mT @ apart / inputs.shape[1]
    return Gram(mean, None, apart[0]) if keep else Gram(mean, moments, None)


@pytest.mark.parametrize("centred", [True, False])
def test_damping_is_a_share_of_the_mean_second_moment(centred):
    inputs = problem(4, blocks=2)[0] + 3
    held = damped(gram(inputs), 0.5, centred=centred)
    apart = inputs - inputs.mean(1, keepdim=True) if centred else inputs
    moments = apart.mT @ apart / inputs.shape[1]
    for block in range(2):
        added = 0.5 * moments[block].diagonal().mean()
        expected = moments[block] + added * torch.eye(9, dtype=torch.float64)
        torch.testing.assert_close(held.matrix[block], expected)
        torch.testing.assert_close(held.damping[block], added)


@pytest.mark.parametrize("centred", [True, False])
def test_wide_weights_get_the_same_from_their_rows(centred):
    inputs, weights, faulty = problem(5, samples=7)
    inputs = inputs + 2
    by_rows = damped(gram(inputs, keep=True), 0.2, centred=centred)
    by_moments = damped(gram(inputs), 0.2, centred=centred)
    found = [compensated(weights, faulty, held) for held in (by_rows, by_moments)]
    torch.testing.assert_close(found[0].weights, found[1].weights)
    torch.testing.assert_close(found[0].loss, found[1].loss)
    torch.testing.assert_close(by_rows.power(weights), by_moments.power(weights))


def test_dead_inputs_leave_healthy_weights_alone():
    weights, faulty = torch.randn(2, 3), torch.tensor([[True, False, False]] * 2)
    held = damped(Gram(torch.zeros(1, 3), torch.zeros(1, 3, 3), None), 0.01, centred=True)
    found = compensated(weights, faulty, held)
    assert torch.equal(found.weights, weights.masked_fill(faulty, 0))


def test_single_precision_is_close_to_double():
    inputs, weights, faulty = problem(6, k=60, samples=500, outputs=20)
    exact = compensated(weights, faulty, known(inputs, 0.01, "faulty"))
    held = known(inputs, 0.01, "faulty")
    rounded = compensated(
        weights.float(),
        faulty,
        Moments(held.matrix.float(), held.damping.float()).with_inverse(),
    )
    np.testing.assert_allclose(rounded.weights, exact.weights, atol=1e-4)


@pytest.mark.parametrize("blocks", [1, 3])
def test_losses_together_are_those_of_each_output_under_each_other_s_faulty_set(blocks):
    inputs, weights, faulty = problem(0, blocks=blocks, rate=0.5)
    held = known(inputs, 0.1, "faulty")
    found, work = losses_together(weights, faulty, held)
    size = len(weights) // blocks
    for row, weight in enumerate(weights):
        for col, bad in enumerate(faulty):
            wanted = 0.0
            if row // size == col // size:
                alike, where = torch.zeros_like(weights), torch.zeros_like(faulty)
                alike[row], where[row] = weight, bad
                wanted = float(compensated(alike, where, held).loss[row])
            assert float(found[row, col]) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert work > 0


def test_of_wide_weights_losses_are_taken_alone():
    inputs, weights, faulty = problem(0, blocks=1, rate=0.3)
    held = known(inputs, 0.1, "dual")
    found, _ = losses_together(weights, faulty, held)
    alone = held.loss_alone(weights)
    for row, col in itertools.product(range(len(weights)), repeat=2):
        assert float(found[row, col]) == pytest.approx(float(alone[row, faulty[col]].sum()))
