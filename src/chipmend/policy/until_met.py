"""Until met: retrain a little, look, and stop as soon as the constraint surely holds.

What a good engineer writes first, and so the baseline that a cleverer policy has to beat.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from chipmend.confidence.constraint import Constraint
from chipmend.confidence.sequential import alpha_of_look
from chipmend.errors import PlanError
from chipmend.policy.protocol import Action, Die, Group, Observation, Scrap, Ship, each_alone
from chipmend.recipes import retrained_epochs
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Measure, Prune, Recalibrate, Retrain


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilMet:
    """Retrain in increments, with a look after each, until the constraint holds.

    Args:
        increment: Epochs between two looks.
        most: Epochs after which a chip is given up.
        confidence: Confidence, over all looks together, that a chip that is shipped meets the
            constraint on images like those of the validation split.
        retrain: How to retrain; its amount does not count.
        label: Name in tables; made of the increment where none is given.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["until_met"] = "until_met"
    increment: float = 0.1
    most: float = 4.0
    confidence: float = 0.95
    retrain: Retrain = field(default_factory=Retrain)
    label: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise PlanError(
                f"until_met: a confidence of {self.confidence}", hint="give a fraction, as 0.95"
            )
        if not 0 < self.increment <= self.most < math.inf:
            raise PlanError(
                f"until_met: increments of {self.increment} up to {self.most} epochs",
                hint="give a positive increment that is not above a finite 'most'",
            )

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.label or f"UntilMet({self.increment:g})"

    @property
    def needs_table(self) -> bool:
        """It needs no analysis."""
        return False

    def plan(
        self,
        dies: Sequence[Die],
        constraint: Constraint,  # noqa: ARG002
        table: ResilienceTable | None,  # noqa: ARG002
    ) -> list[Group]:
        """Every chip alone."""
        return each_alone(dies)

    def next(
        self,
        group: Group,  # noqa: ARG002
        constraint: Constraint,
        seen: Sequence[Observation],
    ) -> Action:
        """Look after every increment."""
        if len(seen) < 2:
            return (Prune(), Recalibrate(form=self.retrain.recalibrate))[len(seen)]
        if not isinstance(seen[-1].step, Measure):
            return Measure()
        if self._holds(seen):
            return Ship(f"'{constraint}' holds with confidence {self.confidence:g}")
        done = retrained_epochs(tuple(observation.step for observation in seen))
        left = round(self.most - done, 9)
        if left <= 0:
            return Scrap(f"'{constraint}' not shown to hold within {self.most:g} epochs")
        return replace(self.retrain, epochs=min(self.increment, left))

    def _holds(self, seen: Sequence[Observation]) -> bool:
        looks = [o.measured for o in seen if o.measured is not None]
        return looks[-1].p_value <= alpha_of_look(1 - self.confidence, len(looks))
