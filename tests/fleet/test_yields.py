from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmend.fleet.ledger import Bin
from chipmend.fleet.yields import yield_over_accuracy, yield_over_ee

chips = st.lists(
    st.builds(
        SimpleNamespace,
        bin=st.sampled_from(list(Bin)),
        accuracy=st.sampled_from([0.5, 0.8, 0.9, 0.95]),
        ee=st.sampled_from([0.0, 0.1, 0.3]),
        met=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)
SHIPS = ("kept", "patched", "pruned", "repaired", "retrained")


@given(chips)
def test_each_point_is_the_share_of_chips_that_are_as_good(records):
    for bar, share in yield_over_accuracy(records)[:1]:
        assert share == sum(r.bin in SHIPS and r.accuracy >= bar for r in records) / len(records)
    curve = dict(reversed(yield_over_accuracy(records)))  # of equal ones the first has them all
    for bar, share in curve.items():
        assert share == sum(r.bin in SHIPS and r.accuracy >= bar for r in records) / len(records)


@given(chips)
def test_each_point_is_the_share_of_chips_that_are_as_cheap(records):
    curve = dict(yield_over_ee(records))  # of equal ones the last has them all
    for ee, share in curve.items():
        good = sum(r.bin in SHIPS and r.met and r.ee <= ee for r in records)
        assert share == pytest.approx(good / len(records))


@given(chips)
def test_curves_ascend_and_end_where_all_that_ship_are_counted(records):
    accuracies, costs = yield_over_accuracy(records), yield_over_ee(records)
    shipped = sum(r.bin in SHIPS for r in records)
    assert len(accuracies) == shipped
    assert len(costs) == sum(r.bin in SHIPS and r.met for r in records)
    assert list(accuracies) == sorted(accuracies, key=lambda p: (p[0], -p[1]))
    assert list(costs) == sorted(costs)


def test_a_lot_of_one_chip_has_a_curve_of_one_point():
    one = [SimpleNamespace(bin=Bin.PRUNED, accuracy=0.9, ee=0.0, met=True)]
    assert (yield_over_accuracy(one), yield_over_ee(one)) == (((0.9, 1.0),), ((0.0, 1.0),))
