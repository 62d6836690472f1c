"""How sure a mean over a finite validation set is.

Confidence speaks of images: what a sample of images says about all images of the kind. A p-value is
the probability of a look at least as good as this one if the constraint were just missed.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

STAKES = 2.0 ** (-np.arange(1, 25) / 2)
"""Shares of the capital that are staked, against a sample as bad as can be."""
_MOST_CAPITAL = 600.0
"""In logarithms: the p-value of more is taken to be that of this."""


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


def bounded_p_value(margins: Float[np.ndarray, " samples"], least: float) -> float:
    """P-value of a mean margin, whatever the law of the margins, if none can be below a bound.

    Whoever bets on the margin, each time a fixed share of what the bound allows, has by the end
    grown their capital ``1 / p`` times with probability at most ``p``, if the mean is 0 or below.
    Capital is spread over shares of all sizes [WaudbySmith2024]. The normal law would need many
    margins that differ: from the few of a good repair it infers far too much.

    Args:
        margins: Margin of every sample.
        least: What no margin can be below.

    Returns:
        The probability; 0 if no margin can be negative.

    References:
        [WaudbySmith2024] Waudby-Smith, Ramdas, "Estimating means of bounded random variables by
            betting", Journal of the Royal Statistical Society B 86(1), 2024.

    Example:
        >>> bounded_p_value(np.zeros(9), -1.0)
        1.0
    """
    if least >= 0:
        return 0.0
    stakes = STAKES / -least
    capital = np.log1p(stakes[:, None] * margins).sum(1)
    return float(min(1.0, 1 / np.exp(np.minimum(capital, _MOST_CAPITAL)).mean()))


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


def worth_of_a_hit(*scores: Float[np.ndarray, " samples"]) -> float | None:
    """What a hit scores, where every sample is a hit or scores nothing; none otherwise."""
    seen = np.unique(np.concatenate(scores))
    if len(seen) > 2 or seen[0] < 0 or (len(seen) == 2 and seen[0] > 0):
        return None
    return float(seen[-1]) or 1.0


def reach(*scores: Float[np.ndarray, " samples"]) -> tuple[float, float]:
    """The lowest and the highest of scores and zero."""
    seen = np.concatenate([*scores, [0.0]])
    return float(seen.min()), float(seen.max())
