import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from chipmend.confidence import Accuracy, Drop, Measured
from chipmend.confidence.sequential import levels
from chipmend.errors import PlanError
from chipmend.faults import Chip, FaultMap, StuckBits
from chipmend.policy import Cascade, Group, Looks, Observation, Scrap, Ship, UntilMet
from chipmend.policy.cascade import CODED_RUNGS, RUNGS
from chipmend.policy.protocol import Die
from chipmend.recipes import merged, ready_to_ship, retrained_epochs
from chipmend.resilience import Analysis, ResilienceTable, Rung, Trajectory
from chipmend.steps import (
    FAQ,
    Assess,
    Compensate,
    Measure,
    OneShot,
    Prune,
    Quantize,
    Recalibrate,
    Reestimate,
    Remap,
    Retrain,
    Sequential,
)
from contracts.policy_contract import CONSTRAINT, PolicyContract, die

GROUP = Group(chips=("a",))
AMOUNTS = (0.0, 0.1, 0.2, 0.4)
LEARNING = Cascade(amounts=AMOUNTS)
GOOD = Measured(accuracy=0.9, margin=0.02, p_value=0.0, samples=250, error=0.002)
BAD = Measured(accuracy=0.8, margin=-0.03, p_value=1.0, samples=250, error=0.002)


