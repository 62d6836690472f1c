"""What repair costs, in epoch-equivalents (EE) and seconds.

One epoch of fault-aware training over the full training split is 1 EE. A forward pass over ``m``
samples is a third of a training step's work on them.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, fields

from chipmend.network.task import Task
from chipmend.steps import Labels, Retrain


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A cost by what it went into.

    Args:
        retrain: EE of training steps.
        recalibrate: EE of passes over calibration inputs.
        algebra: EE of closed forms and assignments, by their multiply-adds.
        measure: EE of looks at the validation split.
        seconds: Wall-clock time, on the threads of one worker.
    """

    retrain: float = 0.0
    recalibrate: float = 0.0
    algebra: float = 0.0
    measure: float = 0.0
    seconds: float = 0.0

    @property
    def ee(self) -> float:
        """Epoch-equivalents in all."""
        return self.retrain + self.recalibrate + self.algebra + self.measure

    def __add__(self, other: "Cost") -> "Cost":
        return self._with(other, operator.add)

    def __sub__(self, other: "Cost") -> "Cost":
        return self._with(other, operator.sub)

    def __truediv__(self, shares: int) -> "Cost":
        return Cost(**{part.name: getattr(self, part.name) / shares for part in fields(self)})

    def _with(self, other: "Cost", combine: Callable[[float, float], float]) -> "Cost":
        parts = [part.name for part in fields(self)]
        return Cost(**{p: combine(getattr(self, p), getattr(other, p)) for p in parts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What it cost to get to a recipe's end.

    Args:
        along: Along the last step's trajectory.
        once: Once there.
    """

    along: Cost = field(default_factory=Cost)
    once: Cost = field(default_factory=Cost)


def forward_pass(samples: int, task: Task) -> float:
    """EE of a forward pass over some samples."""
    return samples / (3 * len(task.train))


def ee_of_an_epoch(step: Retrain) -> float:
    """EE of an epoch of retraining: one, and the forward pass of a teacher, which is a third."""
    return 1.0 if isinstance(step.teacher, Labels) else 4 / 3
