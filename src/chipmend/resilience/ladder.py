"""What a table with rungs says of a chip: which repair will do, and how much retraining is left.

A chip is placed by its damage: an assessment from second moments, for which no sample is looked at.
Accuracy falls with damage, so what was seen of chips is fitted by a falling line [Barlow1972] whose
steps are joined at their middles [Oron2017]: then chips of different damage are told apart.

References:
    [Barlow1972] Barlow, Bartholomew, Bremner, Brunk, "Statistical inference under order
        restrictions", 1972 (isotonic regression).
    [Oron2017] Oron, Flournoy, "Centered isotonic regression: point and interval estimation for
        dose-response studies", Statistics in Biopharmaceutical Research 9(3), 2017.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from chipmend.confidence.constraint import Constraint
from chipmend.resilience.table import (
    SURE,
    UNREACHABLE,
    ResilienceTable,
    Trajectory,
    accuracy_wanted,
    faulty_pes,
)

Line = tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]
"""Places, ascending, and what falls along them."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """What a table says of its rungs.

    Args:
        table: A table whose analysis looked at rungs.
    """

    table: ResilienceTable

    def expected_accuracy(self, rung: int, damage: float) -> float:
        """Validation accuracy that a rung leads to, by a chip's damage.

        Args:
            rung: Which rung.
            damage: The chip's assessment.

        Returns:
            The accuracy on the falling line, which begins with the clean network's where there is
            no damage, and falls on as it did last beyond what was seen.
        """
        places, accuracies = self._line(rung)
        beyond = damage - places[-1]
        if beyond > 0 and len(places) > 1:
            slope = (accuracies[-1] - accuracies[-2]) / (places[-1] - places[-2])
            return max(0.0, float(accuracies[-1] + slope * beyond))
        return float(np.interp(damage, places, accuracies))

    def promising(self, first: int, damage: float, constraint: Constraint) -> int:
        """The first rung from one on that is expected to do; the last one, if none is.

        Args:
            first: The rung to begin with.
            damage: The chip's assessment.
            constraint: What to reach on validation.
        """
        last = len(self.table.trajectories[0].rungs) - 1
        bar = accuracy_wanted(constraint, self.table.clean_accuracy)
        does = (r for r in range(first, last) if self.expected_accuracy(r, damage) >= bar)
        return next(does, last)

    def recovered(self, epochs: float) -> float:
        """Share of what a repaired network lacks to the clean one that retraining gives back.

        Args:
            epochs: Amount of retraining.

        Returns:
            The median over repeats that were retrained, interpolated; the same as at the largest
            amount beyond it, and nothing if no repeat was retrained.
        """
        amounts, shares = self.recovery()
        return float(np.interp(epochs, amounts, shares))

    def recovery(self) -> tuple[list[float], list[float]]:
        """Amounts of retraining that repeats got to, and the share that each gives back."""
        lacking = [
            (t, self.table.clean_accuracy - t.accuracies[0]) for t in self.table.trajectories
        ]
        trained = [(t, lack) for t, lack in lacking if len(t.accuracies) > 1 and lack > 0]
        shares = [0.0]
        for stop in range(1, max((len(t.accuracies) for t, _ in trained), default=1)):
            at = (t.accuracies[min(stop, len(t.accuracies) - 1)] for t, _ in trained)
            found = [(a - t.accuracies[0]) / lack for a, (t, lack) in zip(at, trained, strict=True)]
            shares.append(max(shares[-1], float(np.median(found))))
        return list(self.table.amounts[: len(shares)]), shares

    def next_amount(self, epochs: float) -> float | None:
        """The least amount that the analysis tried beyond some; none if there is none."""
        amounts, _ = self.recovery()
        place = bisect_right(amounts, epochs + 1e-9)
        return amounts[place] if place < len(amounts) else None

    def expected_ee(
        self, rates: Float64[np.ndarray, "*any"], constraint: Constraint
    ) -> Float64[np.ndarray, "*any"]:
        """What chips cost that go straight to the rung that does, by their effective fault rates.

        Args:
            rates: Shares of the network's weights on faulty PEs.
            constraint: What to reach on validation.

        Returns:
            Epoch-equivalents, the mean over repeats, which never falls; infinite beyond the rates
            at which every repeat came to the constraint.
        """
        table = self.table
        means = [
            sum(self._ee(t, constraint) for t in table.at(point)) / len(table.at(point))
            for point in table.points
        ]
        found = table.rising(faulty_pes, means)
        reached = {rate: ee for rate, ee in found.items() if math.isfinite(ee)}
        if not reached:
            return np.full(rates.shape, UNREACHABLE)
        return np.interp(rates, list(reached), list(reached.values()), right=UNREACHABLE)

    def _ee(self, repeat: Trajectory, constraint: Constraint) -> float:
        """The first rung that surely does; else the last one, and retraining."""
        before = (0.0, *(rung.ee for rung in repeat.rungs))
        own = [rung.ee - less for rung, less in zip(repeat.rungs, before, strict=False)]
        for rung, ee in zip(repeat.rungs, own, strict=True):
            if rung.p_value <= SURE:
                return ee
        return sum(own[-1:]) + self.table.needed(repeat, constraint)

    def _line(self, rung: int) -> Line:
        """What a rung leads to, by damage."""
        if rung not in self._lines:
            seen = [
                (t.damage, t.rungs[rung].accuracy)
                for t in self.table.trajectories
                if t.damage is not None
            ]
            self._lines[rung] = _falling([(0.0, self.table.clean_accuracy), *seen])
        return self._lines[rung]

    @cached_property
    def _lines(self) -> dict[int, Line]:
        return {}


def _falling(points: Sequence[tuple[float, float]]) -> Line:
    """The falling line nearest to some points: the middles of its steps, and their values."""
    from scipy.optimize import isotonic_regression  # slow to import

    places, values = zip(*points, strict=True)
    each, at, counts = np.unique(places, return_inverse=True, return_counts=True)
    means = np.bincount(at, values) / counts
    fitted = isotonic_regression(means, weights=counts, increasing=False).x
    steps, step = np.unique(-fitted, return_inverse=True)
    return np.bincount(step, each * counts) / np.bincount(step, counts), -steps