class TestCascade(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Cascade(most=1.0)


class TestCascadeThatLearns(PolicyContract):
    @pytest.fixture
    def policy(self):
        return LEARNING


def learnt(clean=0.9):
    """Rung ``r`` does up to a damage of 0.1 (r + 1); retraining gives 1/2, then 3/4 back."""

    def repeat(damage):
        accuracy = [clean if damage < 0.1 * (rung + 1) else clean - 0.04 for rung in range(4)]
        along = [clean - 0.04, clean - 0.02, clean - 0.01, clean - 0.01]
        return Trajectory(
            rate=0.3,
            repeat=0,
            effective_rate=0.3,
            accuracies=tuple(along) if damage > 0.4 else (clean,),
            ee=0.1,
            seconds=1.0,
            damage=damage,
            rungs=tuple(Rung(accuracy=a, p_value=float(a < clean)) for a in accuracy),
        )

    damages = [0.05, 0.15, 0.25, 0.35, 0.45]
    return ResilienceTable(
        amounts=AMOUNTS, clean_accuracy=clean, trajectories=tuple(map(repeat, damages))
    )


def driven(policy, look, *, damage=0.05, table=None, group=GROUP):
    """All answers; ``look(recipe, number)`` says what the looks see."""
    seen, answers = [], []
    while True:
        answer = policy.next(group, CONSTRAINT, tuple(seen), table)
        answers.append(answer)
        if isinstance(answer, Ship | Scrap):
            return answers
        here = merged(tuple(o.step for o in seen))
        measured = look(here) if isinstance(answer, Measure) else None
        seen.append(Observation(answer, measured, damage if isinstance(answer, Assess) else None))


def networks(answers):
    """Recipes of the networks that were looked at, in order."""
    steps = [a for a in answers if not isinstance(a, Ship | Scrap)]
    looked = [merged(tuple(steps[:i])) for i, s in enumerate(steps) if isinstance(s, Measure)]
    return list(dict.fromkeys(looked))


@pytest.mark.parametrize("good", range(len(RUNGS)))
def test_it_ships_from_the_first_rung_that_does_and_tries_none_above(good):
    answers = driven(Cascade(), lambda recipe: GOOD if recipe == merged(RUNGS[good]) else BAD)
    assert networks(answers) == [merged(rung) for rung in RUNGS[: good + 1]]
    assert isinstance(answers[-1], Ship)


def test_nothing_is_done_twice_on_the_way_up():
    answers = driven(Cascade(), lambda recipe: GOOD if recipe == merged(RUNGS[-1]) else BAD)
    steps = [a for a in answers if not isinstance(a, Measure | Ship)]
    one_shot, sequential = Compensate(form=OneShot()), RUNGS[-1][-1]
    assert steps == [Prune(), one_shot, Remap(), one_shot, sequential]


@pytest.mark.parametrize(("damage", "first"), [(0.02, 0), (0.18, 1), (0.22, 2), (0.6, 3)])
def test_a_chip_begins_where_its_damage_says_that_it_will_do(damage, first):
    answers = driven(LEARNING, lambda _: GOOD, damage=damage, table=learnt())
    assert networks(answers) == [merged(RUNGS[first])]


def test_what_is_foreseen_to_fail_is_passed_over_on_the_way_up_too():
    table = learnt()
    skipping = replace(
        table,
        trajectories=tuple(
            replace(t, rungs=(t.rungs[0], Rung(accuracy=0.5, p_value=1.0), *t.rungs[2:]))
            for t in table.trajectories
        ),
    )
    look = {merged(RUNGS[2]): GOOD}
    answers = driven(LEARNING, lambda recipe: look.get(recipe, BAD), damage=0.02, table=skipping)
    assert networks(answers) == [merged(RUNGS[0]), merged(RUNGS[2])]


def tried(damages, missed=()):
    """A table with a trial lot: the first rung does for all but a few of its chips."""
    good, bad = Rung(accuracy=0.9, p_value=0.0), Rung(accuracy=0.5, p_value=1.0)
    chips = [
        replace(learnt().trajectories[0], damage=d, rungs=((bad if d in missed else good),) * 4)
        for d in damages
    ]
    return replace(learnt(), trial=tuple(chips))


PROMISING = replace(LEARNING, coverage=0.9)


def test_where_a_trial_lot_keeps_the_promise_a_chip_ships_without_a_look():
    table = tried([0.01 + step / 1000 for step in range(9)])
    answers = driven(PROMISING, lambda _: BAD, damage=0.01, table=table)
    assert [type(a) for a in answers] == [Prune, Assess, Ship]
    assert answers[-1].reason == "90 % of the chips like it meet 'drop <= 2 points' unseen"
    fewer = replace(table, trial=table.trial[1:])
    assert Measure in map(type, driven(PROMISING, lambda _: GOOD, damage=0.01, table=fewer))
    assert Measure in map(type, driven(LEARNING, lambda _: GOOD, damage=0.01, table=table))


def test_what_is_not_like_a_trial_lot_is_never_shipped_without_a_look():
    table = tried([0.01 + step / 1000 for step in range(9)])
    before = replace(GROUP, exchangeable=False)
    answers = driven(PROMISING, lambda _: GOOD, damage=0.01, table=table, group=before)
    assert Measure in map(type, answers)


def test_chips_that_are_expected_to_do_worse_than_those_of_the_trial_lot_are_looked_at():
    table = tried([0.001 * step for step in range(1, 10)])
    assert len(driven(PROMISING, lambda _: GOOD, damage=0.009, table=table)) == 3
    assert Measure in map(type, driven(PROMISING, lambda _: GOOD, damage=0.099, table=table))


def retrainings(answers):
    return [round(a.epochs, 9) for a in answers if isinstance(a, Retrain)]


def test_the_amount_is_the_least_learnt_that_makes_up_for_what_is_lacking():
    """Allowed are 2 points; 0.1 epochs give half of what is lacking back, 0.2 three quarters."""
    table, last = learnt(), merged(RUNGS[-1])

    def amount(margin):
        seen = Measured(accuracy=0.85, margin=margin, p_value=1.0, samples=10**9, error=0.0)
        look = {last: seen}
        return retrainings(driven(LEARNING, lambda r: look.get(r, GOOD), damage=0.6, table=table))

    assert amount(-0.015) == [0.1]  # 3.5 points lacking: 1.75 left
    assert amount(-0.03) == [0.2]  # 5 points lacking: 2.5 left after 0.1, 1.25 after 0.2
    assert amount(-0.2) == [0.4]  # more than the analysis saw made good


@pytest.mark.parametrize(("samples", "epochs"), [(250, 0.2), (10**6, 0.1)])
def test_what_was_foreseen_counts_as_much_as_a_thousand_images(samples, epochs):
    """A look that missed by 1.2 points, at a damage that was foreseen to miss by 2."""
    seen = Measured(accuracy=0.87, margin=-0.012, p_value=1.0, samples=samples, error=0.002)
    look = {merged(RUNGS[-1]): seen}
    answers = driven(LEARNING, lambda r: look.get(r, GOOD), damage=0.6, table=learnt())
    assert retrainings(answers) == [epochs]


def test_beyond_what_was_learnt_it_goes_on_in_small_steps_and_in_the_end_gives_up():
    policy = replace(LEARNING, increment=0.25, most=1.0)
    answers = driven(policy, lambda _: BAD, damage=0.6, table=learnt())
    assert retrainings(answers) == [0.2, 0.2, 0.25, 0.25, 0.1]  # at first it hopes for more
    assert isinstance(answers[-1], Scrap)
    assert "missed by 3 points" in answers[-1].reason
    assert retrainings(driven(replace(policy, amounts=()), lambda _: BAD)) == [0.25] * 4


@pytest.mark.parametrize(
    ("rung", "alpha"), [(0, 0.05 * 0.2 / 3), (1, 0.05 * 0.2 / 3), (3, 0.05 * 0.6)]
)
def test_each_rung_may_spend_its_share_of_the_error_probability(rung, alpha):
    policy = Cascade(looks=Looks(shares=(1.0,)))
    for p_value, ships in ((alpha * 0.999, True), (alpha * 1.001, False)):
        look = {merged(RUNGS[rung]): replace(GOOD, p_value=p_value)}
        answers = driven(policy, lambda r, look=look: look.get(r, BAD))
        assert (networks(answers)[-1] == merged(RUNGS[rung])) is ships


@pytest.mark.parametrize(
    ("rung", "share", "patience"), [(1, 0.2 / 3, 0.4), (2, 0.2 / 3, 0.1), (3, 0.6, 0.005)]
)
def test_the_dearer_what_comes_next_the_longer_a_rung_is_looked_at(rung, share, patience):
    shares = (0.5, 1.0)
    policy, here = Cascade(looks=Looks(shares=shares)), merged(RUNGS[rung])
    wanted = norm.isf(levels(0.05 * share, shares)[-1])
    for chance, looks in ((0.9 * patience, 1), (1.1 * patience, 2)):
        p_value = norm.sf(math.sqrt(0.5) * (wanted + norm.ppf(chance)))
        seen = {here: replace(BAD, p_value=p_value)}
        answers = driven(policy, lambda recipe, seen=seen: seen.get(recipe, BAD))
        steps = [a for a in answers if not isinstance(a, Ship | Scrap)]
        places = [i for i, s in enumerate(steps) if isinstance(s, Measure)]
        assert sum(merged(tuple(steps[:i])) == here for i in places) == looks


def test_retrained_networks_share_what_is_left():
    policy = Cascade(looks=Looks(shares=(1.0,)), increment=0.1, amounts=())
    alpha = 0.05 * 0.2
    for number, share in ((1, alpha / 2), (2, alpha / 6), (3, alpha / 12)):
        for p_value, ships in ((share * 0.999, True), (share * 1.001, False)):
            epochs = 0.1 * number

            def look(recipe, epochs=epochs, p_value=p_value):
                here = retrained_epochs(recipe) == pytest.approx(epochs)
                return replace(GOOD, p_value=p_value) if here else BAD

            answers = driven(policy, look)
            assert (sum(retrainings(answers)) == pytest.approx(epochs)) is ships


@pytest.mark.parametrize(("epochs", "place"), [(0.1, 1), (0.2, 2), (0.4, 3), (0.6, 4), (0.8, 5)])
def test_a_learnt_amount_may_spend_by_its_place_whichever_were_passed_over(epochs, place):
    policy = Cascade(looks=Looks(shares=(1.0,)), amounts=AMOUNTS, increment=0.2)
    bar = 0.05 * 0.2 / (place * (place + 1))
    for p_value, ships in ((bar * 0.999, True), (bar * 1.001, False)):

        def look(recipe, p_value=p_value):
            here = retrained_epochs(recipe)
            margin = -0.039 if epochs == 0.4 else -0.001
            near = replace(BAD, margin=margin, samples=10**6)  # more than what was foreseen
            return replace(GOOD, p_value=p_value) if here == pytest.approx(epochs) else near

        answers = driven(policy, look, damage=0.45, table=learnt())
        amounts = [retrained_epochs(network) for network in networks(answers)]
        assert max(amounts) >= epochs - 1e-9
        assert (amounts[-1] == pytest.approx(epochs)) is ships


def test_a_rung_is_looked_at_as_the_next_one_that_is_promising_asks_for():
    """From pruning straight to sequential compensation, which is dear."""
    shares = (0.5, 1.0)
    table = learnt()
    bad = Rung(accuracy=0.5, p_value=1.0)
    passed_over = replace(
        table,
        trajectories=tuple(
            replace(t, rungs=(t.rungs[0], bad, bad, t.rungs[3])) for t in table.trajectories
        ),
    )
    policy = Cascade(amounts=AMOUNTS, looks=Looks(shares=shares, hopeless=0.02))
    wanted = norm.isf(levels(0.05 * 0.2 / 3, shares)[-1])
    p_value = norm.sf(math.sqrt(0.5) * (wanted + norm.ppf(0.2)))
    answers = driven(
        policy, lambda _: replace(BAD, p_value=p_value), damage=0.05, table=passed_over
    )
    assert [type(a) for a in answers[:4]] == [Prune, Assess, Measure, Measure]


def test_none_is_given_up_early_where_hopeless_is_nothing():
    policy = Cascade(looks=Looks(shares=(0.5, 1.0), hopeless=0.0))
    answers = driven(policy, lambda _: replace(BAD, p_value=0.999), damage=0.05)
    assert answers[:3] == [Prune(), Measure(share=0.5), Measure(share=1.0)]


@pytest.mark.parametrize("amounts", [(), AMOUNTS])
def test_over_all_networks_no_more_than_all_error_probability_is_spent(amounts):
    """Every look of every network says that the constraint is just missed: few chips may pass."""
    generator = np.random.default_rng(0)
    policy, passed, chips = Cascade(most=0.2, amounts=amounts, confidence=0.8), 0, 600
    table = learnt() if amounts else None
    for _ in range(chips):
        images = {}

        def look(recipe, images=images):
            drawn = images.setdefault(recipe, {"p": generator.normal(size=20).cumsum()})
            count = drawn["looks"] = drawn.get("looks", 0) + 1
            share = policy.looks.shares[count - 1]
            z = drawn["p"][round(20 * share) - 1] / math.sqrt(round(20 * share))
            return Measured(0.9, 0.0, float(norm.sf(z)), round(5000 * share), 0.003)

        damage = generator.uniform(0, 0.6)
        passed += isinstance(driven(policy, look, damage=damage, table=table)[-1], Ship)
    assert passed / chips < 0.2 + 3 * math.sqrt(0.2 * 0.8 / chips)
    assert passed / chips > 0.04


def test_its_analysis_looks_at_its_rungs_and_trains_from_the_last():
    usual = Analysis(rates=(0.2,), repeats=2)
    made = LEARNING.analysis(usual, Drop(0.01))
    assert (made.rates, made.repeats, made.until) == ((0.2,), 2, Drop(0.01))
    assert (made.rungs, made.start, made.amounts) == (RUNGS, RUNGS[-1], AMOUNTS)
    assert made.retrain == LEARNING.retrain
    assert Cascade(amounts=()).analysis(usual, Drop(0.01)) is None
    coded = LEARNING.analysis(replace(usual, bit_rates=(0.04,)), Drop(0.01))
    assert (coded.rungs, coded.start) == (CODED_RUNGS, CODED_RUNGS[-1])
    assert LEARNING.analysis(replace(usual, in_codes=True), Drop(0.01)).rungs == CODED_RUNGS


def with_stuck_bits(chip):
    one, two = np.array([1], np.uint8), np.array([2], np.uint8)
    stuck = StuckBits(words=100, at=np.array([3]), ones=one, zeros=two)
    faults = FaultMap(rows=2, cols=2, faulty_pes=np.zeros((2, 2), bool), stuck=stuck)
    return Die(Chip(id=chip, faults=faults), 0.0, 0.0025)


def test_all_chips_of_a_lot_ship_codes_if_one_has_stuck_bits():
    sound = die("sound", 0.0)
    for dies, in_codes in (([sound], False), ([sound, with_stuck_bits("a")], True)):
        groups = Cascade().plan(dies, CONSTRAINT, None)
        assert [group.in_codes for group in groups] == [in_codes] * len(dies)
    for group in groups:
        seen = [Observation(Prune())]
        assert Cascade().next(group, CONSTRAINT, seen, None) == CODED_RUNGS[0][-1]
        own = Cascade(rungs=RUNGS)
        assert not isinstance(own.next(group, CONSTRAINT, seen, None), Quantize)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rungs": ((Compensate(),),)}, "rung 1 does not begin with pruning"),
        ({"rungs": ((Prune(), Retrain()),)}, "rung 1 trains already"),
        ({"rungs": (RUNGS[2], RUNGS[1])}, "rung 2 cannot be come to"),
        ({"rungs": (RUNGS[1], (Prune(), Recalibrate()))}, "rung 2 cannot be come to"),
        ({"rungs": (RUNGS[1], RUNGS[1])}, "rung 2 cannot be come to"),
        ({"confidence": 1.0}, "a confidence of 1.0"),
        ({"coverage": 0.0, "amounts": AMOUNTS}, "cascade: a coverage of 0.0"),
        ({"coverage": 0.9}, "shipped without a look, and nothing says"),
        ({"coverage": 0.9, "fuse": True, "amounts": AMOUNTS}, "says nothing of fused ones"),
        ({"increment": 0.0}, "increments of 0.0"),
        ({"most": math.inf}, "up to inf"),
    ],
)
def test_impossible_settings_are_refused(wrong, said):
    with pytest.raises(PlanError, match=said):
        Cascade(**wrong)


