"""Until met: retrain a little, look, and stop as soon as the constraint surely holds.

What a good engineer writes first, and so the baseline that a cleverer policy has to beat.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from chipmend.confidence.constraint import Constraint
from chipmend.confidence.sequential import alpha_of_look
from chipmend.errors import PlanError
from chipmend.policy.looks import HOPELESS, Looks, check_confidence, networks_looked_at
from chipmend.policy.protocol import (
    Action,
    Alone,
    Group,
    Observation,
    Scrap,
    Ship,
    settled,
)
from chipmend.recipes import check_start, ready_to_ship, retrained_epochs
from chipmend.records import ByKind
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Measure, Prune, Retrain, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilMet(Alone):
    """Retrain in increments, with looks after each, until the constraint holds.

    Args:
        increment: Epochs between two networks that are looked at.
        most: Epochs after which a chip is given up.
        confidence: Confidence, over all looks together, that a chip that is shipped meets the
            constraint on images like those of the validation split.
        start: What comes before retraining.
        retrain: How to retrain; its amount does not count.
        looks: How networks are looked at.
        label: Name in tables; made of the increment where none is given.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["until_met"] = "until_met"
    increment: float = 0.1
    most: float = 4.0
    confidence: float = 0.95
    start: tuple[Annotated[Step, ByKind()], ...] = (Prune(),)
    retrain: Retrain = field(default_factory=Retrain)
    looks: Looks = field(default_factory=Looks)
    label: str = ""

    def __post_init__(self) -> None:
        check_confidence("until_met", self.confidence)
        check_start(self.start, "until_met: its start")
        if not 0 < self.increment <= self.most < math.inf:
            raise PlanError(
                f"until_met: increments of {self.increment} up to {self.most} epochs",
                hint="give a positive increment that is not above a finite 'most'",
            )

    @property
    def name(self) -> str:
        """Name in tables."""
        repaired = "" if self.start == (Prune(),) else "Repair + "
        return self.label or f"{repaired}UntilMet({self.increment:g})"

    @property
    def hopeless_once_trained(self) -> float:
        """Chance of a yes at the end below which looking on at a retrained network is given up."""
        return HOPELESS if self.looks.hopeless is None else self.looks.hopeless

    def next(
        self,
        group: Group,
        constraint: Constraint,
        seen: Sequence[Observation],
        table: ResilienceTable | None,  # noqa: ARG002
    ) -> Action:
        """Look after every increment."""
        if (action := settled(group, constraint, self.start)) is not None:
            return action if seen else Prune()
        start = ready_to_ship(self.start, self.retrain.recalibrate)
        if len(seen) < len(start):
            return start[len(seen)]
        alpha = alpha_of_look(1 - self.confidence, max(1, networks_looked_at(seen)))
        verdict = self.looks.judge(seen, alpha)
        if isinstance(verdict, Measure):
            return verdict
        if verdict:
            return Ship(f"'{constraint}' holds with confidence {self.confidence:g}")
        done = retrained_epochs(tuple(observation.step for observation in seen))
        left = round(self.most - done, 9)
        if left <= 0:
            return Scrap(f"'{constraint}' not shown to hold within {self.most:g} epochs")
        return replace(self.retrain, epochs=min(self.increment, left))
