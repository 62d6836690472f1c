import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import Accuracy, Drop
from chipmend.errors import TableError
from chipmend.records import plain, rebuilt
from chipmend.resilience import UNREACHABLE, ResilienceTable, Trajectory
from chipmend.resilience.table import Point, accuracy_wanted, check_amounts, stuck_bits

AMOUNTS = (0.0, 0.25, 0.5, 1.0)
BAR = Accuracy(0.9)
GOOD, BAD = 0.95, 0.5


def trajectory(rate, accuracies, repeat=0, effective_rate=None):
    return Trajectory(
        rate=rate,
        repeat=repeat,
        effective_rate=rate if effective_rate is None else effective_rate,
        accuracies=tuple(accuracies),
        ee=1.5,
        seconds=2.0,
    )


def reaching(rate, amount, repeat=0, effective_rate=None):
    """A repeat that reaches the bar at ``amount`` and stays there."""
    accuracies = [GOOD if a >= amount else BAD for a in AMOUNTS]
    return trajectory(rate, accuracies, repeat, effective_rate)


def table(*trajectories, amounts=AMOUNTS, clean=0.95):
    return ResilienceTable(amounts=amounts, clean_accuracy=clean, trajectories=trajectories)


# What each rate needs: 10 %: 0, 0.25, 0.25, 0.5; 40 %: 0.5, 0.5, 1, 1; 80 %: 0.5 and three never
TABLE = table(
    *(reaching(0.1, a, r) for r, a in enumerate((0.0, 0.25, 0.25, 0.5))),
    *(reaching(0.4, a, r) for r, a in enumerate((1.0, 0.5, 0.5, 1.0))),
    *(reaching(0.8, a, r) for r, a in enumerate((9.0, 0.5, 9.0, 9.0))),
)


@pytest.mark.parametrize(
    ("statistic", "quantile", "needed"),
    [
        ("min", 1.0, [0.0, 0.5, 0.5]),
        ("mean", 1.0, [0.25, 0.75, math.inf]),
        ("max", 1.0, [0.5, 1.0, math.inf]),
        ("quantile", 0.25, [0.0, 0.5, 0.5]),
        ("quantile", 0.26, [0.25, 0.5, math.inf]),
        ("quantile", 0.5, [0.25, 0.5, math.inf]),
        ("quantile", 0.75, [0.25, 1.0, math.inf]),
        ("quantile", 1.0, [0.5, 1.0, math.inf]),
    ],
)
def test_amounts_needed_over_repeats_are_those_worked_out_by_hand(statistic, quantile, needed):
    assert TABLE.needed_at_points(BAR, statistic, quantile) == needed


@pytest.mark.parametrize(
    ("accuracies", "needed"),
    [
        ((GOOD, GOOD, GOOD, GOOD), 0.0),
        ((BAD, GOOD, GOOD, GOOD), 0.25),
        ((BAD, GOOD, BAD, GOOD), 1.0),  # it dips below the bar and comes back
        ((GOOD, BAD, GOOD, GOOD), 0.5),
        ((GOOD, GOOD, GOOD, BAD), UNREACHABLE),  # it ends below the bar
        ((BAD, BAD, BAD, BAD), UNREACHABLE),
        ((0.9, 0.9, 0.9, 0.9), 0.0),  # the bar itself is enough
        ((0.8999, 0.9, 0.9, 0.9), 0.25),
    ],
)
def test_needed_is_where_the_bar_is_reached_and_stays_reached(accuracies, needed):
    only = trajectory(0.1, accuracies)
    assert table(only).needed(only, BAR) == needed


def test_a_drop_is_counted_from_the_clean_network():
    only = trajectory(0.1, (0.91, 0.93, 0.94, 0.94))
    assert table(only, clean=0.95).needed(only, Drop(0.02)) == 0.25
    assert table(only, clean=0.95).needed(only, Drop(0.01)) == 0.5
    assert table(only, clean=0.95).needed(only, Drop(0.005)) == UNREACHABLE


def test_rounding_of_a_mean_does_not_spoil_a_drop_that_is_met_exactly():
    clean, repaired = 117 / 130, 104 / 130  # 13 of 130 images lost: a drop of just 0.1
    assert repaired >= accuracy_wanted(Drop(0.1), clean)
    assert accuracy_wanted(Drop(0.1), clean) > (104 - 0.001) / 130


