"""Reduce: each chip gets the retraining that chips of its fault rate needed in the analysis.

References:
    [Hanif2023] Hanif, Shafique, "Reduce: a framework for reducing the overheads of fault-aware
        retraining", 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from chipmend.confidence.constraint import Constraint
from chipmend.confidence.coverage import Kept
from chipmend.policy.by_table import ByTable, checked_table
from chipmend.policy.looks import check_confidence
from chipmend.policy.promise import factor_that_keeps, promising
from chipmend.policy.protocol import Die, Group
from chipmend.resilience.analysis import Analysis
from chipmend.resilience.table import ResilienceTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduce(ByTable):
    """Retrain each chip by the amount that the resilience table says for its effective fault rate.

    Args:
        statistic: As for ``ByTable``, like all that is given here.
        quantile: Of the repeats.
        start: What comes before retraining.
        retrain: How to retrain.
        keep_better: Whether the start is gone back to where it does better.
        coverage: Share of the chips that ship which are to meet the constraint, on images of the
            validation split: chips are then taken to have so many times their fault rates, and to
            need so many times the amount, as the trial lot of the analysis asks for. Nothing is
            promised by default.
        label: Name in tables.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["reduce"] = "reduce"
    coverage: float | None = None

    def __post_init__(self) -> None:
        ByTable.__post_init__(self)
        if self.coverage is not None:
            check_confidence("reduce", self.coverage, "coverage")

    @property
    def name(self) -> str:
        """Name in tables."""
        promised = "" if self.coverage is None else f", {100 * self.coverage:g} % promised"
        return self.label or self.named("Reduce") + promised

    def analysis(self, usual: Analysis, constraint: Constraint) -> Analysis:
        """The plan's, with a trial lot where coverage is promised."""
        own = ByTable.analysis(self, usual, constraint)
        if self.coverage is None:
            return own
        return promising(replace(own, trial=usual.trial), self.coverage, constraint)

    def plan(
        self, dies: Sequence[Die], constraint: Constraint, table: ResilienceTable | None
    ) -> list[Group]:
        """Look every chip's effective fault rate up in the table."""
        known, factor = checked_table(table, self.name), 1.0
        if self.coverage is not None:
            factor = self.promised(constraint, known).setting
        return [self.alone(die, constraint, known, factor) for die in dies]

    @property
    def concerned(self) -> str:
        """Which chips a coverage is promised of."""
        return "chips that ship"

    def unpromising(self) -> "Reduce":
        """The same: amounts are those that were promised by."""
        return self

    def promised(self, constraint: Constraint, table: ResilienceTable) -> Kept:
        """How many times its rates a chip is taken to have, and how the trial lot fares."""
        coverage, quantile = self.coverage or 0.0, self.quantile or 1.0
        return factor_that_keeps(coverage, table, constraint, self.statistic, quantile)
