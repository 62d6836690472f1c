"""Incomplete maps: what hidden and invented faults do, and what the margin buys and costs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import chipmend as cm
import decisions.coverage as coverage
from decisions.bench import LENIENT, Bench, Row, row_of

RATE = (0.02, 0.25)
CHIPS, MANY = 16, 96
HIDDEN, SPURIOUS = (0.0, 0.05, 0.1, 0.2), 0.05
MOST, LITTLE = 1.0, 0.2
"""Epochs after which the cascade gives a chip up, in a full run and in a quick one."""
WANTED = 0.1
"""Share of hidden faults at which the margin has to hold."""
HARDENED, HARDLY, SOFT = 4.0, 0.5, 0.0
"""Epochs by which margins harden the network: in a full run, in a quick one, and not at all."""


def screened(
    bench: Bench,
    screening: cm.Screening,
    count: int,
    policies: Sequence[Any],
    *,
    hardened: float | None = None,
    **how: Any,
) -> list[Row]:
    """A lot that was screened so, mended, and read with what is broken indeed.

    Without an amount of hardening there is no margin.
    """
    margin = None
    if hardened is not None:
        margin = cm.Margin(hidden=screening.hidden, harden=hardened)
    lot = cm.make_chips(bench.array, rate=RATE, count=count, spread="even", seed=5)
    told = f"{screening.hidden:g} hidden, {screening.spurious:g} invented"
    name = f"{policies[0].kind}, {told}, hardened {hardened}"
    outcome = bench.mended(
        name,
        screening.seen_of(lot, seed=5),
        policies,
        truth=lot,
        margin=margin,
        **how,
    )
    given = {"hidden": screening.hidden, "spurious": screening.spurious, "hardened": hardened}
    return [row_of("incomplete maps", s, **given) for s in outcome.sums()]


def rows(bench: Bench) -> list[Row]:
    """Every share, without and with a margin."""
    found = []
    cascade = cm.Cascade(most=LITTLE if bench.quick else MOST)
    much = HARDLY if bench.quick else HARDENED
    shares = (0.0, WANTED) if bench.quick else HIDDEN
    cases = [cm.Screening(hidden=share) for share in shares]
    if not bench.quick:
        cases.append(cm.Screening(spurious=SPURIOUS))
    grid = replace(bench.grid, trial=coverage.trial(bench, "uniform", coverage.MOST))
    promising = [cm.Reduce(coverage=0.5 if bench.quick else coverage.COVERAGES[0])]
    for case in cases:
        few = bench.chips(CHIPS)
        count = bench.chips(MANY) if case.hidden == WANTED else few
        found += screened(bench, case, count, [cascade])
        if case.hidden in (0.0, WANTED):
            found += screened(bench, case, few, promising, analysis=grid, constraint=LENIENT)
        if case.hidden:
            found += screened(bench, case, count, [cascade], hardened=much)
        if case.hidden == WANTED:
            found += screened(bench, case, few, [cascade], hardened=SOFT)
    return found
