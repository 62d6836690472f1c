import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import Accuracy, Drop, Measured, measured
from chipmend.confidence.sequential import levels
from chipmend.errors import PlanError
from chipmend.policy import Group, Observation, Scrap, Ship, UntilMet
from chipmend.policy.looks import Looks
from chipmend.resilience import Analysis
from chipmend.steps import Compensate, Measure, Prune, Recalibrate, Reestimate, Remap, Retrain
from contracts.policy_contract import CONSTRAINT, DIES, PolicyContract, driven_to_the_end

GROUP = Group(chips=("a",))
WHOLE = Looks(shares=(1.0,))
START = (Remap(), Prune(), Compensate())
HOPELESS = Measured(accuracy=0.1, margin=-0.8, p_value=1.0, samples=1000)


class TestUntilMet(PolicyContract):
    @pytest.fixture
    def policy(self):
        return UntilMet(increment=0.3, most=2.0)


class TestLooksAtTheWholeSplit(PolicyContract):
    @pytest.fixture
    def policy(self):
        return UntilMet(increment=0.3, most=2.0, looks=WHOLE)


class TestAfterRepair(PolicyContract):
    @pytest.fixture
    def policy(self):
        return UntilMet(increment=0.3, most=2.0, start=(Prune(), Compensate()))


class TestOneIncrement(PolicyContract):
    @pytest.fixture
    def policy(self):
        return UntilMet(increment=1.0, most=1.0, confidence=0.5)


def looks_until_shipped(policy, looks):
    left = iter(looks)
    answers = driven_to_the_end(policy, GROUP, lambda: next(left))
    return answers[-1], sum(isinstance(a, Measure) for a in answers)


def first_sure_look(looks, confidence):
    """The definition: look ``l`` may spend ``alpha / (l (l + 1))``."""
    for number, look in enumerate(looks, 1):
        if look.p_value * number * (number + 1) <= 1 - confidence:
            return number
    return None


margins = st.builds(
    Measured,
    accuracy=st.just(0.9),
    margin=st.floats(-0.02, 0.04),
    p_value=st.floats(0.0, 0.1),
    samples=st.integers(100, 10_000),
)


@settings(max_examples=150, deadline=None)
@given(looks=st.lists(margins, min_size=11, max_size=11), confidence=st.floats(0.5, 0.999))
def test_it_ships_at_the_first_look_whose_p_value_is_within_what_it_may_spend(looks, confidence):
    policy = UntilMet(increment=0.1, most=1.0, confidence=confidence, looks=WHOLE)
    answer, number = looks_until_shipped(policy, looks)
    expected = first_sure_look(looks, confidence)
    assert isinstance(answer, Scrap if expected is None else Ship)
    assert number == (expected or 11)


@pytest.mark.parametrize("network", [1, 2, 3, 7])
@pytest.mark.parametrize("place", [0, 1])
def test_growing_looks_share_out_what_their_network_may_spend(network, place):
    """Network j may spend alpha / (j (j + 1)), as a group-sequential test does over its looks."""
    shares = (0.4, 1.0)
    policy = UntilMet(increment=0.1, confidence=0.9, looks=Looks(shares=shares, hopeless=0.0))
    level = levels(0.1 / (network * (network + 1)), shares)[place]
    unsure = 2 * (network - 1) + place

    def looks_taken(p_value):
        last = Measured(accuracy=0.9, margin=0.0, p_value=p_value, samples=1000)
        rest = [replace(last, p_value=0.0)] * 100
        seen = [replace(last, p_value=0.9)] * unsure + [last, *rest]
        return looks_until_shipped(policy, seen)[1]

    assert looks_taken(level * (1 - 1e-6)) == unsure + 1
    assert looks_taken(level * (1 + 1e-6)) == unsure + 2


def test_it_prunes_recalibrates_and_looks_before_it_trains():
    own = Retrain(recalibrate=Reestimate(samples=64))
    policy = UntilMet(increment=0.5, retrain=own, looks=WHOLE)
    answers = driven_to_the_end(policy, GROUP, lambda: HOPELESS)
    expected = [Prune(), Recalibrate(form=Reestimate(samples=64)), Measure()]
    assert answers[:3] == expected
    assert answers[3:5] == [
        Retrain(epochs=0.5, recalibrate=Reestimate(samples=64)),
        Measure(),
    ]


def test_it_repairs_by_its_start_and_looks_before_it_trains():
    policy = UntilMet(increment=0.5, start=START, looks=WHOLE)
    answers = driven_to_the_end(policy, GROUP, lambda: HOPELESS)
    assert answers[:5] == [*START, Measure(), Retrain(epochs=0.5)]