def test_a_rung_of_the_user_s_own_is_climbed_like_any_other():
    own = ((Prune(),), (Prune(), Compensate(form=Sequential(samples=64))))
    answers = driven(Cascade(rungs=own), lambda recipe: GOOD if len(recipe) == 2 else BAD)
    assert networks(answers) == list(map(merged, own))


def test_a_rung_of_several_steps_is_climbed_step_by_step():
    corrected = Recalibrate(form=Reestimate())
    own = ((Prune(),), (Prune(), Compensate(form=OneShot()), corrected))
    answers = driven(Cascade(rungs=own), lambda recipe: GOOD if len(recipe) == 3 else BAD)
    assert networks(answers) == list(map(merged, own))
    assert [a for a in answers if isinstance(a, Compensate | Recalibrate)] == list(own[1][1:])


@pytest.mark.parametrize("policy", [Cascade(), LEARNING, UntilMet(), UntilMet(start=RUNGS[2])])
def test_a_chip_that_loses_no_weight_ships_as_it_is_and_one_that_loses_all_is_scrapped(policy):
    sound, lost = (Group(chips=("a",), effective_rate=rate) for rate in (0.0, 1.0))
    table, seen = learnt(), (Observation(Prune()),)
    assert policy.next(sound, CONSTRAINT, (), table) == Prune()
    assert isinstance(policy.next(sound, CONSTRAINT, seen, table), Ship)
    assert isinstance(policy.next(lost, CONSTRAINT, seen, table), Scrap)
    assert not isinstance(policy.next(sound, Accuracy(0.9), seen, table), Ship | Scrap)
    assert policy.plan([die("a", 0.25)], CONSTRAINT, table)[0].effective_rate == 0.25


