import pytest

from chipmend.fleet.ledger import Bin, ChipRecord, PathPoint, overspent_ee, sum_up
from chipmend.records import plain, rebuilt
from chipmend.repairs.cost import Cost
from chipmend.steps import Match, Measure, Prune, Recalibrate, Retrain


def record(chip, bin_, cost, *, accuracy=None, met=False, shared_by=1):
    return ChipRecord(
        chip=chip,
        policy="p",
        bin=bin_,
        reason="",
        fault_rate=0.1,
        effective_rate=0.2,
        steps=(Prune(), Recalibrate(form=Match(samples=8)), Retrain(epochs=0.5), Measure()),
        shared_by=shared_by,
        accuracy=accuracy,
        met=met,
        cost=cost,
    )


RECORDS = [
    record("a", Bin.PRUNED, Cost(seconds=1.0), accuracy=0.9, met=True),
    record("b", Bin.RETRAINED, Cost(retrain=1.0, recalibrate=0.25), accuracy=0.8, met=True),
    record("c", Bin.RETRAINED, Cost(retrain=0.5, measure=0.25), accuracy=0.4, met=False),
    record("d", Bin.SCRAPPED, Cost(retrain=2.0, seconds=10.0)),
    record("e", Bin.FAILED, Cost()),
    record("f", Bin.UNREPAIRABLE, Cost()),
    record("g", Bin.REPAIRED, Cost(retrain=3.0, seconds=6.0), accuracy=0.7, met=True, shared_by=3),
]
PATH = [
    PathPoint(epochs=0.0, accuracy=0.5, met=False, ee=0.125),
    PathPoint(epochs=0.5, accuracy=0.8, met=True, ee=0.625),
    PathPoint(epochs=1.0, accuracy=0.7, met=False, ee=1.125),
    PathPoint(epochs=2.0, accuracy=0.9, met=True, ee=2.125),
]


def test_sums_are_those_worked_out_by_hand():
    shared = Cost(recalibrate=0.5, algebra=0.25, seconds=5.0)
    sums = sum_up(RECORDS, {"b": PATH}, Cost(retrain=100.0, seconds=50.0), shared)
    assert (sums.policy, sums.chips, sums.met, sums.shipped, sums.scrapped) == ("p", 7, 3, 4, 3)
    assert sums.bins == {
        "pruned": 1,
        "retrained": 2,
        "scrapped": 1,
        "failed": 1,
        "unrepairable": 1,
        "repaired": 1,
    }
    assert sums.accuracy_mean == pytest.approx((0.9 + 0.8 + 0.4 + 0.7) / 4)
    assert sums.accuracy_min == 0.4
    assert sums.ee == pytest.approx(0 + 1.25 + 0.75 + 2 + 0 + 0 + 1)
    assert sums.ee_per_chip == pytest.approx(5 / 7)
    assert (sums.ee_analysis, sums.ee_shared) == (100, 0.75)
    assert sums.seconds == pytest.approx(1 + 10 + 2)
    assert (sums.seconds_analysis, sums.seconds_shared) == (50, 5)
    assert sums.ee_overspent == sums.ee_overspent_per_chip == pytest.approx(1.25 - 0.625)


@pytest.mark.parametrize("fleet", [100, 1000, 5000])
def test_the_analysis_and_what_chips_share_are_spread_over_a_fleet(fleet):
    sums = sum_up(RECORDS, {}, Cost(retrain=100.0), Cost(algebra=2.0))
    assert sums.ee_per_chip_of(fleet) == pytest.approx(5 / 7 + 102 / fleet)


def test_overspending_is_averaged_over_the_chips_that_met_the_constraint_alone():
    path = [PathPoint(epochs=0.0, accuracy=0.9, met=True, ee=0.25)]
    met = [r for r in RECORDS if r.met]
    sums = sum_up(RECORDS, {r.chip: path for r in RECORDS}, Cost(), Cost())
    expected = sum(max(0.0, r.ee - 0.25) for r in met)
    assert 0 < len(met) < len(RECORDS)
    assert sums.ee_overspent == pytest.approx(expected)
    assert sums.ee_overspent_per_chip == pytest.approx(expected / len(met))


def test_where_nothing_ships_there_is_no_accuracy():
    sums = sum_up(RECORDS[3:6], {}, Cost(), Cost())
    assert (sums.accuracy_mean, sums.accuracy_min, sums.ee_overspent) == (None, None, None)
    assert sums.ee_overspent_per_chip is None
    assert (sums.met, sums.shipped, sums.scrapped) == (0, 0, 3)


def test_overspent_is_what_goes_beyond_the_least_amount_that_would_have_done():
    assert overspent_ee(RECORDS[1], PATH) == pytest.approx(1.25 - 0.625)


def test_spending_less_than_the_measured_amounts_is_not_negative():
    assert overspent_ee(RECORDS[0], PATH) == 0.0


def test_a_chip_that_misses_overspends_nothing_that_could_be_told():
    assert overspent_ee(RECORDS[2], PATH) is None
    assert overspent_ee(RECORDS[3], PATH) is None


def test_without_a_way_that_meets_the_constraint_nothing_can_be_told():
    assert overspent_ee(RECORDS[1], []) is None
    assert overspent_ee(RECORDS[1], [PATH[0], PATH[2]]) is None


def test_a_shared_network_costs_each_chip_its_share():
    assert RECORDS[6].ee == 1.0
    assert overspent_ee(RECORDS[6], PATH) == pytest.approx(1.0 - 0.625)


def test_records_are_the_same_after_being_stored():
    assert rebuilt(list[ChipRecord], plain(RECORDS)) == RECORDS
    assert rebuilt(list[PathPoint], plain(PATH)) == PATH