@pytest.mark.parametrize(
    ("rate", "epochs"),
    [
        (0.0, 0.0),  # a healthy chip needs nothing
        (0.05, 0.25),  # below the grid: towards nothing at no faults
        (0.1, 0.5),
        (0.25, 0.75),
        (0.4, 1.0),
        (0.4000001, 1.0),  # towards a rate that is not reached: the largest amount
        (0.7999999, 1.0),
        (0.8, math.inf),
        (1.0, math.inf),
    ],
)
def test_a_chip_s_amount_is_interpolated_in_its_effective_rate(rate, epochs):
    assert TABLE.needed_for(rate, BAR, "max") == pytest.approx(epochs)


def test_the_lowest_rate_that_no_amount_was_enough_for_is_known():
    assert TABLE.unreachable_from(BAR, "max") == 0.8
    assert table(reaching(0.1, 0.25)).unreachable_from(BAR, "max") == math.inf


def test_above_the_grid_the_last_slope_goes_on_up_to_the_largest_amount():
    rising = table(reaching(0.1, 0.25), reaching(0.3, 0.5))
    assert rising.needed_for(0.5, BAR) == pytest.approx(0.75)
    assert rising.needed_for(0.9, BAR) == 1.0
    alone = table(reaching(0.2, 0.25))
    assert alone.needed_for(0.4, BAR) == pytest.approx(0.5)


def test_a_higher_rate_never_needs_less_even_where_the_measured_amounts_fall():
    falling = table(reaching(0.1, 0.5), reaching(0.2, 0.25), reaching(0.3, 1.0))
    assert falling.needed_for(0.2, BAR) == 0.5
    assert falling.needed_for(0.15, BAR) == 0.5
    assert falling.needed_for(0.25, BAR) == pytest.approx(0.75)


def test_places_are_effective_rates_and_not_the_rates_that_maps_were_drawn_at():
    shifted = table(
        reaching(0.1, 0.25, 0, effective_rate=0.2), reaching(0.1, 0.25, 1, effective_rate=0.4)
    )
    assert shifted.needed_for(0.3, BAR) == pytest.approx(0.25)
    assert shifted.needed_for(0.15, BAR) == pytest.approx(0.125)


def test_maps_without_effect_or_with_the_same_effect_leave_no_gap_to_divide_by():
    without = table(reaching(0.1, 0.0, effective_rate=0.0))
    assert without.needed_for(0.5, BAR) == 0.0
    same = table(reaching(0.1, 0.25, effective_rate=0.2), reaching(0.2, 0.5, effective_rate=0.2))
    assert same.needed_for(0.2, BAR) == 0.5
    assert same.needed_for(0.1, BAR) == pytest.approx(0.25)
    assert same.needed_for(0.4, BAR) == 1.0


def slow_needed(trajectory, amounts, bar):
    """The definition: the least amount with every accuracy from there on at the bar or above."""
    for start in range(len(amounts)):
        if all(accuracy >= bar for accuracy in trajectory.accuracies[start:]):
            return amounts[start]
    return math.inf


def slow_statistic(values, statistic, quantile):
    if statistic == "mean":
        return sum(values) / len(values)
    wanted = {"min": 1, "max": len(values)}.get(statistic)
    if wanted is None:  # the least count of repeats that makes up the quantile
        wanted = next(n for n in range(1, len(values) + 1) if n >= quantile * len(values))
    left = list(values)
    for _ in range(wanted - 1):
        left.remove(min(left))
    return min(left)


def slow_needed_for(table, rate, bar, statistic, quantile):
    """Point by point: greatest amount at or below, and the line to the next point."""
    if rate == 0:
        return 0.0
    points = {0.0: 0.0}
    for drawn in sorted({t.rate for t in table.trajectories}):
        repeats = [t for t in table.trajectories if t.rate == drawn]
        place = sum(t.effective_rate for t in repeats) / len(repeats)
        needed = [slow_needed(t, table.amounts, bar) for t in repeats]
        points[place] = max(points.get(place, 0.0), slow_statistic(needed, statistic, quantile))
    places = sorted(points)
    heights = [max(points[p] for p in places if p <= place) for place in places]
    if len(places) == 1:
        return heights[0]
    for left, right in itertools.pairwise(range(len(places))):
        if rate <= places[right] or right == len(places) - 1:
            if heights[right] == math.inf:
                between = rate < places[right] and heights[left] != math.inf
                return table.amounts[-1] if between else math.inf
            slope = (heights[right] - heights[left]) / (places[right] - places[left])
            return min(heights[left] + slope * (rate - places[left]), table.amounts[-1])
    raise AssertionError


share = st.integers(0, 20).map(lambda twentieths: twentieths / 20)


