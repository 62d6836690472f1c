import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import Accuracy, Drop
from chipmend.errors import TableError
from chipmend.policy import Reduce
from chipmend.policy.promise import factor_that_keeps, margin_that_keeps, promising
from chipmend.resilience import Analysis, ResilienceTable, Rung, Trajectory, TrialLot
from contracts.policy_contract import PolicyContract, die

BAR = Accuracy(0.9)
AMOUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def chip(rate, needed, *, bit_rate=0.0, rungs=(), damage=None):
    """A chip that comes to 90 % at just such an amount, on the line between two looks."""
    accuracies = [0.9 + (amount - needed) for amount in AMOUNTS]
    return Trajectory(
        rate=rate,
        repeat=0,
        effective_rate=rate,
        accuracies=tuple(accuracies),
        ee=0.0,
        seconds=0.0,
        damage=damage,
        rungs=rungs,
        bit_rate=bit_rate,
        effective_bit_rate=bit_rate,
    )


def table(*trial, grid=((0.2, 0.25), (0.8, 1.0))):
    return ResilienceTable(
        amounts=AMOUNTS,
        clean_accuracy=0.95,
        trajectories=tuple(chip(rate, needed) for rate, needed in grid),
        trial=trial,
    )


def factor(made, coverage):
    return factor_that_keeps(coverage, made, BAR, "max", 1.0).setting


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.3, 1.4), min_size=9, max_size=30), st.sampled_from([0.5, 0.8, 0.9]))
def test_the_factor_is_the_order_statistic_of_how_much_more_chips_needed(factors, coverage):
    """The table says 1.25 times the rate; each chip needs so many times that, squared.

    A factor counts twice: on the rate, and on the amount.
    """
    made = table(*(chip(0.4, 1.25 * 0.4 * f**2) for f in factors))
    rank = math.ceil((len(factors) + 1) * coverage - 1e-9)
    assert factor(made, coverage) == pytest.approx(sorted(factors)[rank - 1], rel=1e-6)


def test_amounts_cover_the_chips_they_were_calibrated_on():
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.1, 0.6, 60)
    needed = np.minimum(1.25 * rates * rng.uniform(0.5, 1.5, 60), 1.0)
    made = table(*map(chip, rates, needed))
    policy = Reduce(coverage=0.9)
    groups = policy.plan([die(str(n), rate) for n, rate in enumerate(rates)], BAR, made)
    enough = sum(group.epochs >= n - 1e-6 for group, n in zip(groups, needed, strict=True))
    assert enough == math.ceil(61 * 0.9)


def test_chips_that_nothing_saves_are_not_shipped_and_do_not_count():
    grid = ((0.2, 0.25), (0.6, 0.75), (0.8, 9.0))  # nothing does at 80 %
    lost = [chip(0.9, 9.0)] * 5
    made = table(*[chip(0.4, 0.5)] * 19, *lost, grid=grid)
    assert factor(made, 0.9) == pytest.approx(1.0)
    (group,) = Reduce(coverage=0.9).plan([die("a", 0.85)], BAR, made)
    assert math.isinf(group.epochs)


def test_a_few_chips_of_low_rates_that_need_much_scrap_no_others():
    """Whether a chip is lost its own rate says, whatever it is multiplied by."""
    grid = ((0.2, 0.25), (0.6, 0.75), (0.8, 9.0))
    made = table(*[chip(0.4, 0.6)] * 94, *[chip(0.05, 0.9)] * 6, grid=grid)
    kept = factor_that_keeps(0.9, made, BAR, "max", 1.0)
    assert (kept.shipped, kept.missed) == (100, 6)
    assert kept.setting == pytest.approx(math.sqrt(0.6 / 0.5))


def test_both_kinds_of_fault_are_taken_so_many_times():
    grid = [chip(r, 1.25 * r, bit_rate=r / 10) for r in (0.2, 0.8)]
    made = replace(
        table(*[chip(0.0, 0.98, bit_rate=0.04)] * 9), trajectories=tuple(grid)
    )  # the table says 0.5 at 4 % of the bits, and 1.4 times as much at 5.6 %
    assert factor(made, 0.9) == pytest.approx(1.4)


def test_a_table_that_says_the_same_at_all_rates_does_for_chips_that_need_more():
    made = table(*[chip(0.4, 0.25)] * 10, *[chip(0.4, 0.6)] * 9, grid=((0.2, 0.25), (0.8, 0.25)))
    assert factor(made, 0.5) == pytest.approx(1.0)
    assert factor(made, 0.9) == pytest.approx(0.6 / 0.25)


def test_no_chip_gets_more_than_was_analysed():
    made = table(*[chip(0.4, 0.95)] * 19)
    (group,) = Reduce(coverage=0.9).plan([die("a", 0.79)], BAR, made)
    assert group.epochs == 1.0


