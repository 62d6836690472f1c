"""Paying for repeated looks: the chance of a wrong yes is spent over them.

Two kinds of repetition are told apart. Looks at *different* networks spend shares that sum up, by
the union bound. Looks at *more and more* images of one network are correlated: their levels come
from the joint normal law of a group-sequential test, so that early looks cost little.

References:
    [Lan1983] Lan, DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70(3),
        1983.
    [Spiegelhalter1986] Spiegelhalter, Freedman, Blackburn, "Monitoring clinical trials: conditional
        or predictive power?", Controlled Clinical Trials 7(1), 1986.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from chipmend.confidence.constraint import ROUNDING
from chipmend.errors import PlanError

_NORMAL = NormalDist()
_FAR = 9.0
"""Standard deviations beyond which the normal law holds nothing."""
_GRID = 801
LEAST_ALPHA = 1e-9
"""Below it levels are shared out by the union bound: nobody needs them exactly."""


def alpha_of_look(alpha: float, look: int) -> float:
    """The share of the error probability that a look at one of a row of networks may use.

    Shares ``alpha / (look (look + 1))`` sum to ``alpha`` over any number of looks, so by the union
    bound the chance that any look says yes wrongly stays below ``alpha``.

    Args:
        alpha: Probability of a wrong yes over all looks.
        look: 1 for the first look.

    Returns:
        Probability of a wrong yes that this look may use.

    Example:
        >>> [alpha_of_look(0.06, look) for look in (1, 2, 3)]
        [0.03, 0.01, 0.005]
    """
    return alpha / (look * (look + 1))


@lru_cache(maxsize=256)
def levels(alpha: float, shares: tuple[float, ...]) -> tuple[float, ...]:
    """P-values that looks at more and more images of one network have to reach.

    The error probability is spent as ``alpha log(1 + (e - 1) t)`` over the share ``t`` of the
    images [Lan1983], which is about the same at every look.

    Args:
        alpha: Probability of a wrong yes over all looks at this network.
        shares: Share of the images seen at each look, ascending, the last one 1.

    Returns:
        For each look the p-value at or below which it says yes.

    Example:
        >>> levels(0.05, (1.0,))
        (0.05,)
        >>> [round(level, 4) for level in levels(0.05, (0.5, 1.0))]
        [0.031, 0.0297]
    """
    check_shares(shares)
    if alpha < LEAST_ALPHA:
        return tuple(alpha * share for share in np.diff((0.0, *shares)).tolist())
    spent = [alpha * math.log1p((math.e - 1) * share) for share in shares]
    found = [spent[0]]
    bound = -_NORMAL.inv_cdf(spent[0]) * math.sqrt(shares[0])
    at, weight = _grid(-_FAR * math.sqrt(shares[0]), bound)
    density = weight * np.exp(-(at**2) / (2 * shares[0])) / math.sqrt(2 * math.pi * shares[0])
    for look in range(1, len(shares)):
        step = math.sqrt(shares[look] - shares[look - 1])
        bound = _crossed_with(density, at, step, spent[look] - spent[look - 1])
        found.append(_NORMAL.cdf(-bound / math.sqrt(shares[look])))
        now, weight = _grid(-_FAR * math.sqrt(shares[look]), bound)
        apart = (now[:, None] - at) / step
        density = weight * (np.exp(-(apart**2) / 2) @ density) / (step * math.sqrt(2 * math.pi))
        at = now
    return tuple(found)


def outlook(p_value: float, share: float, level: float) -> float:
    """Probability that the last look will say yes, going by what was seen so far.

    The predictive power of [Spiegelhalter1986] under a flat prior. Giving up by it takes no error
    probability: it can only turn a yes into a no.

    Args:
        p_value: P-value of the latest look.
        share: Share of the images that it saw.
        level: What the last look's p-value has to reach.

    Returns:
        The probability.

    Example:
        >>> round(outlook(0.5, 0.5, 0.05), 3)
        0.05
        >>> outlook(0.05, 1.0, 0.05), outlook(0.06, 1.0, 0.05)
        (1.0, 0.0)
    """
    if share >= 1 or p_value in (0.0, 1.0):
        return float(p_value <= level)
    seen, wanted = -_NORMAL.inv_cdf(p_value), -_NORMAL.inv_cdf(level)
    return _NORMAL.cdf((seen / math.sqrt(share) - wanted) / math.sqrt((1 - share) / share))


def samples_of(share: float, samples: int) -> int:
    """How many samples a share of them is, rounded up.

    Example:
        >>> samples_of(0.05, 30), samples_of(0.1, 5000)
        (2, 500)
    """
    return math.ceil(share * samples - ROUNDING)


def check_shares(shares: Sequence[float]) -> None:
    """Refuse shares that do not ascend to 1.

    Raises:
        PlanError: Says which.
    """
    ascending = all(a < b for a, b in zip((0.0, *shares), shares, strict=False))
    if not (shares and ascending and shares[-1] == 1):
        raise PlanError(
            f"looks at shares {list(shares)} of the validation split",
            hint="let them ascend from above 0 to 1, as [0.1, 0.3, 1.0]",
        )


def _grid(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of Simpson's rule."""
    at = np.linspace(low, high, _GRID)
    weight = np.ones(_GRID)
    weight[1:-1:2], weight[2:-1:2] = 4, 2
    return at, weight * (at[1] - at[0]) / 3


def _crossed_with(density: np.ndarray, at: np.ndarray, step: float, probability: float) -> float:
    """The bound that the next sum crosses with a probability."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    def beyond(bound: float) -> float:
        return float(ndtr((at - bound) / step) @ density) - probability

    return brentq(beyond, -_FAR, _FAR + _FAR * step, xtol=1e-12)  # pyright: ignore[reportReturnType]
