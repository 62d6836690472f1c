import math

import numpy as np
import pytest

from chipmend.errors import TableError
from chipmend.faults import Chip, FaultMap
from chipmend.policy import Die, EFat, Observation, Reduce, Scrap, Ship
from chipmend.steps import Compensate, KeepBetter, Prune, Retrain
from contracts.policy_contract import CONSTRAINT, DIES, PolicyContract, table

WEIGHTS = np.ones((4, 4), np.int64)


class TestMax(PolicyContract):
    @pytest.fixture
    def policy(self):
        return EFat()


class TestAfterRepair(PolicyContract):
    @pytest.fixture
    def policy(self):
        return EFat(start=(Prune(), Compensate()), statistic="mean")


def die(name, *rows):
    faulty = np.zeros((4, 4), bool)
    faulty[list(rows)] = True
    chip = Chip(name, FaultMap(rows=4, cols=4, faulty_pes=faulty))
    return Die(chip, len(rows) / 4, weights_per_pe=WEIGHTS)


def planned(*dies, **fields):
    groups = EFat(**fields).plan(dies, CONSTRAINT, table())
    return {group.chips: group.epochs for group in groups}


def test_chips_with_the_same_dead_lines_are_retrained_once():
    # a quarter needs 0.5 * 25/30 at most, a half needs 1: only what is shared saves anything
    assert planned(die("b", 0, 1), die("a", 0, 1), die("c", 2)) == {
        ("a", "b"): 1.0,
        ("c",): pytest.approx(0.5 * 0.25 / 0.3),
    }


def test_a_union_beyond_what_the_analysis_reached_is_left_alone():
    assert len(planned(die("a", 0, 1), die("b", 2, 3))) == 2
    assert len(planned(die("a", 0, 1), die("b", 1, 2))) == 2  # three quarters: 50 % was reached


def test_it_never_retrains_more_than_reduce():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        dies = [die(f"{n}", *np.flatnonzero(rng.random(4) < 0.4)) for n in range(6)]
        alone = Reduce().plan(dies, CONSTRAINT, table())
        together = EFat().plan(dies, CONSTRAINT, table())
        wanted, found = (
            sum(group.epochs for group in groups if math.isfinite(group.epochs))
            for groups in (alone, together)
        )
        assert found <= wanted + 1e-6
        lost = [
            {c for g in each if math.isinf(g.epochs) for c in g.chips} for each in (alone, together)
        ]
        assert lost[0] == lost[1]


def test_a_group_is_repaired_retrained_and_kept_if_better_as_one_chip_is():
    policy = EFat(start=(Prune(), Compensate()), retrain=Retrain(learning_rate=0.1))
    (group,) = policy.plan([die("a", 0, 1), die("b", 0, 1)], CONSTRAINT, table())
    walk, seen = [], []
    while not isinstance(step := policy.next(group, CONSTRAINT, seen, table()), Ship):
        walk.append(step)
        seen.append(Observation(step))
    assert walk == [Prune(), Compensate(), Retrain(learning_rate=0.1, epochs=1.0), KeepBetter()]
    assert group.reason == "an effective fault rate of 50 % together"


def test_what_no_amount_would_save_is_scrapped():
    (group,) = EFat().plan([die("a", 0, 1, 2, 3)], CONSTRAINT, table())
    assert isinstance(EFat().next(group, CONSTRAINT, [], table()), Scrap)


def test_without_a_table_it_says_so():
    with pytest.raises(TableError, match="eFAT-max has no resilience table"):
        EFat().plan(DIES, CONSTRAINT, None)


def test_names():
    assert EFat().name == "eFAT-max"
    assert EFat(start=(Prune(), Compensate()), statistic="mean").name == "Repair + eFAT-mean"
