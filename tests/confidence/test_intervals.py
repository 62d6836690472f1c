import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import alpha_of_look, normal_p_value
from chipmend.confidence.intervals import are_hits, at_least, at_most, paired_p_value


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


@pytest.mark.parametrize(
    ("lost", "gained", "samples", "drop"),
    [(1, 1, 300, 0.02), (40, 9, 1000, 0.018), (3, 20, 128, 0.1), (250, 120, 5000, 0.018)],
)
def test_the_paired_variance_is_that_of_the_likeliest_shares_with_such_a_drop(
    lost, gained, samples, drop
):
    """Found by searching the likelihood of the three counts, not by a formula."""

    def unlikeliness(share_gained):
        shares = (share_gained + drop, share_gained, 1 - 2 * share_gained - drop)
        counts = (lost, gained, samples - lost - gained)
        return -sum(n * math.log(p) for n, p in zip(counts, shares, strict=True))

    best = scipy.optimize.minimize_scalar(
        unlikeliness, bounds=(1e-9, (1 - drop) / 2 - 1e-9), options={"xatol": 1e-13}
    )
    variance = samples * (2 * best.x + drop - drop**2)
    expected = scipy.stats.norm.cdf((lost - gained - samples * drop) / math.sqrt(variance))
    assert paired_p_value(lost, gained, samples, drop) == pytest.approx(expected, rel=1e-4)


def test_without_a_drop_allowed_it_is_mcnemar_s_test():
    chi_squared = (5 - 17) ** 2 / (5 + 17)
    assert paired_p_value(5, 17, 100, 0.0) == pytest.approx(scipy.stats.chi2.sf(chi_squared, 1) / 2)


@pytest.mark.parametrize("samples", [128, 300, 1000, 5000])
@pytest.mark.parametrize("drop", [0.01, 0.018, 0.1])
@pytest.mark.parametrize("share_gained", [0.0, 0.0005, 0.003, 0.01, 0.05])
def test_a_drop_just_too_large_passes_each_look_no_more_often_than_its_alpha(
    samples, drop, share_gained
):
    """Every outcome counted with its probability, for forty looks; nothing is drawn."""
    binomial, share_lost = scipy.stats.binom, share_gained + drop
    passed = np.zeros(40)
    alphas = np.array([alpha_of_look(0.05, look) for look in range(1, 41)])
    for gained in range(int(binomial.isf(1e-9, samples, share_gained)) + 1):
        lost = np.arange(int(samples * drop) + gained + 1)
        chance = binomial.pmf(gained, samples, share_gained) * binomial.pmf(
            lost, samples - gained, share_lost / (1 - share_gained)
        )
        found = np.array([paired_p_value(int(n), gained, samples, drop) for n in lost])
        passed += (chance[:, None] * (found[:, None] <= alphas)).sum(0)
    assert (passed <= alphas * 1.001).all()
    assert passed.sum() > 0 or samples * drop <= 3, "a rule that never says yes is none"
