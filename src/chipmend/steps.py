"""The repair actions as plain data: one declaration is Python API, plan table and stored record.

What an action does lives in ``repairs``, a file per step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from chipmend.errors import PlanError
from chipmend.records import ByKind

_STRICT = {"extra": "forbid"}
MOST_EPOCHS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Zero the weights on faulty PEs (FAP)."""

    __pydantic_config__ = _STRICT

    kind: Literal["prune"] = "prune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibrate:
    """Estimate the statistics of batch norms anew, from unlabelled training inputs.

    Args:
        samples: How many inputs; fewer if the training split is smaller.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["recalibrate"] = "recalibrate"
    samples: int = 2048

    def __post_init__(self) -> None:
        if not isinstance(self.samples, int) or self.samples < 2:
            raise PlanError(
                f"recalibrate: {self.samples} samples give no variance",
                hint="give a whole number, at least 2",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anytime:
    """A constant learning rate, and a running average of the weights that favours the latest.

    An amount of retraining then means the same alone as along a longer trajectory.

    Args:
        averaging: How strongly late weights count: the average at step ``t`` weighs step ``i`` as
            about ``i ** averaging`` (polynomial-decay averaging, Shamir and Zhang 2013).
    """

    __pydantic_config__ = _STRICT

    kind: Literal["anytime"] = "anytime"
    averaging: float = 3.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.averaging) and self.averaging >= 0):
            raise PlanError(
                f"anytime: averaging {self.averaging}", hint="give a finite number from 0 up"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decaying:
    """A learning rate that falls to zero along a cosine, made for one amount alone."""

    __pydantic_config__ = _STRICT

    kind: Literal["decaying"] = "decaying"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """Train on with the faulty weights held at zero (FAT), then recalibrate.

    Two retrainings in a row with the same settings are one of their summed amount.

    Args:
        epochs: Passes over the training split; fractions are fine.
        learning_rate: Peak learning rate.
        batch: Samples per step.
        weight_decay: Decay of the weights, per unit of learning rate.
        schedule: How the learning rate goes.
        recalibrate: What follows every retraining.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["retrain"] = "retrain"
    epochs: float = 1.0
    learning_rate: float = 0.02
    batch: int = 128
    weight_decay: float = 5e-4
    schedule: Annotated[Anytime | Decaying, ByKind()] = field(default_factory=Anytime)
    recalibrate: Recalibrate = field(default_factory=Recalibrate)

    def __post_init__(self) -> None:
        if not 0 < self.epochs <= MOST_EPOCHS:
            raise PlanError(
                f"retrain: {self.epochs} epochs",
                hint=f"give a positive number of at most {MOST_EPOCHS:,}",
            )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise PlanError(
                f"retrain: a learning rate of {self.learning_rate}",
                hint="give a positive, finite number",
            )
        if not isinstance(self.batch, int) or self.batch < 1:
            raise PlanError(
                f"retrain: a batch of {self.batch}", hint="give a whole number, at least 1"
            )
        if not isinstance(self.schedule, Anytime | Decaying):
            raise PlanError(
                f"retrain: the schedule is {self.schedule!r}", hint="give Anytime() or Decaying()"
            )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise PlanError(
                f"retrain: weight decay {self.weight_decay}", hint="give a finite number from 0 up"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Look at the validation split. Changes nothing, and is on the bill."""

    __pydantic_config__ = _STRICT

    kind: Literal["measure"] = "measure"


Step = Prune | Recalibrate | Retrain | Measure
Recipe = tuple[Step, ...]
"""The ordered steps for one chip."""


def check_recipe(recipe: Sequence[Step], whose: str) -> None:
    """Refuse a recipe whose network would run on faulty PEs, or that is none.

    Args:
        recipe: The steps.
        whose: Whose they are, for the error.

    Raises:
        PlanError: Something in it is no step, or it does not begin with pruning.
    """
    if isinstance(recipe, Step):
        raise PlanError(f"{whose} is a single {recipe.kind}", hint="give a list of steps")
    for step in recipe:
        if not isinstance(step, Step):
            raise PlanError(
                f"{whose}: {step!r} is no step",
                hint="give Prune(), Recalibrate(), Retrain() or Measure()",
            )
    if not isinstance(next(iter(recipe), None), Prune):
        raise PlanError(
            f"{whose} does not begin with pruning, so what it ships would run on faulty PEs",
            hint="let the steps begin with prune",
        )


def retrained_epochs(recipe: Recipe) -> float:
    """Epochs of retraining in a recipe.

    Example:
        >>> retrained_epochs((Prune(), Retrain(epochs=0.5), Retrain(epochs=0.25)))
        0.75
    """
    return sum(step.epochs for step in recipe if isinstance(step, Retrain))
