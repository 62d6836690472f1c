import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import Accuracy
from chipmend.resilience import Ladder, ResilienceTable, Rung, Trajectory

CLEAN = 0.9
AMOUNTS = (0.0, 0.1, 0.2, 0.4)


def repeat(*, damage=None, rungs=(), accuracies=(0.8,)):
    """A repeat of which nothing counts but what a ladder goes by."""
    return Trajectory(
        rate=0.1,
        repeat=0,
        effective_rate=0.1,
        accuracies=tuple(accuracies),
        ee=1.0,
        seconds=1.0,
        damage=damage,
        rungs=tuple(Rung(accuracy=a, p_value=p) for a, p in rungs),
    )


def ladder(*repeats, clean=CLEAN):
    return Ladder(
        ResilienceTable(amounts=AMOUNTS, clean_accuracy=clean, trajectories=tuple(repeats))
    )


def seen_at(*points, clean=CLEAN):
    """A ladder of one rung, by damage and accuracy."""
    return ladder(*(repeat(damage=d, rungs=[(a, 1.0)]) for d, a in points), clean=clean)


# what a rung leads to


@pytest.mark.parametrize(
    ("damage", "accuracy"),
    [
        (0.0, 0.9),  # no damage leaves the clean network
        (0.5, 0.87),
        (1.0, 0.84),
        (1.75, 0.77),  # 0.68 and 0.72 rise, so they are one step of 0.70, its middle at 2.5
        (2.5, 0.7),
        (3.25, 0.6),
        (4.0, 0.5),
        (5.5, 0.3),  # beyond what was seen it falls on as it did last
        (9.0, 0.0),
    ],
)
def test_expected_accuracies_are_those_worked_out_by_hand(damage, accuracy):
    found = seen_at((2.0, 0.68), (4.0, 0.5), (1.0, 0.84), (3.0, 0.72))
    assert found.expected_accuracy(0, damage) == pytest.approx(accuracy)


def test_each_rung_has_accuracies_of_its_own():
    found = ladder(repeat(damage=1.0, rungs=[(0.5, 1.0), (0.8, 1.0)]))
    assert found.expected_accuracy(0, 1.0) == pytest.approx(0.5)
    assert found.expected_accuracy(1, 1.0) == pytest.approx(0.8)


def test_repeats_that_were_not_assessed_tell_nothing():
    found = ladder(repeat(damage=1.0, rungs=[(0.5, 0.0)]), repeat(accuracies=(0.1, 0.2)))
    assert found.expected_accuracy(0, 1.0) == pytest.approx(0.5)


def pooled(values):
    """The nearest falling values: pool adjacent values that rise, one pair after the other."""
    pools = [[value] for value in values]
    while True:
        means = [sum(pool) / len(pool) for pool in pools]
        rising = [i for i, (a, b) in enumerate(itertools.pairwise(means)) if a < b]
        if not rising:
            return [mean for mean, pool in zip(means, pools, strict=True) for _ in pool]
        pools[rising[0] : rising[0] + 2] = [pools[rising[0]] + pools[rising[0] + 1]]


