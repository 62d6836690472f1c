"""Promises: settings of a policy that keep a coverage on a trial lot.

What a policy would have done with each chip of the lot is known from the analysis, whatever the
setting. The cheapest setting is taken that would have kept the promise, the next chip counted as
one that breaks it.

References:
    [Angelopoulos2024] Angelopoulos, Bates, Fisch, Lei, Schuster, "Conformal risk control", ICLR
        2024.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from chipmend.confidence.constraint import Constraint
from chipmend.confidence.coverage import Kept, cheapest, chips_needed
from chipmend.errors import TableError
from chipmend.resilience.analysis import Analysis, check_until
from chipmend.resilience.ladder import Ladder
from chipmend.resilience.table import (
    ResilienceTable,
    Statistic,
    accuracy_wanted,
    faulty_pes,
    stuck_bits,
)

Amounts = Callable[[Float64[np.ndarray, "*any chips"]], Float64[np.ndarray, "*any chips"]]
"""Amounts of retraining of chips, by the factors on their fault rates."""

MOST_FACTOR = 2.0**20
"""No chip is taken to have more times its fault rates: it has no PE or bit left long before."""


def promising(analysis: Analysis, coverage: float, constraint: Constraint) -> Analysis:
    """An analysis by which coverage can be promised.

    Args:
        analysis: What is analysed anyway.
        coverage: Share of the chips that is promised.
        constraint: What they are to meet; they are trained no further once they surely do.

    Raises:
        TableError: It has no trial lot, or one of too few chips, or of chips that stop too early.
    """
    needed, trial = chips_needed(coverage), analysis.trial
    if trial is None or trial.count < needed:
        few = f"a trial lot of {trial.count} chips" if trial else "no trial lot (analysis.trial)"
        raise TableError(
            f"a coverage of {coverage:g} is to be promised, and the analysis has {few}",
            hint=f"give analysis.trial at least {needed} chips, made as those of the lot come",
        )
    check_until(trial.until, constraint, "analysis.trial")
    return replace(analysis, trial=trial.until_met(constraint))


def factor_that_keeps(
    coverage: float,
    table: ResilienceTable,
    constraint: Constraint,
    statistic: Statistic,
    quantile: float,
) -> Kept:
    """By how much fault rates, and amounts for these, have to be multiplied to keep a promise.

    Args:
        coverage: Share of the chips that ship which are to meet the constraint.
        table: A table with a trial lot.
        constraint: What they are to meet.
        statistic: Which of the repeats' amounts the policy takes.
        quantile: Which one, for ``quantile``.

    Returns:
        The least factor that keeps the promise on the trial lot, and how it does.

    Raises:
        TableError: None does.
    """
    rates = np.array([[kind(t) for t in table.trial] for kind in (faulty_pes, stuck_bits)])
    needed = np.array([table.just_needed(t, constraint) for t in table.trial])

    def amounts(factors: Float64[np.ndarray, "*any chips"]) -> Float64[np.ndarray, "*any chips"]:
        found = np.zeros(factors.shape)
        for kind, own in zip((faulty_pes, stuck_bits), rates, strict=True):
            if own.any():
                theirs = np.broadcast_to(own, factors.shape)
                wanted = table.needed_along(
                    kind, theirs, constraint, statistic, quantile, factors=factors
                )
                found = np.maximum(found, np.where(own > 0, wanted, 0.0))
        return found

    least = _least_factors(amounts, needed)
    settings = np.unique(least[least <= MOST_FACTOR])[::-1]
    shipped = np.isfinite(amounts(np.repeat(settings[:, None], len(needed), axis=1)))
    met: Bool[np.ndarray, "settings chips"] = settings[:, None] >= least
    if (found := cheapest(shipped, met, coverage)) is None:
        missed = int((shipped[0] & ~met[0]).sum()) if len(settings) else len(needed)
        suffice = chips_needed(coverage, missed)
        raise TableError(
            f"no amount of retraining that was analysed keeps '{constraint}' on "
            f"{100 * coverage:g} % of the trial lot: {int(np.isfinite(needed).sum())} of its "
            f"{len(needed)} chips came to meet it",
            hint=f"analyse larger amounts, promise less, or give chips of lower fault rates; with "
            f"{missed} that miss it, a trial lot would have to be of {suffice} chips that ship",
        )
    return found._replace(setting=float(settings[int(found.setting)]))


@lru_cache(maxsize=8)
def margin_that_keeps(coverage: float, table: ResilienceTable, constraint: Constraint) -> Kept:
    """By how much a chip has to be expected to do better than it must, to ship without a look.

    Args:
        coverage: Share of the chips that ship so which are to meet the constraint.
        table: A table with a trial lot whose rungs were looked at.
        constraint: What they are to meet.

    Returns:
        The least margin of accuracy that keeps the promise on the trial lot, and how it does;
        infinite if none does.
    """
    ladder, bar = Ladder(table), accuracy_wanted(constraint, table.clean_accuracy)
    margins, met = [], []
    for chip in table.trial:
        if chip.damage is not None:
            rung = ladder.promising(0, chip.damage, constraint)
            margins.append(ladder.expected_accuracy(rung, chip.damage) - bar)
            met.append(chip.rungs[rung].accuracy >= bar)
    settings = np.unique(margins)[::-1]
    shipped = np.array(margins) >= settings[:, None]
    found = cheapest(shipped, np.broadcast_to(met, shipped.shape), coverage)
    if found is None:
        return Kept(math.inf, 0, 0)
    return found._replace(setting=float(settings[int(found.setting)]))


def _least_factors(
    amounts: Amounts, needed: Float64[np.ndarray, " chips"]
) -> Float64[np.ndarray, " chips"]:
    """The factor of each chip from which on it gets what it needs; infinite if there is none."""
    low, high = np.zeros_like(needed), np.full_like(needed, 2 * MOST_FACTOR)
    enough = amounts(low) >= needed
    for _ in range(80):
        middle = (low + high) / 2
        does = amounts(middle) >= needed
        low, high = np.where(does, low, middle), np.where(does, middle, high)
    return np.where(enough, 0.0, high)
