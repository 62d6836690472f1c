from dataclasses import replace

import numpy as np
import pytest

from chipmend.confidence import Drop
from chipmend.errors import FaultMapError, LotError
from chipmend.faults import Chip, Clustered, FaultMap, MacsAt, StuckAt, make_chips, write_lot
from chipmend.hardware import Array, WeightMemory
from chipmend.records import digest_of
from chipmend.resilience import TrialFile, TrialLot

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


DEAD = Chip("dead", FaultMap.of_pes(np.zeros((16, 16), bool), fatal="no clock"))


def test_the_chips_of_an_earlier_lot_are_those_that_can_be_mended(tmp_path):
    made = make_chips(ARRAY, rate=(0.1, 0.5), count=4, stuck=StuckAt(rate=0.01))
    write_lot([made[0], DEAD, *made[1:]], tmp_path / "lot.npz")
    lot = TrialFile(file=tmp_path / "lot.npz")
    assert chips(lot) == list(made)
    assert lot.until_met(Drop(0.1)).until == Drop(0.1)
    assert lot.until_met(Drop(0.1)).until_met(Drop(0.2)).until == Drop(0.1)
    assert (lot.has_stuck_bits, lot.has_stuck_macs) == (True, False)
    lot.check_fits(ARRAY)
    with pytest.raises(FaultMapError):
        lot.check_fits(Array(rows=8, cols=8, memory=ARRAY.memory))


def test_another_content_of_the_file_is_another_lot(tmp_path):
    path = tmp_path / "lot.npz"
    write_lot(make_chips(ARRAY, rate=0.1, count=3), path)
    first = TrialFile(file=path)
    write_lot(make_chips(ARRAY, rate=0.1, count=2, seed=1, macs=MacsAt(count=1)), path)
    second = TrialFile(file=path)
    assert digest_of(first) != digest_of(second)
    assert (second.count, second.has_stuck_bits, second.has_stuck_macs) == (2, False, True)
    assert digest_of(TrialFile(file=path)) == digest_of(second)


def test_stuck_bits_of_datapaths_that_are_bypassed_need_no_codes(tmp_path):
    (chip,) = make_chips(ARRAY, rate=0.0, count=1, macs=MacsAt(count=1))
    bypassed = replace(chip.faults, faulty_pes=np.ones((16, 16), bool))
    write_lot([Chip("a", bypassed)], tmp_path / "lot.npz")
    assert not TrialFile(file=tmp_path / "lot.npz").has_stuck_macs


def test_a_file_of_no_chips_is_refused(tmp_path):
    with pytest.raises(LotError, match="cannot read the trial lot"):
        TrialFile(file=tmp_path / "none.npz")
    write_lot([DEAD], tmp_path / "lot.npz")
    with pytest.raises(LotError, match="every chip is unrepairable"):
        TrialFile(file=tmp_path / "lot.npz")
