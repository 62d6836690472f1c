"""Repair where networks run on a device of their own: as on the processor, up to rounding."""

import numpy as np
import pytest
import torch

from chipmend.faults import FaultMap
from chipmend.hardware import Array
from chipmend.network import Task
from chipmend.repairs import Workbench
from chipmend.repairs.calibration import Calibration
from chipmend.steps import (
    Assess,
    Compensate,
    Distill,
    Match,
    OneShot,
    Prune,
    Recalibrate,
    Remap,
    Retrain,
    Sequential,
)
from conftest import tiny_network, tiny_split

ONE_SHOT = Compensate(form=OneShot(samples=64, places=500))
SEQUENTIAL = Compensate(form=Sequential(samples=64, places=500))
RECIPES = {
    "pruned": (Prune(),),
    "matched": (Prune(), Recalibrate(form=Match(samples=64))),
    "one-shot": (Prune(), ONE_SHOT),
    "sequential": (Prune(), SEQUENTIAL),
    "remapped": (Remap(), Prune(), SEQUENTIAL),
    "retrained": (Prune(), ONE_SHOT, Retrain(epochs=0.1, batch=16, teacher=Distill())),
}


def bench(device, folder=None):
    task = Task(
        tiny_network(),
        train=tiny_split(128, 1),
        validation=tiny_split(40, 2),
        test=tiny_split(40, 3),
        device=device,
    )
    broken = np.random.default_rng(0).random((4, 3)) < 0.3
    known = Calibration(task, 0, folder=folder)
    array = Array(rows=4, cols=3)
    return Workbench(task, array, FaultMap.of_pes(broken), chip="a", seed=0, calibration=known)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no such device here")
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_a_network_comes_out_as_on_the_processor(recipe, kept, tmp_path):
    here, there = bench("cpu"), bench("cuda", tmp_path if kept else None)
    wanted, found = here.network(recipe).state_dict(), there.network(recipe).state_dict()
    for name, tensor in found.items():
        assert tensor.device.type == "cuda"
        torch.testing.assert_close(tensor.cpu(), wanted[name], rtol=1e-2, atol=1e-3)
    moments = ONE_SHOT.form
    damages = (each.damage((*recipe, Assess(moments=moments)), moments) for each in (here, there))
    assert next(damages) == pytest.approx(next(damages), rel=1e-3)