points = st.dictionaries(st.integers(1, 30), st.integers(0, 90), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(points)
def test_expected_accuracies_are_the_nearest_falling_ones_in_the_middle_of_their_steps(points):
    found = seen_at(*((place / 10, value / 100) for place, value in points.items()))
    places = sorted(points)
    fitted = pooled([CLEAN, *(points[place] / 100 for place in places)])
    steps = [
        (value, np.mean([place / 10 for place, _ in group]))
        for value, group in itertools.groupby(
            zip([0, *places], fitted, strict=True), lambda p: p[1]
        )
    ]
    for value, middle in steps:
        assert found.expected_accuracy(0, middle) == pytest.approx(value)
    line = [found.expected_accuracy(0, step / 20) for step in range(70)]
    assert all(right <= left + 1e-12 for left, right in itertools.pairwise(line))


def test_chips_of_different_damage_are_told_apart():
    found = seen_at((1.0, 0.8), (2.0, 0.8), (3.0, 0.8), (4.0, 0.7))
    expected = [found.expected_accuracy(0, damage) for damage in (0.5, 1.0, 1.5, 2.5, 3.0, 3.5, 6)]
    assert all(right < left for left, right in itertools.pairwise(expected))


def test_repeats_of_the_same_damage_count_together():
    found = seen_at((1.0, 0.8), (1.0, 0.7), (0.0, 0.8))
    assert found.expected_accuracy(0, 0.0) == pytest.approx(0.85)
    assert found.expected_accuracy(0, 1.0) == pytest.approx(0.75)
    assert found.expected_accuracy(0, 2.0) == pytest.approx(0.65)


# what retraining gives back

RETRAINED = (
    repeat(accuracies=(0.8, 0.85, 0.88, 0.88)),  # of 0.1: 0.5, 0.8, 0.8
    repeat(accuracies=(0.7, 0.74, 0.84)),  # of 0.2: 0.2, 0.7, and it ended there
    repeat(accuracies=(0.4, 0.6, 0.65, 0.85)),  # of 0.5: 0.4, 0.5, 0.9
    repeat(accuracies=(0.9, 0.9, 0.95, 0.95)),  # lacks nothing
    repeat(accuracies=(0.85,)),  # was not retrained
)


def test_recovery_is_the_median_share_of_what_repeats_lacked():
    amounts, shares = ladder(*RETRAINED).recovery()
    assert amounts == [0.0, 0.1, 0.2, 0.4]
    assert shares == pytest.approx([0.0, 0.4, 0.7, 0.8])


@pytest.mark.parametrize(
    ("epochs", "share"),
    [(0.0, 0.0), (0.05, 0.2), (0.1, 0.4), (0.15, 0.55), (0.3, 0.75), (0.4, 0.8), (3.0, 0.8)],
)
def test_between_amounts_recovery_is_interpolated_and_beyond_them_it_stays(epochs, share):
    assert ladder(*RETRAINED).recovered(epochs) == pytest.approx(share)


def test_more_retraining_never_gives_back_less():
    falling = ladder(repeat(accuracies=(0.8, 0.86, 0.82, 0.84)))
    assert falling.recovery()[1] == pytest.approx([0.0, 0.6, 0.6, 0.6])


def test_amounts_that_no_repeat_got_to_are_not_known():
    short = ladder(repeat(accuracies=(0.8, 0.85)), repeat(accuracies=(0.7, 0.8)))
    assert short.recovery()[0] == [0.0, 0.1]
    assert (short.next_amount(0.0), short.next_amount(0.1)) == (0.1, None)


@pytest.mark.parametrize(
    ("epochs", "following"),
    [(0.0, 0.1), (0.05, 0.1), (0.1, 0.2), (0.1 - 1e-12, 0.2), (0.3, 0.4), (0.4, None), (2.0, None)],
)
def test_the_next_amount_is_the_least_one_that_was_tried_beyond(epochs, following):
    assert ladder(*RETRAINED).next_amount(epochs) == following


def test_where_nothing_was_retrained_nothing_is_known_of_it():
    idle = ladder(repeat(accuracies=(0.8,)))
    assert idle.recovery() == ([0.0], [0.0])
    assert idle.recovered(1.0) == 0.0
    assert idle.next_amount(0.0) is None
    assert ladder(repeat(accuracies=(0.9, 0.95))).recovered(1.0) == 0.0


# what chips cost


def climbed(rate, number, p_values, accuracies):
    """A repeat whose rungs cost 0.01, 0.02 and 0.04 each, by what their looks said."""
    ee = (0.01, 0.03, 0.07)
    return Trajectory(
        rate=rate,
        repeat=number,
        effective_rate=rate,
        accuracies=accuracies,
        ee=1.0,
        seconds=1.0,
        damage=rate,
        rungs=tuple(
            Rung(accuracy=0.5, p_value=p, ee=spent) for p, spent in zip(p_values, ee, strict=True)
        ),
    )


COSTS = ladder(
    climbed(0.1, 0, (0.0, 0.0, 0.0), (0.9,)),
    climbed(0.1, 1, (0.5, 0.0, 0.0), (0.9,)),
    climbed(0.3, 0, (1.0, 1.0, 0.02), (0.9,)),
    climbed(0.3, 1, (1.0, 1.0, 0.03), (0.8, 0.84, 0.9)),
    climbed(0.5, 0, (1.0, 1.0, 1.0), (0.1, 0.2, 0.3, 0.4)),
    climbed(0.5, 1, (0.0, 0.0, 0.0), (0.9,)),
)


@pytest.mark.parametrize(
    ("rate", "ee"),
    [
        (0.0, 0.0),
        (0.05, 0.0075),
        (0.1, 0.015),  # the first rung alone, and the second alone
        (0.2, 0.0775),
        (0.3, 0.14),  # the last rung alone; the last rung and 0.2 epochs
        (0.31, np.inf),  # at 50 % one of the two came to nothing
        (1.0, np.inf),
    ],
)
def test_a_chip_costs_the_rung_that_does_and_what_retraining_is_left(rate, ee):
    found = COSTS.expected_ee(np.array([[rate, 0.0]]), Accuracy(0.85))
    assert found.shape == (1, 2)
    assert found[0].tolist() == [pytest.approx(ee), 0.0]


def test_where_no_rate_was_reached_every_chip_costs_too_much():
    lost = ladder(climbed(0.0, 0, (1.0, 1.0, 1.0), (0.1, 0.2, 0.3, 0.4)))
    assert np.isinf(lost.expected_ee(np.array([0.0, 0.5]), Accuracy(0.85))).all()
