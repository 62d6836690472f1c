"""How sure a share of chips is, and what to promise of chips to come.

Coverage speaks of chips: what the chips at hand say about all chips of the kind. The interval is
the exact one for a binomial share [Clopper1934]. A promise is made of chips whose order does not
matter: the next one is as likely as any to be the one that misses [Vovk2005, Angelopoulos2024].

References:
    [Angelopoulos2024] Angelopoulos, Bates, Fisch, Lei, Schuster, "Conformal risk control", ICLR
        2024.
    [Clopper1934] Clopper, Pearson, "The use of confidence or fiducial limits illustrated in the
        case of the binomial", Biometrika 26(4), 1934.
    [Vovk2005] Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


def share_interval(hits: int, chips: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of the share of all chips, from those at hand.

    Args:
        hits: How many of the chips have the property.
        chips: How many chips there are, at least one.
        confidence: How likely such an interval holds the true share, at the least.

    Returns:
        The lowest and the highest share.

    Example:
        >>> low, high = share_interval(0, 100)
        >>> low, round(high, 4)
        (0.0, 0.0362)
    """
    from scipy.stats import beta  # slow to import, and not needed to plan

    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, chips - hits + 1)) if hits else 0.0
    high = float(beta.isf(tail, hits + 1, chips - hits)) if hits < chips else 1.0
    return low, high


def chips_needed(coverage: float, missed: int = 0) -> int:
    """How many chips a promise takes.

    Args:
        coverage: Share of the chips to come that is promised.
        missed: How many of the chips at hand miss what is promised.

    Example:
        >>> chips_needed(0.9), chips_needed(0.95), chips_needed(0.99), chips_needed(0.9, missed=1)
        (9, 19, 99, 19)
    """
    return math.ceil((missed + 1) / (1 - coverage) - 1e-9) - 1


def keeps(shipped: int, missed: int, coverage: float) -> bool:
    """Whether chips keep a promise, the next one counted as if it broke it.

    Args:
        shipped: How many chips ship.
        missed: How many of them miss what is promised.
        coverage: Share of those that ship which is not to miss it.

    Example:
        >>> keeps(9, 0, 0.9), keeps(8, 0, 0.9), keeps(19, 1, 0.9)
        (True, False, True)
    """
    return missed + 1 <= (1 - coverage) * (shipped + 1) + 1e-9


class Kept(NamedTuple):
    """A setting that keeps a promise.

    Args:
        setting: Its number, or what is set.
        shipped: Chips that ship with it.
        missed: Those of them that miss what is promised.
    """

    setting: float
    shipped: int
    missed: int


def cheapest(
    shipped: Bool[np.ndarray, "settings chips"],
    met: Bool[np.ndarray, "settings chips"],
    coverage: float,
) -> Kept | None:
    """The cheapest setting of a policy that keeps a promise on chips like those to come.

    Settings are gone through from the dearest on, so that the first that breaks the promise ends
    the search: a cheaper one that seems to keep it may do so by chance.

    Args:
        shipped: Chips that ship, by setting, the dearest setting first.
        met: Chips that would meet what is promised.
        coverage: Share of those that ship which is not to miss it.

    Returns:
        The setting, and what becomes of the chips; none if none keeps the promise.
    """
    found = None
    for setting, (ships, meets) in enumerate(zip(shipped, met, strict=True)):
        count = int(ships.sum())
        if count < chips_needed(coverage):
            continue  # too few to tell
        missed = int((ships & ~meets).sum())
        if not keeps(count, missed, coverage):
            break
        found = Kept(setting, count, missed)
    return found
