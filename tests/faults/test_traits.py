import numpy as np
import pytest

from chipmend.faults import Chip, FaultMap, StuckBits, StuckMacs, make_chips
from chipmend.faults.generate import Clustered, Lines
from chipmend.faults.stuck_at import BitLines, StuckAt, WordLines
from chipmend.faults.traits import traits, traits_of
from chipmend.hardware import Array, WeightMemory

ARRAY = Array(rows=32, cols=24, memory=WeightMemory(words=4096))
GATHERING = ("gathering in rows", "gathering in columns", "gathering side by side")
IN_MEMORY = ("gathering on word lines", "gathering on bit lines")


def mean_traits(count=200, **how):
    found = traits_of([chip.faults for chip in make_chips(ARRAY, count=count, **how)])
    return {name: values.mean() for name, values in found.items()}


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_independent_faults_gather_as_independent_faults_do(rate):
    found = mean_traits(2000, rate=rate)
    assert found["fault rate"] == pytest.approx(rate, rel=0.02)
    assert [found[name] for name in GATHERING] == pytest.approx([1, 1, 1], abs=0.15)


def test_clusters_and_lines_gather_more():
    for spatial in (Clustered(), Lines()):
        found = mean_traits(rate=0.1, spatial=spatial)
        assert all(found[name] > 1.3 for name in GATHERING)


def test_gathering_is_what_its_definition_says():
    """Counted by hand: 3 of 9 are faulty, all in one row, two pairs side by side of twelve."""
    row = np.zeros((3, 3), bool)
    row[1] = True
    found = traits(FaultMap.of_pes(row))
    # counts 0, 3, 0: their sample variance is 3; independent, 3/3 * 2/3; corrected by 2/3
    assert found["gathering in rows"] == pytest.approx(3 / (2 / 3) * 2 / 3)
    assert found["gathering in columns"] == 0
    assert found["gathering side by side"] == pytest.approx(2 / (12 * 3 * 2 / (9 * 8)))


@pytest.mark.parametrize("rate", [0.002, 0.05])
def test_stuck_bits_gather_on_lines_where_lines_were_hit(rate):
    scattered = mean_traits(rate=0.0, stuck=StuckAt(rate=rate))
    assert [scattered[name] for name in IN_MEMORY] == pytest.approx([1, 1], abs=0.1)
    assert scattered["stuck bits"] == pytest.approx(rate, rel=0.1)
    words = mean_traits(rate=0.0, stuck=StuckAt(rate=rate, cells=WordLines(), at_1=1.0))
    bits = mean_traits(rate=0.0, stuck=StuckAt(rate=rate, cells=BitLines(), at_1=0.0))
    assert words["gathering on word lines"] > 3 > words["gathering on bit lines"]
    assert bits["gathering on bit lines"] > 3 > bits["gathering on word lines"]
    assert (words["stuck at 1"], bits["stuck at 1"]) == pytest.approx((1, 0), abs=0.35)


@pytest.mark.parametrize("faulty", [False, True])
def test_healthy_and_lost_chips_gather_nowhere(faulty):
    found = traits(FaultMap.of_pes(np.full((4, 4), faulty)))
    assert [found[name] for name in (*GATHERING, *IN_MEMORY)] == [1.0] * 5
    assert traits(FaultMap.of_pes(np.full((1, 1), faulty)))["fault rate"] == faulty


def test_live_datapaths_are_counted():
    macs = StuckMacs(np.array([[0, 0, 2, 5, 1], [1, 1, 2, 6, 1]]))
    faults = FaultMap.of_pes(np.eye(4, dtype=bool) & (np.arange(4) == 0), macs=macs)
    assert traits(faults)["stuck bits of datapaths"] == 1  # the other one is bypassed


def test_traits_of_chips_with_and_without_stuck_bits_are_alike_in_kind():
    stuck = StuckBits.of_bits(64, 8, np.array([3]), np.array([2]), np.array([True]))
    maps = [FaultMap.of_pes(np.zeros((4, 4), bool), stuck=each) for each in (None, stuck)]
    chips = [Chip(str(at), faults) for at, faults in enumerate(maps)]
    assert {name: len(found) for name, found in traits_of([c.faults for c in chips]).items()} == (
        dict.fromkeys(traits(maps[0]), 2)
    )