CODES = (Prune(), Quantize(form=FAQ()))


@pytest.mark.parametrize("policy", [Cascade(rungs=(CODES,)), UntilMet(start=CODES)])
def test_codes_are_looked_at_though_no_weight_is_on_a_faulty_pe(policy):
    sound = Group(chips=("a",), effective_rate=0.0)
    seen = [Observation(step) for step in ready_to_ship(CODES, UntilMet().retrain.recalibrate)]
    assert policy.next(sound, CONSTRAINT, seen[:1], None) == CODES[1]
    assert not isinstance(policy.next(sound, CONSTRAINT, seen, None), Ship)


def test_patience_is_the_cascade_s_own_unless_it_is_given():
    """Hopeful by 3 % on the last rung: the cascade looks on, and one that is told 0.1 does not."""
    looks = Looks().shares
    bar = -norm.ppf(levels(0.6 * 0.05, looks)[-1])
    hopeful = math.sqrt(0.4) * (bar + norm.ppf(0.03) * math.sqrt(0.6 / 0.4))
    seen = [*map(Observation, RUNGS[-1])]
    for share in looks[:4]:
        p_value = float(norm.sf(hopeful))
        seen.append(Observation(Measure(share=share), Measured(0.9, 0.0, p_value, 2000, 0.003)))
    given = replace(Cascade(), looks=Looks(hopeless=0.1))
    assert Cascade().next(GROUP, CONSTRAINT, tuple(seen), None) == Measure(share=looks[4])
    assert isinstance(given.next(GROUP, CONSTRAINT, tuple(seen), None), Retrain)
    same = replace(Cascade(), looks=Looks(shares=looks))
    assert same.next(GROUP, CONSTRAINT, tuple(seen), None) == Measure(share=looks[4])


