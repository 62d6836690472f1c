import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.confidence import alpha_of_look
from chipmend.confidence.intervals import (
    STAKES,
    at_least,
    at_most,
    bounded_p_value,
    paired_p_value,
    worth_of_a_hit,
)


def test_capital_is_what_bets_at_fixed_stakes_have_grown_to_one_after_the_other():
    margins, least = [0.02, -0.5, 0.3, 0.02], -0.8
    capitals = []
    for stake in STAKES:
        capital = 1.0
        for margin in margins:
            capital *= 1 + stake / 0.8 * margin
        capitals.append(capital)
    expected = min(1.0, len(capitals) / sum(capitals))
    assert bounded_p_value(np.array(margins), least) == pytest.approx(expected)


@pytest.mark.parametrize("images", [250, 1000, 5000])
@pytest.mark.parametrize("step", [0.25, 1.0])
def test_margins_whose_mean_is_zero_pass_no_more_often_than_alpha_at_any_of_the_looks(images, step):
    """Few samples that lose ``step`` each, of an allowed 0.02 on average: what fools a mean."""
    rng, drop, chips = np.random.default_rng(0), 0.02, 500
    passed = {0.05: 0, 0.003: 0}
    for _ in range(chips):
        margins = drop - step * (rng.random(images) < drop / step)
        found = [bounded_p_value(margins[: images * k // 4], drop - step) for k in (1, 2, 4)]
        for alpha in passed:
            passed[alpha] += min(found) <= alpha
    for alpha, count in passed.items():
        assert count <= scipy.stats.binom.ppf(0.999, chips, alpha)


@pytest.mark.parametrize(("drop", "passes"), [(0.02, True), (0.008, False)])
def test_a_loss_of_1_2_points_is_told_from_a_larger_and_a_smaller_one(drop, passes):
    losses = np.random.default_rng(0).choice([0.0, 0.3], p=[0.96, 0.04], size=5000)
    assert (bounded_p_value(drop - losses, drop - 1) < 0.01) == passes


def test_margins_that_cannot_be_negative_are_sure_and_nothing_gained_proves_nothing():
    assert bounded_p_value(np.full(9, 0.1), 0.0) == 0.0
    assert bounded_p_value(np.zeros(9), -0.3) == 1.0
    assert 0.0 <= bounded_p_value(np.full(10**6, 0.1), -0.3) < 1e-200


@given(st.integers(0, 12), st.integers(0, 10))
@settings(deadline=None, max_examples=60)
def test_binomial_tails_are_the_sums_of_the_definition(hits, tenths):
    share, samples = Fraction(tenths, 10), 12
    weight = [
        math.comb(samples, k) * share**k * (1 - share) ** (samples - k) for k in range(samples + 1)
    ]
    assert at_least(hits, samples, float(share)) == pytest.approx(float(sum(weight[hits:])))
    assert at_most(hits, samples, float(share)) == pytest.approx(float(sum(weight[: hits + 1])))


def test_a_hit_is_worth_what_all_but_misses_score():
    assert worth_of_a_hit(np.array([0.0, 1.0, 1.0])) == 1.0
    assert worth_of_a_hit(np.array([0.0, 100.0]), np.array([100.0])) == 100.0
    assert worth_of_a_hit(np.array([0.5, 0.5])) == 0.5
    assert worth_of_a_hit(np.zeros(3)) == 1.0
    assert worth_of_a_hit(np.array([0.0, 0.5, 1.0])) is None
    assert worth_of_a_hit(np.array([0.5, 1.0])) is None
    assert worth_of_a_hit(np.array([-1.0, 0.0])) is None


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
