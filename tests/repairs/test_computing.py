import torch

from campaigns import ARRAY, chips
from chipmend.faults.maps import fused
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.computing import Computing
from chipmend.repairs.prune import are_zero, prune_, pruned_weights
from conftest import same, state

REAL = {"lowering": None, "codes": {}, "moved": None}


def test_on_the_chip_of_its_map_a_network_of_real_numbers_is_itself(task):
    faults = chips()[1].faults
    network = task.fresh_network()
    assert Computing(Calibration(task, 0), ARRAY, faults).on(network, faults, **REAL) is network


def test_on_another_chip_a_copy_loses_what_lies_there_and_the_network_stays(task):
    known, other = (chips()[at].faults for at in (1, 2))
    network = task.fresh_network()
    prune_(network, pruned_weights(task.model, known.unusable, ARRAY))
    before = {name: tensor.clone() for name, tensor in state(network).items()}
    found = Computing(Calibration(task, 0), ARRAY, known).on(network, other, **REAL)
    assert found is not network
    assert same(state(network), before)
    both = pruned_weights(task.model, fused(known, other).unusable, ARRAY)
    assert are_zero(found, both)
    for name, tensor in found.state_dict().items():
        kept = ~both[name] if name in both else torch.ones_like(tensor, dtype=torch.bool)
        assert torch.equal(tensor[kept], network.state_dict()[name][kept])
