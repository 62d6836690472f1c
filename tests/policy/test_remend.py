"""Chips that have shipped before: kept, patched and looked at, trained on, or mended anew."""

from dataclasses import replace

import pytest

from chipmend.confidence import Measured
from chipmend.policy import (
    Cascade,
    Fixed,
    FixedSteps,
    Looks,
    Observation,
    Scrap,
    Ship,
    UntilMet,
)
from chipmend.policy.cascade import RUNGS
from chipmend.policy.remend import Before, Remend
from chipmend.recipes import merged
from chipmend.steps import (
    Compensate,
    Measure,
    OneShot,
    Patch,
    Prune,
    Recalibrate,
    Remap,
    Retrain,
)
from contracts.policy_contract import CONSTRAINT, DIES, PolicyContract

CHIP, PATCH = DIES[2].chip.id, Patch(bundle="of the chip")
BEFORE = {CHIP: Before(patch=PATCH)}


class TestRemend(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Remend(UntilMet(), {})


def group_of(policy, chip):
    groups = policy.plan(DIES, CONSTRAINT, None)
    return next(group for group in groups if group.chips == (chip,))


def look(p_value, share=0.05):
    measured = Measured(accuracy=0.9, margin=0.01, error=0.01, samples=100, p_value=p_value)
    return Observation(Measure(share=share), measured=measured)


def test_what_has_shipped_is_patched_then_looked_at_then_shipped():
    policy = Remend(UntilMet(), BEFORE)
    group, seen = group_of(policy, CHIP), []
    assert policy.next(group, CONSTRAINT, seen, None) == PATCH
    seen.append(Observation(PATCH))
    assert policy.next(group, CONSTRAINT, seen, None) == Measure(share=Looks().shares[0])
    seen.append(look(1e-9))
    action = policy.next(group, CONSTRAINT, seen, None)
    assert isinstance(action, Ship)
    assert "0.975" in action.reason  # half of what UntilMet may err by


def test_what_a_patch_does_not_do_for_is_mended_anew_with_what_is_left_of_the_confidence():
    inner = FixedSteps()
    policy = Remend(inner, BEFORE)
    group = group_of(policy, CHIP)
    seen = [Observation(PATCH), look(0.999)]
    assert policy.next(group, CONSTRAINT, seen, None) == Prune()
    seen.append(Observation(Prune()))
    alone = inner.next(group, CONSTRAINT, seen[2:], None)
    assert policy.next(group, CONSTRAINT, seen, None) == alone
    assert Remend(Cascade(confidence=0.9), {})._anew.confidence == pytest.approx(0.95)


@pytest.mark.parametrize("inner", [Cascade(increment=0.25, most=0.5), UntilMet(most=0.15)])
def test_what_had_been_retrained_is_trained_on_by_increments(inner):
    steps = (*RUNGS[-1], Retrain(epochs=0.5))
    policy = Remend(inner, {CHIP: Before(patch=PATCH, steps=steps)})
    group, seen = group_of(policy, CHIP), [Observation(PATCH), look(0.999)]
    for epochs in (inner.increment, round(inner.most - inner.increment, 9)):
        action = policy.next(group, CONSTRAINT, seen, None)
        assert action == replace(inner.retrain, epochs=epochs)
        seen.append(Observation(action))
        assert policy.next(group, CONSTRAINT, seen, None) == Measure(share=Looks().shares[0])
        ships = policy.next(group, CONSTRAINT, [*seen, look(1e-9)], None)
        assert ships == Ship(f"'{CONSTRAINT}' holds again with confidence 0.975")
        seen.append(look(0.999))
    assert isinstance(policy.next(group, CONSTRAINT, seen, None), Scrap)


def test_patched_and_trained_networks_err_together_no_more_than_the_policy_may():
    """Every p-value that a network ships with: the sum of the largest of them."""
    inner = UntilMet(increment=0.1, most=4.0, looks=Looks(shares=(1.0,)))
    policy = Remend(inner, {CHIP: Before(patch=PATCH, steps=(Prune(), Retrain()))})
    group, seen, spent = group_of(policy, CHIP), [Observation(PATCH)], 0.0
    while not isinstance(policy.next(group, CONSTRAINT, [*seen, look(0.999, 1.0)], None), Scrap):

        def ships(p_value, seen=tuple(seen)):
            with_it = [*seen, look(p_value, 1.0)]
            return isinstance(policy.next(group, CONSTRAINT, with_it, None), Ship)

        low, high = 0.0, 0.1
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if ships(middle) else (low, middle)
        spent += low
        seen.append(look(0.999, 1.0))
        seen.append(Observation(policy.next(group, CONSTRAINT, seen, None)))
    assert len(seen) == 81
    assert 0.045 < spent <= 0.05


def test_policies_that_know_amounts_beforehand_mend_anew_what_had_been_retrained():
    policy = Remend(Fixed(epochs=0.5), {CHIP: Before(patch=PATCH, steps=(Prune(), Retrain()))})
    seen = [Observation(PATCH), look(0.999)]
    assert policy.next(group_of(policy, CHIP), CONSTRAINT, seen, None) == Prune()


def test_chips_that_are_new_are_the_policy_s_and_may_share_a_network():
    class Together(FixedSteps):
        def plan(self, dies, constraint, table):
            from chipmend.policy import Group

            return [Group(chips=tuple(die.chip.id for die in dies))]

    policy = Remend(Together(), BEFORE)
    groups = policy.plan(DIES, CONSTRAINT, None)
    assert sorted(len(group.chips) for group in groups) == sorted([1, len(DIES) - 1])
    new = next(g for g in groups if g.chips[0] not in BEFORE)
    assert policy.next(new, CONSTRAINT, [], None) == Prune()
    assert policy.name == Together().name


def test_chips_that_are_new_have_the_whole_confidence():
    policy = Remend(UntilMet(), BEFORE)
    group = group_of(policy, DIES[1].chip.id)
    seen = [Observation(Prune())]
    assert policy.next(group, CONSTRAINT, seen, None) == UntilMet().next(
        group, CONSTRAINT, seen, None
    )
    ships = policy.next(group, CONSTRAINT, [*seen, look(1e-9)], None)
    assert "0.95" in ships.reason


def test_what_states_no_confidence_has_patched_networks_shown_with_95_percent():
    policy = Remend(FixedSteps(), BEFORE)
    seen = [Observation(PATCH), look(1e-9)]
    ships = policy.next(group_of(policy, CHIP), CONSTRAINT, seen, None)
    assert ships.reason.endswith("confidence 0.95")


def test_the_cascade_goes_on_above_a_rung_that_corrected_norms_first():
    rungs = ((Prune(), Recalibrate(), Compensate(form=OneShot())), RUNGS[-1])
    policy, shipped = Cascade(rungs=rungs), (*merged(rungs[0]), PATCH)
    group = group_of(Remend(policy, {CHIP: Before(patch=PATCH, steps=shipped)}), CHIP)
    assert isinstance(policy.next(group, CONSTRAINT, [Observation(Prune())], None), Remap)


def test_the_cascade_goes_on_above_the_rung_that_did_before():
    policy = Cascade()
    for place, rung in enumerate(RUNGS):
        before = {CHIP: Before(patch=PATCH, steps=(*rung, PATCH))}
        group = group_of(Remend(policy, before), CHIP)
        assert group.shipped == (*rung, PATCH)
        seen, action = [], None
        while not isinstance(action, Measure) and len(seen) < 9:
            action = policy.next(group, CONSTRAINT, seen, None)
            seen.append(Observation(action))
        done = merged(tuple(o.step for o in seen))
        assert done == merged(RUNGS[min(place + 1, len(RUNGS) - 1)])
