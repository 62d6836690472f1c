"""The simulator against the Verilog on random products; thousands of them are in the benchmark."""

import numpy as np
import pytest

from chipmend.hardware import SITES
from chipmend.simulate.rtl import found_icarus, proof
from chipmend.simulate.rtl.proof import prove, random_array, random_gemm, simulated

pytestmark = pytest.mark.skipif(not found_icarus(), reason="Icarus Verilog is not installed")


@pytest.mark.parametrize("seed", range(12))
def test_simulator_and_verilog_agree_on_every_bit(seed):
    array = random_array(np.random.default_rng(seed), most=8)
    found = prove(array, cases=12, seed=seed)
    assert found.mismatches == ()
    assert (found.cases, found.moved > 6) == (12, True)


def test_products_of_activations_are_among_the_cases():
    array = random_array(np.random.default_rng(1), most=4)
    assert array.memory.bits == 8
    found = prove(array, cases=30, seed=0)
    assert found.mismatches == ()
    assert found.pairs > 3


def test_a_mistake_of_the_simulator_is_found(monkeypatch):
    array = random_array(np.random.default_rng(0), most=4)

    def now_and_then_off_by_one(gemm, array, faults):
        return simulated(gemm, array, faults) + (gemm.inputs[:, 0, 0] > 100)[:, None]

    monkeypatch.setattr(proof, "simulated", now_and_then_off_by_one)
    assert 0 < len(prove(array, cases=20, seed=0).mismatches) < 20


def test_random_products_meet_every_site_placement_and_kind_of_accumulator():
    rng = np.random.default_rng(0)
    arrays = [random_array(rng) for _ in range(60)]
    assert {a.placement for a in arrays} == {"im2col", "channel"}
    assert {(a.accumulators.overflow, a.accumulators.tiles) for a in arrays} == {
        (overflow, tiles) for overflow in ("wrap", "saturate") for tiles in ("outside", "reentry")
    }
    gemms = [random_gemm(array, rng) for array in arrays]
    met = {bit[2] for gemm in gemms if gemm.faults.macs for bit in gemm.faults.macs.listed()}
    assert met == set(SITES)
    assert any(gemm.inputs.min() < 0 for gemm in gemms)
    assert any(gemm.inputs.max() > 127 for gemm in gemms)
