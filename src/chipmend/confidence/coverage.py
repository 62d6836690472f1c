"""How sure a share of chips is.

Coverage speaks of chips: what the chips at hand say about all chips of the kind. The interval is
the exact one for a binomial share [Clopper1934].

References:
    [Clopper1934] Clopper, Pearson, "The use of confidence or fiducial limits illustrated in the
        case of the binomial", Biometrika 26(4), 1934.
"""


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
