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
    for bar, share in yield_over_accuracy(records):
        assert share == sum(r.bin in SHIPS and r.accuracy >= bar for r in records) / len(records)


@given(chips)
def test_each_point_is_the_share_of_chips_that_are_as_cheap(records):
    for ee, share in yield_over_ee(records):
        good = sum(r.bin in SHIPS and r.met and r.ee <= ee for r in records)
        assert share == pytest.approx(good / len(records))


@given(chips)
def test_curves_have_a_point_for_everything_that_chips_come_to_and_ascend(records):
    shipped = [r for r in records if r.bin in SHIPS]
    accuracies, costs = ([x for x, _ in c(records)] for c in (yield_over_accuracy, yield_over_ee))
    assert accuracies == sorted({r.accuracy for r in shipped})
    assert costs == sorted({r.ee for r in shipped if r.met})


def test_a_lot_of_one_chip_has_a_curve_of_one_point():
    one = [SimpleNamespace(bin=Bin.PRUNED, accuracy=0.9, ee=0.0, met=True)]
    assert (yield_over_accuracy(one), yield_over_ee(one)) == (((0.9, 1.0),), ((0.0, 1.0),))
