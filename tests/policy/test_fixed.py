import math

import pytest

from chipmend.errors import PlanError
from chipmend.policy import Fixed, FixedSteps, Ship
from chipmend.steps import Decaying, Match, Naive, Prune, Quantize, Recalibrate, Reestimate, Retrain
from contracts.policy_contract import CONSTRAINT, DIES, PolicyContract, driven_to_the_end


def steps_of(policy):
    group = policy.plan(DIES[:1], CONSTRAINT, None)[0]
    *steps, last = driven_to_the_end(policy, group, None)
    assert isinstance(last, Ship)
    return steps


class TestPruningAlone(PolicyContract):
    @pytest.fixture
    def policy(self):
        return FixedSteps()


class TestSteps(PolicyContract):
    @pytest.fixture
    def policy(self):
        return FixedSteps(steps=(Prune(), Recalibrate(), Retrain(epochs=0.5)), label="three")


class TestFixed(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Fixed(epochs=0.5)


class TestFixedDecaying(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Fixed(epochs=0.5, decaying=True)


class TestFixedWithoutRetraining(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Fixed(epochs=0)


def test_steps_are_carried_out_in_their_order():
    steps = (Prune(), Retrain(epochs=0.25), Recalibrate(form=Match(samples=64)))
    assert steps_of(FixedSteps(steps=steps, label="mine")) == list(steps)
    assert steps_of(FixedSteps()) == [Prune()]


def test_a_fixed_amount_is_pruning_and_one_retraining():
    settings = Retrain(learning_rate=0.1, epochs=9)
    expected = [Prune(), Retrain(learning_rate=0.1, epochs=0.75)]
    assert steps_of(Fixed(epochs=0.75, retrain=settings)) == expected


def test_a_start_comes_before_the_amount():
    start = (Prune(), Quantize(form=Naive()))
    policy = Fixed(epochs=0.5, start=start, retrain=Retrain(learning_rate=0.1))
    assert steps_of(policy) == [*start, Retrain(learning_rate=0.1, epochs=0.5)]
    assert policy.name == "Repair + Fixed(0.5)"
    with pytest.raises(PlanError, match="trains already"):
        Fixed(epochs=0.5, start=(Prune(), Retrain()))


def test_a_decaying_amount_differs_by_its_schedule_alone():
    steps = steps_of(Fixed(epochs=0.75, decaying=True))
    assert steps == [Prune(), Retrain(epochs=0.75, schedule=Decaying())]


def test_no_amount_is_pruning_and_the_recalibration_that_would_follow_a_retraining():
    own = Retrain(recalibrate=Reestimate(samples=64))
    assert steps_of(Fixed(epochs=0, retrain=own)) == [Prune(), Recalibrate(form=own.recalibrate)]


def test_names_tell_amounts_and_schedules_apart():
    policies = [Fixed(epochs=0.1), Fixed(epochs=0.1, decaying=True), Fixed(epochs=1), FixedSteps()]
    names = ["Fixed(0.1)", "Fixed(0.1, decaying)", "Fixed(1)", "FAP"]
    assert [policy.name for policy in policies] == names
    assert Fixed(epochs=0.1, label="mine").name == "mine"


@pytest.mark.parametrize("epochs", [-0.1, math.nan, math.inf])
def test_an_amount_that_is_none_is_refused(epochs):
    with pytest.raises(PlanError, match="epochs"):
        Fixed(epochs=epochs)


@pytest.mark.parametrize("steps", [(), (Recalibrate(), Prune()), (Retrain(),)])
def test_steps_that_do_not_begin_with_pruning_are_refused(steps):
    with pytest.raises(PlanError, match="does not begin with pruning"):
        FixedSteps(steps=steps)
