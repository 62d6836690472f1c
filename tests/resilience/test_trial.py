import numpy as np
import pytest

from chipmend.errors import LotError
from chipmend.faults import Clustered, StuckAt, make_chips
from chipmend.hardware import Array, WeightMemory
from chipmend.resilience import TrialLot

ARRAY = Array(rows=16, cols=16, memory=WeightMemory(words=2000))


def chips(lot, seed=0):
    return [lot.chip(ARRAY, number, seed=seed) for number in range(lot.count)]


def test_chips_are_drawn_like_those_of_a_lot():
    lot = TrialLot(rate=(0.1, 0.5), count=200, stuck=StuckAt(rate=(0.01, 0.05)))
    made = make_chips(ARRAY, rate=(0.1, 0.5), count=200, stuck=StuckAt(rate=(0.01, 0.05)), seed=1)
    for kind in (lambda f: f.rate, lambda f: f.stuck.rate):
        ours, theirs = ([kind(c.faults) for c in each] for each in (chips(lot), made))
        assert np.quantile(ours, [0.1, 0.5, 0.9]) == pytest.approx(
            np.quantile(theirs, [0.1, 0.5, 0.9]), rel=0.25
        )


def test_a_chip_is_the_same_whatever_was_made_before_and_differs_from_all_others():
    lot = TrialLot(rate=0.3, count=20, spatial=Clustered())
    made = chips(lot)
    assert lot.chip(ARRAY, 7, seed=0) == made[7]
    assert len({chip.faults for chip in made}) == 20
    assert lot.chip(ARRAY, 7, seed=1).faults != made[7].faults


@pytest.mark.parametrize("wrong", [{"rate": 1.1}, {"rate": (0.5, 0.1)}, {"rate": 0.1, "count": 0}])
def test_what_makes_no_lot_is_refused(wrong):
    with pytest.raises(LotError):
        TrialLot(**wrong)
