"""Whether chips are like others that something was promised by.

A promise holds for chips whose order among those that it was made by would not matter. Each trait
of theirs is compared by the largest difference of the two distributions [Smirnov1948]; many traits
share the chance of a false alarm.

References:
    [Smirnov1948] Smirnov, "Table for estimating the goodness of fit of empirical distributions",
        Annals of Mathematical Statistics 19(2), 1948.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

ALARM = 0.02
"""Chance of a false alarm, all traits together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A trait in which chips are not like the others.

    Args:
        trait: Its name.
        p_value: Chance of such a difference in any trait, if there were none.
        promised: Median of the chips that the promise was made by.
        found: Median of the others.
    """

    trait: str
    p_value: float
    promised: float
    found: float


def shifts(
    promised: Mapping[str, Float64[np.ndarray, " chips"]],
    found: Mapping[str, Float64[np.ndarray, " others"]],
    alarm: float = ALARM,
) -> list[Shift]:
    """The traits in which chips differ from those that a promise was made by, the surest first.

    Args:
        promised: Traits of the chips that the promise was made by.
        found: The same of the others.
        alarm: Chance of a false alarm, all traits together.

    Example:
        >>> shifts({"rate": np.arange(50.0)}, {"rate": np.arange(50.0) + 30})[0].trait
        'rate'
        >>> shifts({"rate": np.arange(50.0)}, {"rate": np.arange(50.0) + 1})
        []
    """
    from scipy.stats import ks_2samp  # slow to import

    seen, varied = [], _varied(promised, found)
    for name in varied:
        values = promised[name]
        test = ks_2samp(values, found[name])
        p_value = min(1.0, float(test.pvalue) * len(varied))  # pyright: ignore[reportAttributeAccessIssue]
        if p_value <= alarm:
            medians = float(np.median(values)), float(np.median(found[name]))
            seen.append(Shift(trait=name, p_value=p_value, promised=medians[0], found=medians[1]))
    return sorted(seen, key=lambda shift: shift.p_value)


def can_tell(
    promised: Mapping[str, Float64[np.ndarray, " chips"]],
    found: Mapping[str, Float64[np.ndarray, " others"]],
    alarm: float = ALARM,
) -> bool:
    """Whether there are chips enough for any difference to be told from chance.

    The surest that can be is that all chips of one kind lie beyond all of the other: two of the
    orders that all of them together may have.

    Args:
        promised: Traits of the chips that the promise was made by.
        found: The same of the others.
        alarm: Chance of a false alarm, all traits together.

    Example:
        >>> trial = {"rate": np.arange(50.0)}
        >>> can_tell(trial, {"rate": np.array([99.0])}), can_tell(trial, {"rate": np.arange(3.0)})
        (False, True)
    """
    ours, others = (len(next(iter(traits.values()))) for traits in (promised, found))
    surest = 2 / math.comb(ours + others, ours)
    return surest * max(1, len(_varied(promised, found))) <= alarm


def _varied(
    promised: Mapping[str, Float64[np.ndarray, " chips"]],
    found: Mapping[str, Float64[np.ndarray, " others"]],
) -> list[str]:
    """The traits in which chips differ at all."""
    both = {name: np.concatenate([values, found[name]]) for name, values in promised.items()}
    return [name for name, values in both.items() if len(np.unique(values)) > 1]
