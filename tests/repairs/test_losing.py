"""What a chip's copies of the clean network lose, and what that costs to make up for."""

import numpy as np
import pytest
import torch

from attending import ARRAY, INPUTS, faults, losing, network, task
from chipmend.hardware import Array
from chipmend.network.dynamic import Lost
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.cost import Cost
from chipmend.repairs.losing import Losing
from chipmend.steps import OneShot
from conftest import same, tiny_task


@pytest.fixture(scope="module")
def chip():
    return Losing(Calibration(task()), Lost(faults().unusable, ARRAY))


def test_a_fresh_copy_has_all_its_weights_and_loses_operands(chip):
    fresh = chip.fresh().eval()
    assert same(fresh.state_dict(), network().state_dict())
    with torch.no_grad():
        assert torch.allclose(fresh(INPUTS), losing(network().eval(), INPUTS), atol=1e-6)


def test_layers_and_targets_are_those_of_the_network_with_fitted_queries(chip):
    fitted, clean = chip.fresh(), network()
    cost = chip.fit_queries_(fitted)
    assert cost.recalibrate == 64 / (3 * 160)
    assert cost.algebra > 0
    layer = chip.layers(OneShot(samples=64, places=400))["qkv.weight"]
    assert torch.allclose(layer.weight, fitted.qkv.weight, atol=1e-6)
    before = chip._known.targets(64, 100).parts["qkv.weight", 0].outputs
    wanted = chip.targets(64, 100).parts["qkv.weight", 0].outputs
    inputs = before @ torch.linalg.pinv(clean.qkv.weight).T
    assert torch.allclose(wanted, inputs @ fitted.qkv.weight.T, atol=1e-4)
    assert torch.equal(wanted[..., 8:], before[..., 8:]), "keys and values are as they were"


def test_networks_without_attention_are_left_alone_at_no_cost():
    known = Calibration(tiny_task())
    chip = Losing(known, Lost(np.ones((4, 4), dtype=bool), Array(rows=4, cols=4)))
    fresh = chip.fresh()
    assert not fresh._forward_pre_hooks
    assert chip.fit_queries_(fresh) == Cost()
    assert chip.targets(64, 100).parts == known.targets(64, 100).parts
