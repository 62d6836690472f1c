import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chipmend.errors import ArrayError, LotError
from chipmend.faults import (
    Chip,
    Clustered,
    FaultMap,
    RegionalSpares,
    Uniform,
    make_chips,
    spares_cover,
)
from chipmend.hardware import Array


def fault_map(pes, **more):
    return FaultMap(rows=pes.shape[0], cols=pes.shape[1], faulty_pes=pes, **more)


def slow_cover(pes, down, across, spares):
    """PE by PE: no region has more faults than spares."""
    found = {}
    for row in range(pes.shape[0]):
        for col in range(pes.shape[1]):
            region = row // down, col // across
            found[region] = found.get(region, 0) + int(pes[row, col])
    return max(found.values()) <= spares


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_spares_cover_a_chip_if_no_region_has_more_faults(data):
    pes = data.draw(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
    down, across = (data.draw(st.integers(1, size)) for size in pes.shape)
    spares = data.draw(st.integers(0, 4))
    found = RegionalSpares(rows=down, cols=across, spares=spares).cover(fault_map(pes))
    assert found == slow_cover(pes, down, across, spares)


def test_many_faults_in_one_region_are_counted_and_not_only_noticed():
    pes = np.ones((20, 20), bool)  # 400: more than a byte counts
    assert not RegionalSpares(rows=20, cols=20, spares=399).cover(fault_map(pes))
    assert RegionalSpares(rows=20, cols=20, spares=400).cover(fault_map(pes))


@pytest.mark.parametrize(
    "broken", [{"dead_rows": ((1, 3),)}, {"dead_cols": (2,)}, {"fatal": "no clock"}]
)
def test_spares_cover_neither_dead_lines_nor_what_is_fatal(broken):
    none = np.zeros((4, 4), bool)
    plenty = RegionalSpares(rows=2, cols=2, spares=4)
    assert plenty.cover(fault_map(none))
    assert not plenty.cover(fault_map(none, **broken))


def test_without_spares_only_a_sound_chip_is_covered():
    pes = np.zeros((4, 4), bool)
    none = RegionalSpares(rows=2, cols=2, spares=0)
    assert none.cover(fault_map(pes))
    pes[3, 3] = True
    assert not none.cover(fault_map(pes))


def test_the_share_of_uniform_chips_is_the_product_over_regions():
    rate, regions = 0.01, 16
    chips = make_chips(Array(rows=32, cols=32), rate=rate, count=2000)
    found = spares_cover(chips, RegionalSpares(rows=8, cols=8), confidence=0.999)
    of_region = (1 - rate) ** 64 + 64 * rate * (1 - rate) ** 63
    assert found.low < of_region**regions < found.high
    assert found.chips == 2000
    assert found.share == found.covered / 2000
    noise = math.sqrt(found.share * (1 - found.share) / 2000)
    assert found.high - found.low == pytest.approx(2 * 3.29 * noise, rel=0.05)


def test_clustered_faults_are_harder_to_cover_than_as_many_uniform_ones():
    shares = [
        spares_cover(
            make_chips(Array(rows=32, cols=32), rate=0.002, count=300, spatial=spatial),
            RegionalSpares(rows=8, cols=8),
        ).share
        for spatial in (Uniform(), Clustered())
    ]
    assert shares[0] > shares[1] + 0.1


def test_all_or_no_chips_covered_gives_an_interval_that_ends_there():
    sound = [Chip("a", fault_map(np.zeros((2, 2), bool)))]
    lost = [Chip("a", fault_map(np.ones((2, 2), bool)))]
    spares = RegionalSpares(rows=2, cols=2)
    assert spares_cover(sound, spares).high == 1.0
    assert spares_cover(lost, spares).low == 0.0


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"cols": -1}, {"spares": -1}, {"rows": 1.5}])
def test_regions_without_pes_and_fewer_than_no_spares_are_refused(wrong):
    with pytest.raises(ArrayError, match="hint"):
        RegionalSpares(**wrong)


@pytest.mark.parametrize("size", [(9, 8), (8, 9)])
def test_a_region_larger_than_the_array_is_refused(size):
    chips = make_chips(Array(rows=8, cols=8), rate=0.1, count=1)
    with pytest.raises(ArrayError, match="hint: give regions that are no larger"):
        spares_cover(chips, RegionalSpares(rows=size[0], cols=size[1]))


def test_no_chips_and_no_confidence_are_refused():
    with pytest.raises(LotError, match="zero chips"):
        spares_cover([], RegionalSpares())
    with pytest.raises(LotError, match="confidence of 95"):
        spares_cover([], RegionalSpares(), confidence=95)
