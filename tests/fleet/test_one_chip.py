"""A lot of one chip: whatever counts, compares or fuses chips has to do with it."""

from dataclasses import replace

import pytest

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, RETRAIN
from chipmend.faults import Chip, make_chips
from chipmend.fleet import mend
from chipmend.policy import Cascade, EFat, Reduce
from chipmend.report import page
from chipmend.resilience import TrialLot

LEARNING = {"retrain": RETRAIN, "amounts": (0.0, 0.5), "most": 1.0}
POLICIES = (
    Reduce(retrain=RETRAIN, coverage=0.5),
    EFat(retrain=RETRAIN),
    Cascade(**LEARNING, fuse=True),
    Cascade(**LEARNING, coverage=0.5),
)


@pytest.fixture(scope="module")
def outcome(task):
    (chip,) = make_chips(ARRAY, rate=0.2, count=1)
    return mend(
        task,
        [Chip("only", chip.faults, lot="L", wafer="W", x=0, y=0)],
        array=ARRAY,
        constraint=CONSTRAINT,
        policies=POLICIES,
        analysis=replace(ANALYSIS, trial=TrialLot(rate=(0.1, 0.3), count=6)),
        threads=1,
    )


def test_it_ships_under_every_policy_alone(outcome):
    assert [record.shared_by for record in outcome.records] == [1] * len(POLICIES)
    assert all(record.accuracy is not None for record in outcome.records)
    assert outcome.sums()[0].chips == 1


def test_one_chip_is_too_few_to_say_that_the_lot_is_another(outcome):
    assert set(outcome.promises) == {POLICIES[0].name, POLICIES[3].name}
    assert all(promise.shifts == () for promise in outcome.promises.values())


def test_its_report_has_curves_and_a_wafer_of_one_die(outcome):
    html = page(outcome)
    assert "<h2>Wafers</h2>" in html
    assert html.count('class="die') >= 1
    curves = outcome.summary()["policies"]["eFAT-max"]
    assert [share for _, share in curves["yield_over_accuracy"]] == [1.0]
