"""How sure a mean over a finite validation set is.

Confidence speaks of images: what a sample of images says about all images of the kind. A p-value is
the probability of a look at least as good as this one if the constraint were just missed.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a look at the validation split said.

    Args:
        accuracy: Mean score of the network.
        margin: Mean of the margins to the constraint, one per sample; it holds where >= 0.
        p_value: Probability of a look at least as good if the true mean margin were 0.
        samples: How many samples.
        error: Standard error of the mean margin.
    """

    accuracy: float
    margin: float
    p_value: float
    samples: int
    error: float = 0.0


def normal_p_value(margins: Float[np.ndarray, " samples"]) -> float:
    """P-value of a mean margin in the normal approximation, for many samples of any margins.

    Args:
        margins: Margin of every sample.

    Returns:
        The probability; 1 from a single sample, and 1 if all margins are equal and not positive.

    Example:
        >>> normal_p_value(np.array([1.0, -1.0]))
        0.5
    """
    if len(margins) < 2:
        return 1.0
    mean, deviation = float(np.mean(margins)), float(np.std(margins, ddof=1))
    if deviation == 0:
        return 0.0 if mean > 0 else 1.0
    return NormalDist().cdf(-mean * math.sqrt(len(margins)) / deviation)


def at_least(hits: int, samples: int, share: float) -> float:
    """Exact probability of so many hits or more, if each sample is one with probability ``share``.

    Example:
        >>> at_least(2, 2, 0.5)
        0.25
    """
    from scipy.stats import binom  # slow to import, and not needed to plan

    return float(binom.sf(hits - 1, samples, share))


def at_most(hits: int, samples: int, share: float) -> float:
    """Exact probability of so many hits or fewer, if each sample is one with probability ``share``.

    Example:
        >>> at_most(0, 2, 0.5)
        0.25
    """
    from scipy.stats import binom

    return float(binom.cdf(hits, samples, share))


def paired_p_value(lost: int, gained: int, samples: int, drop: float) -> float:
    """P-value of a drop between two networks on the same samples, against a drop just allowed.

    The score test of [Tango1998]: the variance is that of the most likely shares of lost and gained
    samples among those whose difference is ``drop``, so that few gained samples do not make it too
    small. Exact where none is gained.

    Args:
        lost: Samples that only the first network gets right.
        gained: Samples that only the second one gets right.
        samples: All samples.
        drop: The drop that is just allowed, as a fraction.

    Returns:
        Probability of such a result or a better one if the drop were just more than allowed.

    References:
        [Tango1998] Tango, "Equivalence test and confidence interval for the difference in
            proportions for the paired-sample design", Statistics in Medicine 17, 1998.

    Example:
        >>> paired_p_value(5, 5, 100, 0.0)
        0.5
    """
    if not gained:
        return at_most(lost, samples, drop)
    b = (2 * samples - lost + gained) * drop - lost - gained
    c = -gained * drop * (1 - drop)
    share_gained = (math.sqrt(b * b - 8 * samples * c) - b) / (4 * samples)
    variance = samples * (2 * share_gained + drop * (1 - drop))
    return NormalDist().cdf((lost - gained - samples * drop) / math.sqrt(variance))


def are_hits(scores: Float[np.ndarray, " samples"]) -> bool:
    """Whether every score is 0 or 1."""
    return bool(np.isin(scores, (0.0, 1.0)).all())