@st.composite
def tables(draw):
    rates = draw(st.lists(st.integers(1, 20), min_size=1, max_size=4, unique=True))
    accuracy = st.sampled_from((BAD, GOOD, GOOD, GOOD))
    return table(
        *(
            trajectory(rate / 20, draw(st.tuples(*[accuracy] * 4)), repeat, draw(share))
            for rate in sorted(rates)
            for repeat in range(draw(st.integers(1, 3)))
        )
    )


statistics = st.sampled_from(("min", "mean", "max", "quantile"))
quantiles = st.sampled_from((0.2, 0.5, 0.7, 1.0))


@settings(max_examples=200, deadline=None)
@given(tables(), share, statistics, quantiles)
def test_amounts_equal_the_slow_twin_s(made, rate, statistic, quantile):
    found = made.needed_for(rate, BAR, statistic, quantile)
    assert found == pytest.approx(slow_needed_for(made, rate, 0.9, statistic, quantile))


@settings(max_examples=100, deadline=None)
@given(tables(), statistics, quantiles)
def test_amounts_rise_with_the_rate_and_stay_among_those_analysed(made, statistic, quantile):
    found = [made.needed_for(step / 40, BAR, statistic, quantile) for step in range(41)]
    assert found[0] == 0
    assert all(low <= high + 1e-12 for low, high in itertools.pairwise(found))
    assert all(0 <= amount <= 1 or math.isinf(amount) for amount in found)


def test_a_quantile_is_the_least_count_of_repeats_that_makes_it_up_however_it_is_rounded():
    repeats = [reaching(0.1, amount, n) for n, amount in enumerate([0.25] * 7 + [0.5] * 18)]
    assert table(*repeats).needed_for(0.1, BAR, "quantile", 0.28) == pytest.approx(0.25)
    assert table(*repeats).needed_for(0.1, BAR, "quantile", 0.281) == pytest.approx(0.5)


def test_sums_and_rates_are_those_of_the_trajectories():
    assert TABLE.points == [(0.1, 0), (0.4, 0), (0.8, 0)]
    assert TABLE.ee == 12 * 1.5
    assert TABLE.seconds == 12 * 2.0
    assert [t.repeat for t in TABLE.at(Point(0.4))] == [0, 1, 2, 3]


def test_a_table_is_the_same_after_being_stored():
    assert rebuilt(ResilienceTable, plain(TABLE)) == TABLE


@pytest.mark.parametrize(
    "amounts",
    [(), (0.1, 0.2), (0.0, 0.2, 0.2), (0.0, 0.5, 0.2), (0.0, math.nan, 1.0), (0.0, math.inf)],
)
def test_amounts_that_do_not_ascend_from_zero_are_refused(amounts):
    with pytest.raises(TableError, match="amounts"):
        check_amounts(amounts)


def both(rate, bits, amount):
    """A repeat with both kinds of fault."""
    return replace(reaching(rate, amount), bit_rate=bits, effective_bit_rate=bits)


def test_a_chip_with_both_kinds_of_fault_needs_what_the_worse_of_its_rates_does():
    made = table(both(0.1, 0.01, 0.25), both(0.4, 0.04, 0.5), both(0.8, 0.08, 1.0))
    for pes, bits, epochs in (
        (0.4, 0.0, 0.5),
        (0.0, 0.04, 0.5),
        (0.4, 0.01, 0.5),
        (0.1, 0.06, 0.75),
        (0.6, 0.06, 0.75),
    ):
        found = made.needed_for(pes, BAR, effective_bit_rate=bits)
        assert found == pytest.approx(epochs)
    assert made.needed_for(0.0, BAR) == 0
    assert made.points == [(0.1, 0.01), (0.4, 0.04), (0.8, 0.08)]


def test_stuck_bits_may_be_what_no_amount_is_enough_for():
    made = table(both(0.0, 0.02, 0.25), both(0.0, 0.08, 9.0))
    assert made.unreachable_from(BAR, "max", along=stuck_bits) == 0.08
    assert math.isinf(made.needed_for(0.0, BAR, effective_bit_rate=0.1))


def test_faults_of_a_kind_that_was_not_analysed_are_refused():
    with pytest.raises(TableError, match="stuck bits, and an analysis without any") as caught:
        TABLE.needed_for(0.1, BAR, effective_bit_rate=0.01)
    assert "analysis.bit_rates" in caught.value.hint
    with pytest.raises(TableError, match="faulty PEs, and an analysis without any"):
        table(both(0.0, 0.02, 0.25)).needed_for(0.1, BAR)
