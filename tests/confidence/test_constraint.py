import math

import numpy as np
import pytest
import scipy.stats

from chipmend.confidence import Accuracy, Drop, check_reachable, holds, measured
from chipmend.confidence.intervals import bounded_p_value
from chipmend.errors import ConstraintError

CLEAN = np.array([1.0, 1.0, 1.0, 0.0])
REPAIRED = np.array([1.0, 0.0, 1.0, 1.0])


def test_margins_of_a_drop_are_paired_by_image():
    assert Drop(0.25).margins(REPAIRED, CLEAN).tolist() == [0.25, -0.75, 0.25, 1.25]


def test_margins_of_an_accuracy_do_not_look_at_the_clean_network():
    assert Accuracy(0.75).margins(REPAIRED, CLEAN).tolist() == [0.25, -0.75, 0.25, 0.25]
    assert Accuracy(0.75).margins(REPAIRED, CLEAN - 9).tolist() == [0.25, -0.75, 0.25, 0.25]


@pytest.mark.parametrize("constraint", [Drop(0.1), Accuracy(0.6)])
def test_the_mean_margin_says_whether_the_constraint_holds(constraint):
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(200):
        clean, scores = (rng.random(50) < 0.7), (rng.random(50) < 0.62)
        if isinstance(constraint, Drop):
            gained = int(scores.sum()) - int(clean.sum())  # exact: at most 5 of 50 lost
            holds = gained >= -5
            boundary = gained == -5
        else:
            holds, boundary = int(scores.sum()) >= 30, int(scores.sum()) == 30
        if boundary:
            continue  # rounding decides there
        margins = constraint.margins(scores.astype(float), clean.astype(float))
        assert (margins.mean() >= 0) == holds
        verdicts.add(holds)
    assert verdicts == {True, False}


def test_single_precision_scores_give_double_precision_margins():
    margins = Drop(0.018).margins(REPAIRED.astype(np.float32), CLEAN.astype(np.float32))
    assert margins.dtype == np.float64
    assert margins[0] == 0.018


@pytest.mark.parametrize("drop", [-0.001, 1.0, 1.8, math.nan, math.inf])
def test_a_drop_that_is_no_fraction_is_refused(drop):
    with pytest.raises(ConstraintError, match="no constraint"):
        Drop(drop)


@pytest.mark.parametrize("accuracy", [-0.1, 1.01, 91, math.nan, math.inf])
def test_an_accuracy_that_is_no_fraction_is_refused(accuracy):
    with pytest.raises(ConstraintError, match="cannot be met"):
        Accuracy(accuracy)


def test_the_ends_of_the_scale_are_constraints():
    assert [Drop(0).drop, Accuracy(0).accuracy, Accuracy(1).accuracy] == [0, 0, 1]


def test_constraints_read_as_sentences_in_percent():
    assert str(Drop(0.018)) == "drop <= 1.8 points"
    assert str(Accuracy(0.91)) == "accuracy >= 91 %"


def test_a_constraint_that_the_clean_network_misses_is_refused_with_its_accuracy():
    with pytest.raises(ConstraintError, match=r"'accuracy >= 80 %'.* has 75\.00 % on validation"):
        check_reachable(Accuracy(0.8), CLEAN)
    check_reachable(Accuracy(0.75), CLEAN)
    check_reachable(Accuracy(0.7), CLEAN)


def test_any_drop_can_be_reached_by_the_clean_network():
    check_reachable(Drop(0), CLEAN)
    check_reachable(Drop(0.5), np.zeros(4))


def test_a_look_sums_up_scores_and_margins():
    scores, clean = np.array([1.0, 0.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0])
    look = measured(Drop(0.1), scores, clean)
    assert (look.accuracy, look.samples) == (0.75, 4)
    assert look.margin == pytest.approx(0.1)
    # one lost, one gained; the likeliest share gained is (sqrt(1.2^2 + 32 * 0.09) + 1.2) / 16
    assert look.p_value == pytest.approx(scipy.stats.norm.cdf(-0.4 / np.sqrt(1.99926)), rel=1e-5)


def test_the_error_is_how_far_the_margin_strays_from_look_to_look():
    """Margins of -0.75, 0.25, 0.25 and 1.25 deviate by the root of 1/2; and by simulation."""
    assert measured(Drop(0.25), REPAIRED, CLEAN).error == pytest.approx(math.sqrt(0.5 / 4))
    rng = np.random.default_rng(0)
    for constraint in (Drop(0.1), Accuracy(0.6)):
        looks = [
            measured(constraint, *(rng.random((2, 400)) < [[0.7], [0.8]]).astype(float))
            for _ in range(1000)
        ]
        strayed = np.std([look.margin for look in looks])
        assert np.mean([look.error for look in looks]) == pytest.approx(strayed, rel=0.1)


