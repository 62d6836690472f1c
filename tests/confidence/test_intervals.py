import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import Accuracy, Drop, Measured, lower_bound


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.floats(-1, 1).map(lambda x: round(x, 6)), min_size=2, max_size=60),
    st.floats(1e-6, 0.5),
)
def test_the_bound_is_scipy_s_normal_interval_of_the_mean(margins, alpha):
    margins = np.array(margins)
    error = scipy.stats.sem(margins)  # standard deviation with n - 1, over sqrt(n)
    expected = margins.mean() + scipy.stats.norm.ppf(alpha) * error
    found = lower_bound(Measured.of(margins, margins), alpha)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_look_sums_up_scores_and_margins():
    scores, clean = np.array([1.0, 0.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0])
    measured = Measured.of(scores, Drop(0.1).margins(scores, clean))
    # margins 0.1, -0.9, 0.1, 1.1: mean 0.1, squares around it 0, 1, 0, 1
    assert measured.accuracy == 0.75
    assert measured.margin == pytest.approx(0.1)
    assert measured.deviation == pytest.approx(math.sqrt(2 / 3))
    assert measured.samples == 4


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
def test_a_single_sample_proves_nothing(alpha):
    one = Measured.of(np.ones(1), np.ones(1))
    assert lower_bound(one, alpha) == -math.inf


def test_the_bound_rises_with_more_samples_and_with_less_confidence():
    bounds = [lower_bound(Measured(0.9, 0.01, 0.3, n), 0.05) for n in (10, 100, 1000, 10**6)]
    assert bounds == sorted(bounds)
    assert bounds[-1] < 0.01
    bounds = [lower_bound(Measured(0.9, 0.01, 0.3, 100), alpha) for alpha in (1e-9, 0.01, 0.4)]
    assert bounds == sorted(bounds)
    assert lower_bound(Measured(0.9, 0.01, 0.3, 100), 0.5) == pytest.approx(0.01)


@pytest.mark.parametrize("alpha", [0.2, 0.05])
def test_the_bound_is_above_the_truth_no_more_often_than_said(alpha):
    rng = np.random.default_rng(0)
    chips, images, accuracy = 3000, 1000, 0.9
    wrong = 0
    for _ in range(chips):
        scores = (rng.random(images) < accuracy).astype(float)
        margins = Accuracy(0.9).margins(scores, scores)  # the true mean margin is zero
        wrong += lower_bound(Measured.of(scores, margins), alpha) > 0
    at_most = scipy.stats.binom.ppf(0.999, chips, alpha * 1.05)  # 5 %: the normal approximation
    at_least = scipy.stats.binom.ppf(0.001, chips, alpha * 0.8)
    assert at_least <= wrong <= at_most