# fusing


FUSING = Cascade(amounts=AMOUNTS, fuse=True)


class TestCascadeThatFuses(PolicyContract):
    @pytest.fixture
    def policy(self):
        return FUSING


def priced(*points):
    """A table in which the first rung does, by rate and what it costs."""
    good = learnt().trajectories[0]
    return replace(
        learnt(),
        trajectories=tuple(
            replace(
                good,
                rate=rate,
                effective_rate=rate,
                rungs=tuple(replace(rung, p_value=0.0, ee=ee) for rung in good.rungs),
            )
            for rate, ee in points
        ),
    )


def with_line(name, *rows):
    faulty = np.zeros((4, 4), bool)
    faulty[list(rows)] = True
    return replace(die(name, 0.0), chip=Chip(name, FaultMap(rows=4, cols=4, faulty_pes=faulty)))


def test_chips_share_a_repair_that_costs_less_than_two():
    dies = [replace(with_line(n, *rows), effective_rate=len(rows) / 4) for n, rows in LINES.items()]
    cheap = FUSING.plan(dies, CONSTRAINT, priced((0.25, 0.1), (0.5, 0.25), (0.75, 0.5)))
    assert [(group.chips, group.effective_rate) for group in cheap] == [
        (("a", "b"), 0.25),
        (("c",), 0.25),
        (("d",), 0.5),
    ]
    dear = FUSING.plan(dies, CONSTRAINT, priced((0.25, 0.1), (0.5, 0.1), (0.75, 0.5)))
    assert {group.chips for group in dear} == {("a", "b", "c"), ("d",)}


LINES = {"a": [0], "b": [0], "c": [1], "d": [2, 3]}


def test_chips_are_not_fused_unless_asked_to():
    dies = [replace(with_line(n, 0), effective_rate=0.25) for n in "ab"]
    assert len(LEARNING.plan(dies, CONSTRAINT, priced((0.25, 0.1)))) == 2
    assert (LEARNING.name, FUSING.name) == ("Cascade", "Cascade, fused")


def test_fusing_needs_an_analysis():
    with pytest.raises(PlanError, match="fused, and nothing says what repair gives"):
        Cascade(fuse=True)
