"""Paying for repeated looks: the chance of a wrong yes is spent over them."""


def alpha_of_look(alpha: float, look: int) -> float:
    """The share of the error probability that one of a row of looks may use.

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
