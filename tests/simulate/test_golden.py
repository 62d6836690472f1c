import pytest

from chipmend.simulate.rtl.proof import simulated
from simulate import by_hand
from simulate.golden import GOLDEN


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_the_simulator_gives_what_was_worked_out_by_hand(golden):
    gemm = golden.gemm
    assert simulated(gemm, golden.array, gemm.faults).tolist() == golden.expected


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_so_does_the_slow_twin(golden):
    gemm = golden.gemm
    found = by_hand.product(gemm.inputs, gemm.weights, golden.array, gemm.faults)
    assert found.tolist() == golden.expected
