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
    assert Remend(Cascade(confidence=0.9), {})._anew(0.05).confidence == pytest.approx(0.95)


TRAINED = Before(patch=PATCH, steps=(*RUNGS[-1], Retrain(epochs=0.25)))


def trained_on(policy, seen=()):
    """A chip that is patched and trained on in vain, up to what comes next."""
    group, seen = group_of(policy, CHIP), [Observation(PATCH), look(0.999), *seen]
    while isinstance(action := policy.next(group, CONSTRAINT, seen, None), Retrain | Measure):
        seen.append(look(0.999) if isinstance(action, Measure) else Observation(action))
    return action, seen


@pytest.mark.parametrize("inner", [Cascade(increment=0.15, most=0.5), UntilMet(increment=0.15)])
def test_what_had_been_retrained_is_trained_on_for_as_long_and_then_mended_anew(inner):
    policy = Remend(inner, {CHIP: TRAINED})
    action, seen = trained_on(policy)
    assert [o.step for o in seen if isinstance(o.step, Retrain)] == [
        replace(inner.retrain, epochs=epochs) for epochs in (0.15, 0.1)
    ]
    for place, observation in enumerate(seen):
        if isinstance(observation.step, Retrain):
            group, here = group_of(policy, CHIP), seen[: place + 1]
            ships = policy.next(group, CONSTRAINT, [*here, look(1e-9)], None)
            assert ships == Ship(f"'{CONSTRAINT}' holds trained on with confidence 0.9875")
    group = group_of(policy, CHIP)
    assert action == inner.next(group, CONSTRAINT, (), None)
    left = replace(inner, confidence=0.9875)
    anew = [Observation(action)]
    while not isinstance(action, Measure):
        action = policy.next(group, CONSTRAINT, [*seen, *anew], None)
        assert action == left.next(group, CONSTRAINT, anew, None)
        anew.append(Observation(action))


def test_no_more_is_trained_on_than_the_policy_would_train():
    _, seen = trained_on(Remend(UntilMet(increment=0.1, most=0.2), {CHIP: TRAINED}))
    assert sum(o.step.epochs for o in seen if isinstance(o.step, Retrain)) == 0.2


@pytest.mark.parametrize("kind", ["effective_rate", "effective_bit_rate"])
def test_a_chip_with_fewer_faults_than_it_had_is_new_but_for_its_patch(kind):
    (die,) = (die for die in DIES if die.chip.id == CHIP)
    had = {"effective_rate": die.effective_rate, "effective_bit_rate": die.effective_bit_rate}
    policy = Remend(Cascade(), {CHIP: replace(TRAINED, **had)})
    assert group_of(policy, CHIP).shipped == TRAINED.steps
    had[kind] += 0.01
    policy = Remend(Cascade(), {CHIP: replace(TRAINED, **had)})
    assert group_of(policy, CHIP).shipped == ()
    action, _ = trained_on(policy)
    assert action == Prune()


def test_networks_are_looked_at_with_the_patience_that_the_policy_has_for_trained_ones():
    for inner, goes_on in ((Cascade(), True), (UntilMet(), False)):
        policy = Remend(inner, {CHIP: TRAINED})
        seen = [Observation(PATCH), look(0.999), Observation(replace(inner.retrain, epochs=0.1))]
        seen.append(look(0.95))  # a chance of a yes between 0.005 and 0.1
        action = policy.next(group_of(policy, CHIP), CONSTRAINT, seen, None)
        assert isinstance(action, Measure) == goes_on


def test_patched_trained_and_new_networks_err_together_no_more_than_the_policy_may():
    """Every p-value that a network ships with: the sum of the largest of them."""
    inner = UntilMet(increment=0.1, most=4.0, looks=Looks(shares=(1.0,)))
    before = Before(patch=PATCH, steps=(Prune(), Retrain(epochs=4.0)))
    policy = Remend(inner, {CHIP: before})
    group, seen, spent, networks = group_of(policy, CHIP), [Observation(PATCH)], 0.0, 0

    def ships(p_value):
        action = policy.next(group, CONSTRAINT, [*seen, look(p_value, 1.0)], None)
        return isinstance(action, Ship)

    while True:
        action = policy.next(group, CONSTRAINT, seen, None)
        if isinstance(action, Scrap):
            break
        if not isinstance(action, Measure):
            seen.append(Observation(action))
            continue
        low, high = 0.0, 0.1
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if ships(middle) else (low, middle)
        spent, networks = spent + low, networks + 1
        seen.append(look(0.999, 1.0))
    assert networks == 1 + 40 + 41
    assert 0.045 < spent <= 0.05


def test_a_policy_that_states_no_confidence_trains_nothing_on():
    class Plain(FixedSteps):
        retrain, increment, most, hopeless_once_trained = Retrain(), 0.1, 1.0, 0.1

    action, _ = trained_on(Remend(Plain(), {CHIP: TRAINED}))
    assert action == Prune()


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
