"""What every policy has to do."""

import copy
import json
import pickle

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipmend.confidence import Drop, Measured
from chipmend.faults import Chip, FaultMap
from chipmend.fleet.fingerprint import described
from chipmend.network.description import digest_of_behaviour
from chipmend.policy import Die, Observation, Scrap, Ship
from chipmend.resilience import Analysis, ResilienceTable, Trajectory, TrialLot
from chipmend.steps import Assess, Measure, Prune

CONSTRAINT = Drop(0.02)
MOST_STEPS = 1000
"""More than any policy needs to come to an end."""

finite = st.floats(-1, 1)
looks = st.builds(
    Measured,
    accuracy=st.floats(0, 1),
    margin=finite,
    p_value=st.floats(0, 1),
    samples=st.integers(1, 10**6),
)
driven = settings(
    max_examples=25,
    deadline=None,
    # every policy's test inherits the same functions, and makes its policy anew each time
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


def die(name, rate):
    faulty = np.zeros((4, 4), bool)
    faulty.flat[: round(16 * rate)] = True
    chip = Chip(name, FaultMap(rows=4, cols=4, faulty_pes=faulty))
    return Die(chip, rate, weights_per_pe=np.ones((4, 4), np.int64))


DIES = [die(f"d{place}", rate) for place, rate in enumerate((0.0, 0.05, 0.3, 0.5, 0.9, 1.0))]


def table():
    """Little retraining up to 30 % faulty, more at 50 %, and nothing helps at 90 %.

    Its trial lot is of chips of the former two.
    """

    def repeat(rate, number, accuracies):
        return Trajectory(
            rate=rate,
            repeat=number,
            effective_rate=rate,
            accuracies=accuracies,
            ee=1.0,
            seconds=1.0,
        )

    reached = (
        repeat(0.3, 0, (0.8, 0.9, 0.9)),
        repeat(0.3, 1, (0.9, 0.9, 0.9)),
        repeat(0.5, 0, (0.5, 0.7, 0.89)),
        repeat(0.5, 1, (0.5, 0.89, 0.89)),
    )
    lost = (repeat(0.9, 0, (0.1, 0.2, 0.3)), repeat(0.9, 1, (0.1, 0.2, 0.3)))
    return ResilienceTable(
        amounts=(0.0, 0.5, 1.0),
        clean_accuracy=0.9,
        trajectories=(*reached, *lost),
        trial=reached,
    )


def driven_to_the_end(policy, group, look):
    """Do what the policy says, with ``look()`` for what every look sees; gives all answers."""
    seen, answers = [], []
    while len(answers) < MOST_STEPS:
        answer = policy.next(group, CONSTRAINT, tuple(seen), table())
        answers.append(answer)
        if isinstance(answer, Ship | Scrap):
            return answers
        seen.append(observed(answer, look))
    return answers


def observed(answer, look, damage=0.1):
    """What carrying out an answer tells."""
    if isinstance(answer, Assess):
        return Observation(answer, damage=damage)
    return Observation(answer, look() if isinstance(answer, Measure) else None)


class PolicyContract:
    """Inherit, and give a fixture ``policy``."""

    @driven
    @given(order=st.permutations(DIES))
    def test_every_die_is_in_exactly_one_group_whatever_the_order(self, policy, order):
        groups = policy.plan(order, CONSTRAINT, table())
        assert sorted(c for group in groups for c in group.chips) == [d.chip.id for d in DIES]

    @driven
    @given(order=st.permutations(DIES))
    def test_the_plan_for_a_die_does_not_depend_on_the_order(self, policy, order):
        def by_chips(dies):
            return {frozenset(g.chips): g for g in policy.plan(dies, CONSTRAINT, table())}

        turned, straight = by_chips(order), by_chips(DIES)
        assert turned.keys() == straight.keys()
        assert all(turned[chips].epochs == straight[chips].epochs for chips in straight)

    def test_no_die_makes_no_group(self, policy):
        assert policy.plan([], CONSTRAINT, table()) == []

    @driven
    @given(data=st.data())
    def test_it_ends_with_ship_or_scrap_whatever_it_sees(self, policy, data):
        for group in policy.plan(DIES, CONSTRAINT, table()):
            answers = driven_to_the_end(policy, group, lambda: data.draw(looks))
            assert isinstance(answers[-1], Ship | Scrap)

    @driven
    @given(data=st.data())
    def test_it_gives_the_same_answers_twice_and_after_pickling(self, policy, data):
        twin = pickle.loads(pickle.dumps(policy))
        assert twin.name == policy.name
        usual = Analysis(trial=TrialLot(rate=0.3))
        assert twin.analysis(usual, CONSTRAINT) == policy.analysis(usual, CONSTRAINT)
        assert twin.plan(DIES, CONSTRAINT, table()) == policy.plan(DIES, CONSTRAINT, table())
        group = data.draw(st.sampled_from(policy.plan(DIES, CONSTRAINT, table())))
        seen = []
        for _ in range(20):
            answer = policy.next(group, CONSTRAINT, tuple(seen), table())
            assert policy.next(group, CONSTRAINT, tuple(seen), table()) == answer
            assert twin.next(group, CONSTRAINT, tuple(seen), table()) == answer
            if isinstance(answer, Ship | Scrap):
                break
            seen.append(observed(answer, lambda: data.draw(looks)))

    def test_whatever_ships_was_pruned_first(self, policy):
        sure = Measured(accuracy=1.0, margin=1.0, p_value=0.0, samples=1000)
        for group in policy.plan(DIES, CONSTRAINT, table()):
            answers = driven_to_the_end(policy, group, lambda: sure)
            assert isinstance(answers[0], Prune | Scrap)

    def test_its_arguments_stay_as_they_were(self, policy):
        dies, bound, measured = list(DIES), table(), copy.deepcopy(table())
        groups = policy.plan(dies, CONSTRAINT, bound)
        assert dies == DIES
        assert bound == measured
        seen = []
        while not isinstance(
            answer := policy.next(groups[0], CONSTRAINT, seen, bound), Ship | Scrap
        ):
            before = list(seen)
            policy.next(groups[0], CONSTRAINT, seen, bound)
            assert seen == before
            seen.append(observed(answer, lambda: Measured(0.9, 0.1, 0.001, 100)))

    def test_what_it_is_can_be_kept_in_a_run(self, policy):
        assert json.loads(json.dumps(described(policy)))["class"].endswith(type(policy).__name__)
        assert digest_of_behaviour(policy) == digest_of_behaviour(copy.deepcopy(policy))

    def test_its_name_is_short_and_its_own(self, policy):
        assert 0 < len(policy.name) <= 30
        assert policy.name.isprintable()
