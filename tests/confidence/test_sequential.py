import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from chipmend.confidence.constraint import Drop
from chipmend.confidence.sequential import alpha_of_look, levels, outlook
from chipmend.errors import PlanError

SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


@given(st.floats(0.001, 0.5), st.integers(1, 200))
def test_any_number_of_looks_spends_no_more_than_all_there_is(alpha, looks):
    spent = sum(alpha_of_look(alpha, look) for look in range(1, looks + 1))
    assert spent == pytest.approx(alpha * looks / (looks + 1))
    assert spent < alpha


def test_levels_are_the_published_ones_of_five_equal_looks():
    """Pocock-type spending, one-sided 0.025: the bounds that every textbook's software gives."""
    found = norm.isf(levels(0.025, (0.2, 0.4, 0.6, 0.8, 1.0)))
    assert found == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=1e-3)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("shares", [(0.5, 1.0), (0.1, 0.3, 1.0), SHARES[2:]])
def test_levels_spend_just_what_they_may_by_the_joint_normal_law(alpha, shares):
    bounds = norm.isf(levels(alpha, shares))
    apart = np.sqrt(np.minimum.outer(shares, shares) / np.maximum.outer(shares, shares))
    below = multivariate_normal(cov=apart, abseps=1e-7, releps=1e-7, maxpts=10**7, seed=0)
    assert 1 - below.cdf(bounds) == pytest.approx(alpha, abs=3e-5)


@pytest.mark.parametrize("gained", [0.0, 0.01, 0.03])
def test_a_chip_just_below_the_bar_seldom_passes_a_sequence_of_looks(gained):
    """Paired hits, five thousand images: the share of wrong yeses over all looks, simulated."""
    drop, alpha, images, chips = 0.018, 0.05, 5000, 4000
    generator = np.random.default_rng(7)
    scores = generator.choice(
        [-1, 0, 1], (chips, images), p=[drop + gained, 1 - drop - 2 * gained, gained]
    )
    bars, passed = levels(alpha, SHARES), np.zeros(chips, bool)
    for share, bar in zip(SHARES, bars, strict=True):
        seen = scores[:, : int(share * images)]
        pairs = np.stack([(seen < 0).sum(1), (seen > 0).sum(1)])
        for lost, won in np.unique(pairs, axis=1).T:
            clean = np.repeat([1.0, 0.0, 1.0], [lost, won, seen.shape[1] - lost - won])
            net = np.repeat([0.0, 1.0, 1.0], [lost, won, seen.shape[1] - lost - won])
            if Drop(drop).p_value(net, clean) <= bar:
                passed |= (pairs == [[lost], [won]]).all(0)
    error = 3 * np.sqrt(alpha * (1 - alpha) / chips)
    assert 0.2 * alpha < passed.mean() < alpha + error


def test_the_outlook_is_how_often_the_last_look_says_yes():
    """A flat prior over the true margin, and the rest of the images drawn from it."""
    generator = np.random.default_rng(0)
    share, level, p_value = 0.3, 0.02, 0.1
    seen = norm.isf(p_value) * np.sqrt(share)
    drift = seen / share + generator.normal(size=400_000) / np.sqrt(share)
    last = seen + drift * (1 - share) + generator.normal(size=400_000) * np.sqrt(1 - share)
    assert outlook(p_value, share, level) == pytest.approx(
        (last > norm.isf(level)).mean(), abs=3e-3
    )


@pytest.mark.parametrize(("p_value", "expected"), [(0.0, 1), (1.0, 0)])
def test_certainty_has_a_certain_outlook(p_value, expected):
    assert outlook(p_value, 0.1, 0.05) == expected


@pytest.mark.parametrize("wrong", [(), (0.5,), (0.5, 0.4, 1.0), (0.0, 1.0), (0.5, 1.5)])
def test_shares_that_do_not_ascend_to_one_are_refused(wrong):
    with pytest.raises(PlanError, match="ascend"):
        levels(0.05, wrong)