def test_a_promise_that_nothing_keeps_is_refused():
    made = table(*[chip(0.4, 0.5)] * 10, *[chip(0.4, 9.0)] * 10)
    with pytest.raises(TableError, match="90 % of the trial lot: 10 of its 20 chips") as caught:
        factor(made, 0.9)
    assert "promise less" in caught.value.hint
    with pytest.raises(TableError, match="90 % of the trial lot: 9 of its 10 chips") as caught:
        factor(table(*[chip(0.4, 0.5)] * 9, chip(0.4, 9.0)), 0.9)
    assert "with 1 that miss it, a trial lot would have to be of 19 chips" in caught.value.hint
    with pytest.raises(TableError, match="no resilience table"):
        Reduce(coverage=0.9).plan([], BAR, None)


def test_the_amount_that_is_just_needed_lies_between_two_looks():
    made = table()
    assert made.just_needed(chip(0.1, 0.6), BAR) == pytest.approx(0.6)
    assert made.just_needed(chip(0.1, 0.0), BAR) == 0.0
    assert made.just_needed(chip(0.1, -0.1), BAR) == 0.0
    assert math.isinf(made.just_needed(chip(0.1, 1.1), BAR))


# without a look


def seen(damage, *accuracies):
    rungs = tuple(Rung(accuracy=a, p_value=1.0) for a in accuracies)
    return chip(0.1, 0.0, damage=damage, rungs=rungs)


def laddered(*trial):
    """Rungs fall from 100 % by 1, and by half a point per tenth of damage."""
    grid = [seen(d / 10, 1.0 - d / 100, 1.0 - d / 200) for d in range(21)]
    return ResilienceTable(
        amounts=AMOUNTS, clean_accuracy=1.0, trajectories=tuple(grid), trial=trial
    )


def test_a_chip_ships_unseen_where_those_expected_to_do_as_well_met_it():
    # the first rung is taken up to a damage of 1; from 0.6 on chips miss
    trial = [seen(d / 100, 0.95 if d < 60 else 0.85, 0.95) for d in range(1, 101, 2)]
    margin = margin_that_keeps(0.9, laddered(*trial), BAR).setting
    # 30 met it; of those beyond, 1 missed makes 2 of 32, 2 make 3 of 33, 3 make 4 of 34
    assert margin == pytest.approx(0.1 - 0.063)
    assert margin_that_keeps(0.95, laddered(*trial), BAR).setting == pytest.approx(0.1 - 0.059)


def test_no_chip_ships_unseen_where_the_trial_lot_is_too_small_or_too_bad():
    good = [seen(d / 100, 0.95, 0.95) for d in range(8)]
    assert margin_that_keeps(0.9, laddered(*good), BAR).setting == math.inf
    bad = [seen(d / 100, 0.85, 0.95) for d in range(50)]
    assert margin_that_keeps(0.9, laddered(*bad), BAR).setting == math.inf


def test_chips_are_judged_at_the_rung_that_they_would_have_been_put_on():
    trial = [seen(1.5, 0.5, 0.95)] * 9  # the first rung would not do, and is not what ships
    assert margin_that_keeps(0.9, laddered(*trial), BAR).setting == pytest.approx(0.025)


# what it takes


def test_a_promise_takes_a_trial_lot_that_is_large_enough():
    with pytest.raises(TableError, match="no trial lot") as caught:
        promising(Analysis(), 0.95, BAR)
    assert "at least 19 chips" in caught.value.hint
    small = Analysis(trial=TrialLot(rate=0.1, count=18))
    with pytest.raises(TableError, match="a trial lot of 18 chips"):
        promising(small, 0.95, BAR)
    until = replace(small.trial, until=Drop(0.01))
    assert promising(small, 0.9, Drop(0.01)) == replace(small, trial=until)


def test_names_tell_what_is_promised():
    assert Reduce(coverage=0.9).name == "Reduce-max, 90 % promised"


class TestReduceThatPromises(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Reduce(coverage=0.5)


@pytest.mark.parametrize(
    ("until", "constraint", "fits"),
    [
        (Drop(0.01), Drop(0.01), True),
        (Drop(0.005), Drop(0.01), True),
        (Drop(0.02), Drop(0.01), False),
        (Accuracy(0.95), Accuracy(0.9), True),
        (Accuracy(0.85), Accuracy(0.9), False),
        (Accuracy(0.99), Drop(0.5), False),
    ],
)
def test_repeats_that_stop_before_the_constraint_are_refused(until, constraint, fits):
    """Who stopped counts as meeting it, which is so only if what it stopped at implies it."""
    lot = Analysis(trial=TrialLot(rate=0.1, count=9, until=until))
    for decide in (
        lambda: promising(lot, 0.9, constraint),
        lambda: Reduce(coverage=0.9).analysis(lot, constraint),
        lambda: Reduce().analysis(Analysis(until=until), constraint),
    ):
        if fits:
            decide()
        else:
            with pytest.raises(TableError, match="repeats are trained until"):
                decide()
