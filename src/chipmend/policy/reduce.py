"""Reduce: each chip gets the retraining that chips of its fault rate needed in the analysis.

References:
    [Hanif2023] Hanif, Shafique, "Reduce: a framework for reducing the overheads of fault-aware
        retraining", 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chipmend.confidence.constraint import Constraint
from chipmend.policy.by_table import ByTable, checked_table
from chipmend.policy.protocol import Die, Group
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
        label: Name in tables.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["reduce"] = "reduce"

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.named("Reduce")

    def plan(
        self, dies: Sequence[Die], constraint: Constraint, table: ResilienceTable | None
    ) -> list[Group]:
        """Look every chip's effective fault rate up in the table."""
        known = checked_table(table, self.name)
        return [self.alone(die, constraint, known) for die in dies]
