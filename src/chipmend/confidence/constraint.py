"""What a chip's network has to reach, as a margin per sample whose mean has to be >= 0.

A drop is paired: the clean network is scored on the same images, which takes out how hard the
images are, so far fewer of them decide.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from chipmend.confidence.intervals import (
    Measured,
    at_least,
    bounded_p_value,
    paired_p_value,
    reach,
    worth_of_a_hit,
)
from chipmend.errors import ConstraintError

_STRICT = {"extra": "forbid"}
ROUNDING = 1e-9
"""More than means of hits are rounded by, and less than any sample counts."""


@dataclass(frozen=True, slots=True)
class Drop:
    """At most so much worse than the clean network on the same images.

    Args:
        drop: Fraction of accuracy; 0.018 is 1.8 points.
    """

    __pydantic_config__ = _STRICT

    drop: float

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise ConstraintError(
                f"a drop of {self.drop} is no constraint that can be met or missed",
                hint="give a fraction from 0 up to 1; 0.018 is 1.8 points",
            )

    def __str__(self) -> str:
        return f"drop <= {100 * self.drop:g} points"

    def margins(
        self, scores: Float[np.ndarray, " samples"], clean: Float[np.ndarray, " samples"]
    ) -> Float[np.ndarray, " samples"]:
        """Margin of every sample from the scores of the repaired and of the clean network."""
        return scores.astype(np.float64) - clean + self.drop

    def p_value(
        self, scores: Float[np.ndarray, " samples"], clean: Float[np.ndarray, " samples"]
    ) -> float:
        """Probability of such scores or better if the drop were just more than allowed.

        For hits and misses a test that holds where few images differ. Other scores are taken to
        lie between the lowest and the highest seen and zero, and take more images: two to four
        times as many, were hits tested so.
        """
        if worth := worth_of_a_hit(scores, clean):
            if self.drop >= worth:
                return 0.0
            lost, gained = int((clean > scores).sum()), int((scores > clean).sum())
            return paired_p_value(lost, gained, len(scores), self.drop / worth)
        low, high = reach(scores, clean)
        return bounded_p_value(self.margins(scores, clean), low - high + self.drop)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """At least so accurate.

    Args:
        accuracy: Fraction; 0.91 is 91 %.
    """

    __pydantic_config__ = _STRICT

    accuracy: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.accuracy) and 0 <= self.accuracy <= 1):
            raise ConstraintError(
                f"an accuracy of {self.accuracy} cannot be met",
                hint="give a fraction from 0 to 1; 0.91 is 91 %",
            )

    def __str__(self) -> str:
        return f"accuracy >= {100 * self.accuracy:g} %"

    def margins(
        self,
        scores: Float[np.ndarray, " samples"],
        clean: Float[np.ndarray, " samples"],  # noqa: ARG002
    ) -> Float[np.ndarray, " samples"]:
        """Margin of every sample from the scores of the repaired network."""
        return scores.astype(np.float64) - self.accuracy

    def p_value(
        self, scores: Float[np.ndarray, " samples"], clean: Float[np.ndarray, " samples"]
    ) -> float:
        """Probability of such scores or better if the accuracy were just below; exact for hits."""
        if worth := worth_of_a_hit(scores):
            return at_least(int((scores > 0).sum()), len(scores), min(1.0, self.accuracy / worth))
        return bounded_p_value(self.margins(scores, clean), reach(scores)[0] - self.accuracy)


Constraint = Drop | Accuracy


def implies(one: Constraint, other: Constraint) -> bool:
    """Whether whatever meets one constraint is known to meet another.

    Example:
        >>> implies(Drop(0.01), Drop(0.02)), implies(Accuracy(0.9), Drop(0.02))
        (True, False)
    """
    if isinstance(one, Drop) and isinstance(other, Drop):
        return one.drop <= other.drop
    if isinstance(one, Accuracy) and isinstance(other, Accuracy):
        return one.accuracy >= other.accuracy
    return False


def check_constraint(constraint: object) -> None:
    """Refuse what is no constraint.

    Raises:
        ConstraintError: Says what it is.
    """
    if not isinstance(constraint, Constraint):
        raise ConstraintError(
            f"{constraint!r} is no constraint",
            hint="give Drop(0.018) for 1.8 points below clean, or Accuracy(0.91)",
        )


def measured(
    constraint: Constraint,
    scores: Float[np.ndarray, " samples"],
    clean: Float[np.ndarray, " samples"],
) -> Measured:
    """Sum up a look at a split.

    Args:
        constraint: What is to be reached.
        scores: Scores of the repaired network.
        clean: Scores of the clean network on the same samples.

    Returns:
        Accuracy, margin, and how sure the constraint is.
    """
    margins = constraint.margins(scores, clean)
    return Measured(
        accuracy=float(np.mean(scores)),
        margin=float(margins.mean()),
        p_value=constraint.p_value(scores, clean),
        samples=len(scores),
        error=float(margins.std() / math.sqrt(len(scores))),
    )


def holds(
    constraint: Constraint,
    scores: Float[np.ndarray, " samples"],
    clean: Float[np.ndarray, " samples"],
) -> bool:
    """Whether a constraint holds on these very samples; meeting it exactly is meeting it."""
    return bool(constraint.margins(scores, clean).mean() >= -ROUNDING)


def check_reachable(constraint: Constraint, clean: Float[np.ndarray, " samples"]) -> None:
    """Refuse a constraint that the clean network itself misses on validation.

    Raises:
        ConstraintError: Repair does not make a network better than it was.
    """
    if not holds(constraint, clean, clean):
        raise ConstraintError(
            f"no chip can meet '{constraint}': the clean network has {100 * clean.mean():.2f} % "
            "on validation",
            hint="lower the constraint, or start from a better network",
        )
