"""Protected PEs as hardware: no single fault inside of their copies shows."""

import pytest

from chipmend.protect.circuit.masking import ProtectedPe, seen
from chipmend.simulate.rtl import found_icarus

pytestmark = pytest.mark.skipif(not found_icarus(), reason="Icarus Verilog is not installed")


@pytest.mark.parametrize(
    "pe",
    [
        ProtectedPe(20, 12, 20),
        ProtectedPe(18, 9, 14),
        ProtectedPe(10, 0, 10, weight_bits=4),
        ProtectedPe(16, 4, 16, cone=True, weight_bits=4),
        ProtectedPe(14, 0, 14, cone=True, weight_bits=6),
    ],
)
def test_no_single_fault_inside_of_a_copy_shows_at_a_protected_bit(pe):
    assert len(pe.protected) >= 30
    assert seen(pe, pe.protected, at=range(pe.first, pe.last), seed=1) == []


@pytest.mark.parametrize("pe", [ProtectedPe(18, 9, 14), ProtectedPe(16, 4, 16, cone=True)])
def test_every_fault_of_a_bare_bit_shows(pe):
    assert pe.bare
    assert seen(pe, pe.bare, at=range(pe.bits), seed=2) == pe.bare


def test_faults_inside_of_the_first_cone_show_at_bits_below_the_protected_ones():
    pe = ProtectedPe(16, 4, 16, cone=True)
    cone = "whole_cones.computes.main"
    nets = [f"{cone}.{net}" for net in ("exact[0]", "exact[3]", "carries[2]", "added[1]")]
    assert set(nets) < set(pe.protected)
    assert seen(pe, nets, at=range(pe.first), seed=3) == nets


def test_a_vote_short_of_a_copy_would_show():
    """Two copies with the same fault are not masked: the simulation can see what it looks for."""
    pe = ProtectedPe(12, 6, 12)
    both = "adders.adds.bits[8].guarded.votes.voted"
    assert seen(pe, [both], at=range(6, 12), seed=4) == [both]
