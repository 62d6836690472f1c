import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import Kept, cheapest, chips_needed, keeps, share_interval


def chance_of(counts, chips, share):
    """Probability of these counts, by the definition."""
    return sum(math.comb(chips, k) * share**k * (1 - share) ** (chips - k) for k in counts)


def bisected(too_low):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return low


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 25), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_ends_are_the_shares_at_which_such_a_count_is_just_too_unlikely(chips, data, sure):
    hits, tail = data.draw(st.integers(0, chips)), (1 - sure) / 2
    low, high = share_interval(hits, chips, sure)
    at_least, at_most = range(hits, chips + 1), range(hits + 1)
    if hits:
        expected = bisected(lambda share: chance_of(at_least, chips, share) < tail)
        assert low == pytest.approx(expected, abs=1e-9)
    else:
        assert low == 0.0
    if hits < chips:
        expected = bisected(lambda share: chance_of(at_most, chips, share) > tail)
        assert high == pytest.approx(expected, abs=1e-9)
    else:
        assert high == 1.0


@pytest.mark.parametrize("hits", [0, 1, 137, 200])
def test_it_is_scipy_s_exact_interval(hits):
    expected = scipy.stats.binomtest(hits, 200).proportion_ci(0.95, method="exact")
    assert share_interval(hits, 200) == pytest.approx(tuple(expected))


# promises


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_a_promise_takes_as_many_chips_as_leave_room_for_the_next_one(coverage):
    needed = next(n for n in range(1, 1000) if 1 / (n + 1) <= 1 - coverage + 1e-9)
    assert chips_needed(coverage) == needed
    assert keeps(needed, 0, coverage)
    assert not keeps(needed - 1, 0, coverage)


def thresholds(scores):
    """Settings that let more and more go, the dearest first: all ship, those below are met."""
    settings_ = np.sort(scores)[::-1]
    return np.ones((len(scores),) * 2, bool), settings_[:, None] >= scores


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 2**32 - 1))
def test_a_threshold_is_the_order_statistic_of_conformal_prediction(chips, coverage, seed):
    scores = np.random.default_rng(seed).permutation(chips)
    found = cheapest(*thresholds(scores), coverage)
    rank = math.ceil((chips + 1) * coverage - 1e-9)
    if rank > chips:
        assert found is None
    else:
        assert np.sort(scores)[::-1][found.setting] == rank - 1


def test_the_next_chip_keeps_the_promise_as_often_as_is_said():
    """Exactly: of all places that the next of 20 scores may take, 18 of 20 are within."""
    scores, kept = np.arange(20), 0
    for out in range(20):
        others = np.delete(scores, out)
        kept += np.sort(others)[::-1][cheapest(*thresholds(others), 0.9).setting] >= scores[out]
    assert kept == 18


def test_a_cheap_setting_behind_one_that_breaks_the_promise_is_not_trusted():
    shipped = np.ones((3, 20), bool)
    met = np.ones((3, 20), bool)
    met[1, :5] = False
    assert cheapest(shipped, met, 0.9) == Kept(0, 20, 0)
    assert cheapest(shipped[1:], met[1:], 0.9) is None


def test_settings_at_which_too_few_chips_ship_say_nothing():
    shipped = np.ones((2, 20), bool)
    shipped[0, 8:] = False
    assert cheapest(shipped, np.ones((2, 20), bool), 0.9) == Kept(1, 20, 0)
    assert cheapest(shipped[:1], np.ones((1, 20), bool), 0.9) is None
