import math
from dataclasses import replace

import pytest

from chipmend.errors import PlanError, TableError
from chipmend.policy import EFat, Reduce
from chipmend.policy.by_table import checked_table
from chipmend.resilience import Analysis, TrialLot
from chipmend.steps import Retrain
from contracts.policy_contract import CONSTRAINT, die, table


@pytest.mark.parametrize(("kind", "name"), [(Reduce, "reduce"), (EFat, "efat")])
def test_mistakes_name_the_policy_that_made_them(kind, name):
    with pytest.raises(PlanError, match=f"{name}: statistic 'quantile' with a quantile of None"):
        kind(statistic="quantile")
    with pytest.raises(PlanError, match=f"{name}: its start"):
        kind(start=())


@pytest.mark.parametrize("kind", [Reduce, EFat])
def test_their_analyses_are_one_unless_coverage_is_promised(kind):
    usual = Analysis(rates=(0.2,), trial=TrialLot(rate=0.2))
    own = kind(retrain=Retrain(learning_rate=0.1)).analysis(usual, CONSTRAINT)
    assert own == replace(usual, start=kind().start, retrain=Retrain(learning_rate=0.1), trial=None)


def test_a_chip_is_taken_to_have_so_many_times_its_rates_and_to_need_as_much():
    policy, most = Reduce(), table().amounts[-1]
    for factor, rate in ((1.0, 0.2), (1.5, 0.3), (2.5, 0.5)):
        group = policy.alone(die("a", 0.2), CONSTRAINT, table(), factor)
        alone = policy.alone(die("a", rate), CONSTRAINT, table()).epochs
        assert group.epochs == pytest.approx(min(factor * alone, most))
    assert policy.alone(die("a", 0.2), CONSTRAINT, table(), 1.5).reason == (
        "an effective fault rate of 20 %, taken 1.5 times, and as many times the amount, "
        "as promised"
    )
    assert policy.alone(die("a", 0.31), CONSTRAINT, table(), 3.0).epochs == most


def test_its_own_rates_say_whether_a_chip_is_lost():
    lost = next(rate for rate in (0.3, 0.5, 0.7, 0.9, 0.99) if math.isinf(amount(rate)))
    for factor in (0.5, 1.0, 3.0):
        group = Reduce().alone(die("a", lost), CONSTRAINT, table(), factor)
        assert math.isinf(group.epochs)
        assert "promised" not in group.reason


def amount(rate):
    return Reduce().alone(die("a", rate), CONSTRAINT, table()).epochs


def test_a_table_that_is_missing_is_told():
    assert checked_table(table(), "mine") == table()
    with pytest.raises(TableError, match="mine has no resilience table"):
        checked_table(None, "mine")
