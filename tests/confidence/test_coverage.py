import math

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import share_interval


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
