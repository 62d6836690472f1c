"""What repair without training costs, worked out by hand for the tiny network."""

import numpy as np
import pytest

from chipmend.faults import FaultMap
from chipmend.hardware import Array
from chipmend.network.gemm import gemms
from chipmend.repairs import Workbench
from chipmend.repairs.prune import pruned_weights
from chipmend.steps import Compensate, Match, OneShot, Prune, Recalibrate, Sequential

ARRAY = Array(rows=8, cols=8)
FAULTY = np.random.default_rng(3).random((8, 8)) < 0.3
LAYERS = ((36, 9, 8), (4, 72, 8), (1, 32, 3))  # positions of a picture, inputs, outputs
OF_A_SAMPLE = sum(positions * k * n for positions, k, n in LAYERS)


@pytest.fixture(scope="module")
def bench(task):
    return Workbench(task, ARRAY, FaultMap.of_pes(FAULTY), chip="a", seed=0)


def cost(bench, step):
    recipe = (Prune(), step)
    for length in (1, 2):
        bench.carry_out(recipe[:length])
    return bench.spent(recipe)


def multiply_adds(task, ee):
    """An epoch is three forward passes over the training split."""
    return ee * 3 * OF_A_SAMPLE * len(task.train)


def of_solving(task, *, with_inverse):
    """The cheaper of both forms, layer by layer, for the faulty sets of the chip."""
    total = 0
    for gemm in gemms(task.model):
        faulty = pruned_weights(task.model, FAULTY, ARRAY)[gemm.name].flatten(1).numpy()
        k, sets = faulty.shape[1], {}
        for output in faulty:
            sets[tuple(output)] = sets.get(tuple(output), 0) + 1
        sets = {lost: outputs for lost, outputs in sets.items() if any(lost)}
        on_faulty, on_healthy = (0 if with_inverse else k**3), 0
        for lost, outputs in sets.items():
            size = sum(lost)
            on_faulty += size**3 // 3 + size**2 * outputs + size * k * outputs
            on_healthy += (k - size) ** 3 // 3 + (k - size) ** 2 * outputs + k * k * outputs
        total += min(on_faulty, on_healthy)
    return total


def test_one_shot(bench, task):
    step = Compensate(form=OneShot(samples=64, places=500))
    spent, shared = cost(bench, step), bench.calibration.bill([step])
    assert spent.ee == spent.algebra
    assert multiply_adds(task, spent.ee) == pytest.approx(of_solving(task, with_inverse=True))
    # 64 inputs go forward for the moments, and for sensitivities to and fro
    assert shared.recalibrate == pytest.approx(64 / 256 / 3 + 64 / 256)
    moments = sum(min(500, 64 * positions) * k * k for positions, k, _ in LAYERS)
    inverses = sum(k**3 for _, k, _ in LAYERS)
    assert multiply_adds(task, shared.algebra) == pytest.approx(moments + inverses)


def test_sequential(bench, task):
    step = Compensate(form=Sequential(samples=64, places=500))
    spent, shared = cost(bench, step), bench.calibration.bill([step])
    assert spent.ee == spent.algebra
    fits = 0
    for positions, k, n in LAYERS:
        rows = min(500, 64 * positions)
        missed, moments, fitted = rows * k * n, rows * k * (k + 1) // 2, rows * k * n
        fits += missed + moments + fitted + k**3 // 3 + n * k * k
    passing, solving = 64 * OF_A_SAMPLE, of_solving(task, with_inverse=False)
    assert multiply_adds(task, spent.ee) == pytest.approx(passing + fits + solving)
    assert shared.recalibrate == pytest.approx(64 / 256 / 3 + 64 / 256)
    targets = sum(min(500, 64 * positions) * k * n for positions, k, n in LAYERS)
    assert multiply_adds(task, shared.algebra) == pytest.approx(targets)


def test_matching(bench):
    step = Recalibrate(form=Match(samples=64))
    spent, shared = cost(bench, step), bench.calibration.bill([step])
    assert spent.ee == spent.recalibrate == pytest.approx(64 / 256 / 3)
    assert shared.recalibrate == pytest.approx(64 / 256 / 3 + 64 / 256)
