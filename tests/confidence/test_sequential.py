from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from chipmend.confidence import Drop, alpha_of_look, measured

ALPHA, LOOKS = 0.05, 20


def test_shares_sum_to_less_than_the_whole_over_any_number_of_looks():
    exact = Fraction(0)
    for look in range(1, 1001):
        exact += Fraction(1, look) - Fraction(1, look + 1)
        assert alpha_of_look(1, look) == pytest.approx(
            float(Fraction(1, look) - Fraction(1, look + 1))
        )
    assert exact == Fraction(1000, 1001)
    assert sum(alpha_of_look(ALPHA, look) for look in range(1, 1001)) < ALPHA


def test_the_first_look_gets_half_and_later_ones_less_and_less():
    shares = [alpha_of_look(0.1, look) for look in range(1, 10)]
    assert shares[0] == 0.05
    assert shares == sorted(set(shares), reverse=True)


def says_yes(scores, clean, share):
    return measured(Drop(0.02), scores, clean).p_value <= share


def looks_of_a_bad_chip(rng, images, fresh):
    """Paired 0/1 scores of a network just too bad, look after look.

    The drop allowed is 0.02 and the true one is 0.02 (the worst that must not pass): 5 % of the
    images are lost, 3 % gained. ``fresh`` of the images change sides between looks.
    """
    draw = rng.random(images)
    for _ in range(LOOKS):
        clean = (draw > 0.03) & (draw < 0.93)  # 3 % only the repaired network gets right
        scores = draw < 0.88  # 5 % only the clean one does
        yield scores.astype(float), clean.astype(float)
        anew = rng.random(images) < fresh
        draw = np.where(anew, rng.random(images), draw)


@pytest.mark.parametrize("fresh", [0.05, 0.5, 1.0])
def test_a_bad_chip_passes_some_look_no_more_often_than_alpha(fresh):
    rng = np.random.default_rng(1)
    chips = 600
    passed = sum(
        any(
            says_yes(scores, clean, alpha_of_look(ALPHA, look))
            for look, (scores, clean) in enumerate(looks_of_a_bad_chip(rng, 1000, fresh), 1)
        )
        for _ in range(chips)
    )
    assert passed <= scipy.stats.binom.ppf(0.999, chips, ALPHA)
    assert passed > 0, "a rule that never says yes is no rule"


def test_without_paying_for_looks_a_bad_chip_passes_too_often():
    rng = np.random.default_rng(2)
    chips = 200
    passed = sum(
        any(says_yes(*look, ALPHA) for look in looks_of_a_bad_chip(rng, 500, 1.0))
        for _ in range(chips)
    )
    assert passed > scipy.stats.binom.ppf(0.999, chips, ALPHA)