def test_it_looks_at_more_only_while_that_may_still_decide():
    looks = Looks(shares=(0.25, 1.0))
    undecided = Measured(accuracy=0.9, margin=0.0, p_value=0.2, samples=250)
    policy = UntilMet(increment=0.5, looks=looks)
    unsure = driven_to_the_end(policy, GROUP, lambda: undecided)
    assert unsure[2:6] == [Measure(share=0.25), Measure(), Retrain(epochs=0.5), Measure(share=0.25)]
    hopeless = driven_to_the_end(policy, GROUP, lambda: HOPELESS)
    assert hopeless[2:5] == [Measure(share=0.25), Retrain(epochs=0.5), Measure(share=0.25)]


def test_it_gives_up_at_most_and_shortens_the_last_increment():
    policy = UntilMet(increment=0.4, most=1.0)
    answers = driven_to_the_end(policy, GROUP, lambda: HOPELESS)
    epochs = [answer.epochs for answer in answers if isinstance(answer, Retrain)]
    assert epochs == [0.4, 0.4, 0.2]
    assert answers[-1] == Scrap("'drop <= 2 points' not shown to hold within 1 epochs")


@pytest.mark.parametrize(("increment", "most"), [(0.1, 0.3), (0.1, 1.0), (0.7, 2.1), (1 / 3, 1)])
def test_rounding_never_adds_a_last_crumb(increment, most):
    policy = UntilMet(increment=increment, most=most)
    answers = driven_to_the_end(policy, GROUP, lambda: HOPELESS)
    epochs = [answer.epochs for answer in answers if isinstance(answer, Retrain)]
    assert len(epochs) == round(most / increment)
    assert sum(epochs) == pytest.approx(most, abs=1e-8)


def test_an_early_chance_that_later_looks_cannot_have_is_not_taken_back():
    sure = Measured(accuracy=0.9, margin=0.01, p_value=0.001, samples=1000)
    seen = (
        Observation(Prune()),
        Observation(Recalibrate()),
        Observation(Measure(), sure),
    )
    assert isinstance(UntilMet().next(GROUP, CONSTRAINT, seen, None), Ship)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("images", [300, 2000])
@pytest.mark.parametrize("constraint", [Drop(0.02), Accuracy(0.95)])
def test_no_more_chips_are_wrongly_shipped_than_its_confidence_allows(
    constraint, images, confidence
):
    """Chips that lose just as much as may be lost: whatever ships is a mistake.

    Every look is at new images, which makes looking often as dangerous as it can be.
    """
    rng = np.random.default_rng(0)
    chips = 1200
    policy = UntilMet(increment=0.25, most=2.0, confidence=confidence, looks=WHOLE)

    def look():
        lost, gained, _ = rng.multinomial(images, [0.05, 0.03, 0.92])
        clean, scores = np.ones(images), np.ones(images)
        scores[:lost] = 0
        clean[lost : lost + gained] = 0
        return measured(constraint, scores, clean)

    wrong = sum(isinstance(driven_to_the_end(policy, GROUP, look)[-1], Ship) for _ in range(chips))
    assert 0 < wrong <= scipy.stats.binom.ppf(0.999, chips, 1 - confidence)


def test_it_needs_no_analysis():
    assert UntilMet().analysis(Analysis(), CONSTRAINT) is None


def test_its_name_tells_the_increment_and_whether_repair_comes_first():
    assert UntilMet(increment=0.05).name == "UntilMet(0.05)"
    assert UntilMet(increment=0.05, start=START).name == "Repair + UntilMet(0.05)"
    assert UntilMet(label="mine").name == "mine"


def test_every_chip_is_alone():
    assert [g.chips for g in UntilMet().plan(DIES, CONSTRAINT, None)] == [
        (d.chip.id,) for d in DIES
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"confidence": 0.0},
        {"confidence": 1.0},
        {"confidence": 95},
        {"confidence": math.nan},
        {"increment": 0.0},
        {"increment": -1.0},
        {"increment": math.nan},
        {"increment": 2.0, "most": 1.0},
        {"most": math.inf},
        {"most": math.nan},
        {"start": (Compensate(),)},
        {"start": (Prune(), Retrain())},
    ],
)
def test_fields_that_make_no_sense_are_refused(fields):
    with pytest.raises(PlanError, match="until_met"):
        UntilMet(**fields)
