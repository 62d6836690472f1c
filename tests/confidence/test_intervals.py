import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import normal_p_value
from chipmend.confidence.intervals import are_hits, at_least, at_most


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 6)), min_size=2, max_size=60))
def test_the_normal_p_value_is_scipy_s(margins):
    margins = np.array(margins)
    error = scipy.stats.sem(margins)  # standard deviation with n - 1, over sqrt(n)
    if error == 0 or np.std(margins, ddof=1) == 0:
        return
    expected = scipy.stats.norm.sf(margins.mean() / error)
    assert normal_p_value(margins) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_a_single_sample_proves_nothing():
    assert normal_p_value(np.ones(1)) == 1.0


def test_equal_margins_are_sure_one_way_or_the_other():
    assert normal_p_value(np.full(9, 0.1)) == 0.0
    assert normal_p_value(np.zeros(9)) == 1.0
    assert normal_p_value(np.full(9, -0.1)) == 1.0


@given(st.integers(0, 12), st.integers(0, 10))
@settings(deadline=None, max_examples=60)
def test_binomial_tails_are_the_sums_of_the_definition(hits, tenths):
    share, samples = Fraction(tenths, 10), 12
    weight = [
        math.comb(samples, k) * share**k * (1 - share) ** (samples - k) for k in range(samples + 1)
    ]
    assert at_least(hits, samples, float(share)) == pytest.approx(float(sum(weight[hits:])))
    assert at_most(hits, samples, float(share)) == pytest.approx(float(sum(weight[: hits + 1])))


def test_only_zeros_and_ones_are_hits():
    assert are_hits(np.array([0.0, 1.0, 1.0]))
    assert not are_hits(np.array([0.0, 0.5]))
