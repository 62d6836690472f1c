"""Fixed policies: the same steps for every chip, whatever its faults.

References:
    [Zhang2018] Zhang, Gu, Basu, Garg, "Analyzing and mitigating the impact of permanent faults on
        a systolic array based neural network accelerator", VTS 2018 (FAP+T).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from chipmend.confidence.constraint import Constraint
from chipmend.errors import PlanError
from chipmend.policy.protocol import Action, Alone, Die, Group, Observation, Ship, each_alone
from chipmend.recipes import amount_steps, check_recipe, check_start
from chipmend.records import ByKind
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Decaying, Prune, Recipe, Retrain, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedSteps(Alone):
    """Carry out the same steps on every chip, look at nothing, and ship.

    Args:
        steps: The steps, in order.
        label: Name in tables.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["steps"] = "steps"
    steps: tuple[Annotated[Step, ByKind()], ...] = (Prune(),)
    label: str = "FAP"

    def __post_init__(self) -> None:
        check_recipe(self.steps, f"steps: {self.label!r}")

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.label

    def next(
        self,
        group: Group,  # noqa: ARG002
        constraint: Constraint,  # noqa: ARG002
        seen: Sequence[Observation],
        table: ResilienceTable | None,  # noqa: ARG002
    ) -> Action:
        """The next step of the list."""
        return self.steps[len(seen)] if len(seen) < len(self.steps) else Ship()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed(Alone):
    """Retrain every chip by the same amount (FAP+T).

    Args:
        epochs: The amount; 0 is pruning and recalibration.
        decaying: Whether the learning rate decays over the amount, rather than staying constant
            under weight averaging.
        start: What comes before retraining.
        retrain: How to retrain; its amount and schedule do not count.
        label: Name in tables; made of the amount where none is given.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["fixed"] = "fixed"
    epochs: float
    decaying: bool = False
    start: tuple[Annotated[Step, ByKind()], ...] = (Prune(),)
    retrain: Retrain = field(default_factory=Retrain)
    label: str = ""

    def __post_init__(self) -> None:
        check_start(self.start, "fixed: its start")
        if not (math.isfinite(self.epochs) and self.epochs >= 0):
            raise PlanError(f"fixed: {self.epochs} epochs", hint="give a finite number, 0 or more")

    @property
    def name(self) -> str:
        """Name in tables."""
        repaired = "" if self.start == (Prune(),) else "Repair + "
        amount = f"{self.epochs:g}{', decaying' if self.decaying else ''}"
        return self.label or f"{repaired}Fixed({amount})"

    def plan(
        self,
        dies: Sequence[Die],
        constraint: Constraint,  # noqa: ARG002
        table: ResilienceTable | None,  # noqa: ARG002
    ) -> list[Group]:
        """Every chip alone."""
        return each_alone(dies, self.epochs)

    def next(
        self,
        group: Group,  # noqa: ARG002
        constraint: Constraint,  # noqa: ARG002
        seen: Sequence[Observation],
        table: ResilienceTable | None,  # noqa: ARG002
    ) -> Action:
        """Prune, retrain, ship."""
        steps = self._steps()
        return steps[len(seen)] if len(seen) < len(steps) else Ship()

    def _steps(self) -> Recipe:
        decaying = replace(self.retrain, schedule=Decaying())
        return amount_steps(self.epochs, decaying if self.decaying else self.retrain, self.start)
