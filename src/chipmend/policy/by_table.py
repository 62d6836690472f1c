"""Retraining by an amount that the resilience table says, decided before any work.

This is what Reduce and its successor eFAT have in common: their analysis, how they look amounts up,
and what they do with a group.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from chipmend.confidence.constraint import Constraint
from chipmend.errors import PlanError, TableError
from chipmend.policy.protocol import Action, Die, Group, Observation, Scrap, Ship
from chipmend.recipes import amount_steps, check_start
from chipmend.records import ByKind
from chipmend.resilience.analysis import Analysis, check_until
from chipmend.resilience.table import ResilienceTable, Statistic, faulty_pes, stuck_bits
from chipmend.steps import KeepBetter, Prune, Retrain, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTable:
    """Retrain by the amount that the table says for an effective fault rate, and ship.

    Args:
        statistic: Which of the repeats' amounts to take; the papers take the maximum, since the
            mean trains too little.
        quantile: Which one, for ``quantile``: a fraction of the repeats.
        start: What comes before retraining, here and in the analysis.
        retrain: How to retrain, here and in the analysis; its amount does not count. A campaign
            fills in what its plan's analysis does where nothing is given.
        keep_better: Whether to go back to the start where it does better on the validation split;
            by default where chips are repaired first.
        label: Name in tables; made of the statistic where none is given.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    statistic: Statistic = "max"
    quantile: float | None = None
    start: tuple[Annotated[Step, ByKind()], ...] = (Prune(),)
    retrain: Retrain | None = None
    keep_better: bool | None = None
    label: str = ""

    def __post_init__(self) -> None:
        whose = type(self).__name__.lower()
        check_start(self.start, f"{whose}: its start")
        if (self.quantile is None) != (self.statistic != "quantile"):
            raise PlanError(
                f"{whose}: statistic {self.statistic!r} with a quantile of {self.quantile}",
                hint="a quantile goes with statistic 'quantile', and with no other",
            )
        if self.quantile is not None and not 0 < self.quantile <= 1:
            raise PlanError(
                f"{whose}: a quantile of {self.quantile}", hint="give a fraction above 0, up to 1"
            )

    def named(self, method: str) -> str:
        """Name in tables of a method that goes by the table so."""
        if self.label:
            return self.label
        repaired = "Repair + " if self._repairs_first else ""
        if self.quantile is not None:
            return f"{repaired}{method}-{100 * self.quantile:g}%"
        return f"{repaired}{method}-{self.statistic}"

    @property
    def _repairs_first(self) -> bool:
        return self.start != (Prune(),)

    def analysis(self, usual: Analysis, constraint: Constraint) -> Analysis:
        """The plan's, from the policy's start, and retraining as the policy does."""
        check_until(usual.until, constraint, "analysis")
        retrain = replace(self.retrain or usual.retrain, epochs=1.0)
        return replace(usual, start=self.start, retrain=retrain, trial=None)

    def alone(
        self, die: Die, constraint: Constraint, table: ResilienceTable, factor: float = 1.0
    ) -> Group:
        """A group of its own, with the amount for the chip's effective fault rates.

        Args:
            die: The chip.
            constraint: What it has to reach.
            table: What is known.
            factor: How many times its rates the chip is taken to have, and to need as much.
        """
        epochs = table.needed_for(
            die.effective_rate,
            constraint,
            self.statistic,
            self.quantile or 1.0,
            effective_bit_rate=die.effective_bit_rate,
            factor=factor,
        )
        said = self._said(die, constraint, table)
        lost = [words for words, is_lost in said if is_lost]
        reason = " and ".join(lost or [words for words, _ in said])
        if factor != 1 and not lost:
            reason += f", taken {factor:.3g} times, and as many times the amount, as promised"
        return Group(chips=(die.chip.id,), epochs=round(epochs, 9), reason=reason)

    def next(
        self,
        group: Group,
        constraint: Constraint,
        seen: Sequence[Observation],
        table: ResilienceTable | None,  # noqa: ARG002
    ) -> Action:
        """Prune, retrain by the planned amount, ship; scrap what no amount would save."""
        if math.isinf(group.epochs):
            return Scrap(f"'{constraint}' was not reached in the analysis at {group.reason}")
        steps = amount_steps(group.epochs, self.retrain or Retrain(), self.start)
        keep_better = self._repairs_first if self.keep_better is None else self.keep_better
        if keep_better and group.epochs > 0:
            steps = (*steps, KeepBetter())
        return steps[len(seen)] if len(seen) < len(steps) else Ship()

    def _said(
        self, die: Die, constraint: Constraint, table: ResilienceTable
    ) -> list[tuple[str, bool]]:
        """A chip's rates in words, each with whether the analysis lost chips at it."""
        of_pes = ("an effective fault rate", die.effective_rate, faulty_pes)
        of_bits = ("a rate of stuck bits", die.effective_bit_rate, stuck_bits)
        rates = [each for each in (of_pes, of_bits) if each[1] > 0]
        said = []
        for what, rate, along in rates or [of_pes]:
            quantile = self.quantile or 1.0
            lost = table.unreachable_from(constraint, self.statistic, quantile, along=along)
            words = f"{what} of {100 * min(rate, lost):.3g} %"
            if lost < rate:
                words += f", and the chip has {100 * rate:.3g} %"
            said.append((words, lost <= rate))
        return said


def checked_table(table: ResilienceTable | None, whose: str) -> ResilienceTable:
    """The table that a policy goes by.

    Raises:
        TableError: There is none.
    """
    if table is None:
        raise TableError(f"{whose} has no resilience table", hint="run the analysis first")
    return table
