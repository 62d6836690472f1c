"""eFAT: chips that need less retraining together than each alone are retrained once for all.

Fault maps of several chips are united; what avoids them all runs on every one of the chips. The
damage of a union is the share of the network's weights on it, from placement and layer sizes.

References:
    [Hanif2023] Hanif, Shafique, "eFAT: improving the effectiveness of fault-aware training for
        mitigating permanent faults in DNN hardware accelerators", arXiv 2304.12949.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from chipmend.confidence.constraint import Constraint
from chipmend.policy.by_table import ByTable, checked_table
from chipmend.policy.fusing import Amounts, fused_dies
from chipmend.policy.protocol import Die, Group
from chipmend.resilience.table import UNREACHABLE, ResilienceTable, Statistic, faulty_pes


@dataclass(frozen=True, slots=True, kw_only=True)
class EFat(ByTable):
    """Fuse chips as long as that saves retraining, and retrain each group once.

    Chips whose codes have to be chosen for them, since bits are stuck, stay alone. Nothing is fused
    beyond the rates at which the analysis reached the constraint: what it says of chips there is
    drawn out, which one chip may have to go by, and a union need not.

    Args:
        statistic: As for ``ByTable``, like all that is given here.
        quantile: Of the repeats.
        start: What comes before retraining.
        retrain: How to retrain.
        keep_better: Whether the start is gone back to where it does better.
        label: Name in tables.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["efat"] = "efat"

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.named("eFAT")

    def plan(
        self, dies: Sequence[Die], constraint: Constraint, table: ResilienceTable | None
    ) -> list[Group]:
        """Fuse chips, best pair first, by what the table says of them and of their unions."""
        known = checked_table(table, self.name)
        amounts = reached_amounts(known, constraint, self.statistic, self.quantile or 1.0)
        return [
            self.alone(part.dies[0], constraint, known)
            if len(part.dies) == 1
            else Group(
                chips=tuple(die.chip.id for die in part.dies),
                epochs=round(amounts(np.array([part.rate])).item(), 9),
                reason=f"an effective fault rate of {100 * part.rate:.3g} % together",
            )
            for part in fused_dies(dies, amounts)
        ]


def reached_amounts(
    table: ResilienceTable, constraint: Constraint, statistic: Statistic, quantile: float
) -> Amounts:
    """Amounts by effective fault rate as far as the analysis reached; infinite beyond.

    Args:
        table: The table.
        constraint: What to reach on validation.
        statistic: Which of the repeats' amounts to take.
        quantile: Which one, for ``quantile``.
    """
    most = table.reached_up_to(constraint, statistic, quantile)

    def amounts(rates: Float64[np.ndarray, "*any"]) -> Float64[np.ndarray, "*any"]:
        found = table.needed_along(faulty_pes, rates, constraint, statistic, quantile)
        return np.where(rates <= most, found, UNREACHABLE)

    return amounts