def test_losses_alone_are_tested_exactly():
    clean = np.ones(200)
    for lost in (0, 1, 5):
        scores = np.r_[np.zeros(lost), np.ones(200 - lost)]
        expected = sum(scipy.stats.binom.pmf(k, 200, 0.05) for k in range(lost + 1))
        assert measured(Drop(0.05), scores, clean).p_value == pytest.approx(expected)


def test_few_identical_images_do_not_prove_a_small_drop():
    assert measured(Drop(0.01), np.ones(10), np.ones(10)).p_value == pytest.approx(0.99**10)


def test_hits_are_tested_exactly_against_an_accuracy():
    scores = np.r_[np.ones(95), np.zeros(5)]
    expected = scipy.stats.binomtest(95, 100, 0.9, alternative="greater").pvalue
    assert measured(Accuracy(0.9), scores, scores).p_value == pytest.approx(expected)


@pytest.mark.parametrize(("constraint", "least"), [(Drop(0.02), -1.48), (Accuracy(0.5), -0.7)])
def test_scores_in_between_are_tested_by_how_far_they_reach(constraint, least):
    rng = np.random.default_rng(0)
    scores, clean = np.r_[-0.2, rng.random(300)], np.r_[1.3, rng.random(300)]
    expected = bounded_p_value(constraint.margins(scores, clean), least)
    assert measured(constraint, scores, clean).p_value == expected


@pytest.mark.parametrize(
    ("constraint", "in_percent"), [(Drop(0.002), Drop(0.2)), (Accuracy(0.009), Accuracy(0.9))]
)
def test_hits_are_tested_alike_whatever_they_are_worth(constraint, in_percent):
    rng = np.random.default_rng(0)
    scores, clean = (rng.random((2, 300)) < [[0.012], [0.01]]).astype(float)
    p_value = measured(constraint, scores, clean).p_value
    assert measured(in_percent, 100 * scores, 100 * clean).p_value == pytest.approx(p_value)


@pytest.mark.parametrize("scores", [[0.1, 0, 0.1, 0.1], [0, 0, 0, 0], [0.1, 0.1, 0.1, 0.1]])
def test_a_drop_of_all_that_a_hit_is_worth_is_surely_met(scores):
    clean = np.array([0.1, 0.1, 0.0, 0.1])
    assert Drop(0.5).p_value(np.array(scores), clean) == 0.0
    assert Drop(0.1).p_value(np.array(scores), clean) == 0.0


@pytest.mark.parametrize("score", [0.5, 100.0])
def test_equal_scores_of_few_images_prove_nothing(score):
    same = np.full(20, score)
    assert measured(Drop(0.01), same, same).p_value > 0.5


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("images", [30, 200, 1000])
def test_a_network_just_too_bad_passes_no_more_often_than_alpha(alpha, images):
    rng = np.random.default_rng(0)
    chips = 4000
    hits = rng.binomial(images, 0.9, chips)
    accuracies = sum(_p(Accuracy(0.9), images, h) <= alpha for h in hits)
    losses = rng.binomial(images, 0.1, chips)
    drops = sum(_p(Drop(0.1), images, images - n) <= alpha for n in losses)
    assert max(accuracies, drops) <= scipy.stats.binom.ppf(0.999, chips, alpha)


def _p(constraint, images, hits):
    scores = np.r_[np.ones(hits), np.zeros(images - hits)]
    return measured(constraint, scores, np.ones(images)).p_value


@pytest.mark.parametrize("samples", [10, 100, 500, 1000, 5000])
def test_what_is_met_exactly_is_met_and_one_image_less_is_missed(samples):
    """However the means are rounded: hits of all counts, and drops of all counts."""
    clean = np.ones(samples)
    for hits in range(1, samples, max(1, samples // 250)):
        scores = (np.arange(samples) < hits).astype(float)
        less = (np.arange(samples) < hits - 1).astype(float)
        for constraint in (Accuracy(hits / samples), Drop((samples - hits) / samples)):
            assert holds(constraint, scores, clean)
            assert not holds(constraint, less, clean)
        check_reachable(Accuracy(hits / samples), scores)
