"""Retraining: how much, how the learning rate goes, and who teaches."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from chipmend.errors import PlanError
from chipmend.records import ByKind
from chipmend.steps.repair import Reestimate

_STRICT = {"extra": "forbid"}
MOST_EPOCHS = 1_000_000


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
class Labels:
    """Learn the training split's targets."""

    __pydantic_config__ = _STRICT

    kind: Literal["labels"] = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distill:
    """Learn what the network says that repairs start from; no target is looked at.

    That is the clean network, or under a margin the one that was hardened.

    The loss is the divergence of the class probabilities [Hinton2015] where the task's own is cross
    entropy, else the mean squared difference of outputs. The teacher's forward pass is on the bill.

    Args:
        temperature: Divides both networks' outputs before they become probabilities.

    References:
        [Hinton2015] Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["distill"] = "distill"
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise PlanError(
                f"distill: a temperature of {self.temperature}",
                hint="give a positive, finite number; 2 is common",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """Train on with the faulty weights held at zero (FAT), then estimate norms anew.

    Two retrainings in a row with the same anytime settings are one of their summed amount.

    Args:
        epochs: Passes over the training split; fractions are fine.
        learning_rate: Peak learning rate.
        batch: Samples per step.
        weight_decay: Decay of the weights, per unit of learning rate.
        schedule: How the learning rate goes.
        teacher: What is learnt.
        recalibrate: What follows every retraining: the norms' statistics are stale after it.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["retrain"] = "retrain"
    epochs: float = 1.0
    learning_rate: float = 0.02
    batch: int = 128
    weight_decay: float = 5e-4
    schedule: Annotated[Anytime | Decaying, ByKind()] = field(default_factory=Anytime)
    teacher: Annotated[Labels | Distill, ByKind()] = field(default_factory=Labels)
    recalibrate: Reestimate = field(default_factory=Reestimate)

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
        if not isinstance(self.teacher, Labels | Distill):
            raise PlanError(
                f"retrain: the teacher is {self.teacher!r}", hint="give Labels() or Distill()"
            )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise PlanError(
                f"retrain: weight decay {self.weight_decay}", hint="give a finite number from 0 up"
            )
