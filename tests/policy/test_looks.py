import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import Drop, Measured, measured
from chipmend.confidence.sequential import alpha_of_look, levels, outlook
from chipmend.errors import PlanError
from chipmend.policy import Observation
from chipmend.policy.looks import Looks, check_confidence, looks_at_this, networks_looked_at
from chipmend.steps import Assess, Measure, Prune, Recalibrate, Retrain

SHARES = (0.1, 0.4, 1.0)
PATIENT = Looks(shares=SHARES, hopeless=0.0)


def look(p_value):
    return Observation(Measure(), Measured(0.9, 0.0, p_value, 100))


def seen(*networks):
    """Observations of networks, each given by the p-values of the looks at it."""
    made = []
    for p_values in networks:
        made += [Observation(Retrain()), *map(look, p_values)]
    return tuple(made)


def judged(looks, observed, confidence):
    """The verdict where every network spends its share of the confidence by the union bound."""
    place = max(1, networks_looked_at(observed))
    return looks.judge(observed, alpha_of_look(1 - confidence, place))


ASSESSED = Observation(Assess(), damage=0.3)


# which looks count


def test_looks_at_the_network_as_it_stands_are_those_since_it_was_changed_last():
    assert looks_at_this(()) == []
    assert looks_at_this(seen([])) == []
    assert looks_at_this(seen([0.1], [0.2, 0.3])) == [
        each.measured for each in (look(0.2), look(0.3))
    ]
    assert looks_at_this((*seen([0.1]), Observation(Recalibrate()))) == []


def test_an_assessment_does_not_separate_looks():
    first, second = look(0.1), look(0.2)
    apart = (Observation(Prune()), first, ASSESSED, second, ASSESSED)
    assert looks_at_this(apart) == [first.measured, second.measured]
    assert networks_looked_at(apart) == 1


@pytest.mark.parametrize(
    ("networks", "count"),
    [
        ([], 0),
        ([[]], 0),
        ([[0.1]], 1),
        ([[0.1, 0.2, 0.3]], 1),
        ([[0.1], [], [0.2, 0.3]], 2),
        ([[0.1], [0.1], [0.1], []], 3),
    ],
)
def test_networks_count_once_however_often_they_are_looked_at(networks, count):
    assert networks_looked_at(seen(*networks)) == count


# the verdict


def test_the_first_look_is_the_smallest():
    assert PATIENT.judge((), 0.05) == Measure(share=0.1)
    assert PATIENT.judge(seen([0.0], []), 0.05) == Measure(share=0.1)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6, 0.05 / 56])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_network_will_do_at_the_level_of_its_look_and_not_above_it(alpha, place):
    level = levels(alpha, SHARES)[place]

    def verdict(p_value):
        return PATIENT.judge(seen([0.0], [0.9] * place + [p_value]), alpha)

    assert verdict(level * (1 - 1e-6)) is True
    further = Measure(share=SHARES[place + 1]) if place < 2 else False
    assert verdict(level * (1 + 1e-6)) == further


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_a_single_look_at_the_whole_split_may_spend_all_that_the_network_may(alpha):
    whole = Looks(shares=(1.0,))
    assert whole.judge(seen([alpha * (1 - 1e-9)]), alpha) is True
    assert whole.judge(seen([alpha * (1 + 1e-9)]), alpha) is False


p_values = st.floats(1e-6, 1.0)


@settings(max_examples=150, deadline=None)
@given(p_value=p_values, hopeless=st.floats(0.0, 0.9), place=st.sampled_from([0, 1]))
def test_looking_on_is_given_up_where_a_yes_at_the_end_is_less_likely_than_asked(
    p_value, hopeless, place
):
    looks = Looks(shares=SHARES, hopeless=hopeless)
    bars = levels(0.05, SHARES)
    verdict = looks.judge(seen([0.9] * place + [p_value]), 0.05)
    if p_value <= bars[place]:
        assert verdict is True
    elif outlook(p_value, SHARES[place], bars[-1]) < hopeless:
        assert verdict is False
    else:
        assert verdict == Measure(share=SHARES[place + 1])


@pytest.mark.parametrize("alpha", [0.1, 0.025])
@pytest.mark.parametrize("hopeless", [0.0, 0.1])
def test_no_more_networks_wrongly_do_than_may(alpha, hopeless):
    """Networks that lose just as much as may be lost: each yes is a mistake."""
    rng = np.random.default_rng(0)
    looks, images, networks = Looks(hopeless=hopeless), 4000, 2000

    def wrongly_does():
        made = [Observation(Retrain())]
        clean, scores = (rng.random((2, images)) < [[0.97], [0.95]]).astype(float)
        while isinstance(verdict := looks.judge(made, alpha), Measure):
            count = round(verdict.share * images)
            found = measured(Drop(0.02), scores[:count], clean[:count])
            made.append(Observation(verdict, found))
        return verdict

    wrong = sum(wrongly_does() for _ in range(networks))
    assert 0 < wrong <= scipy.stats.binom.ppf(0.999, networks, alpha)


# what is refused


@pytest.mark.parametrize("shares", [(), (0.5,), (0.5, 0.5, 1.0), (0.0, 1.0), (0.5, 0.2, 1.0)])
def test_shares_that_do_not_ascend_to_the_whole_split_are_refused(shares):
    with pytest.raises(PlanError, match="looks at shares"):
        Looks(shares=shares)


@pytest.mark.parametrize("hopeless", [-0.1, 1.0, math.nan])
def test_a_chance_that_is_none_is_refused(hopeless):
    with pytest.raises(PlanError, match="looks: hopeless"):
        Looks(hopeless=hopeless)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, math.nan])
def test_what_is_no_confidence_is_refused_with_whose_it_is(confidence):
    with pytest.raises(PlanError, match=f"mine: a confidence of {confidence}"):
        check_confidence("mine", confidence)
    check_confidence("mine", 0.5)
