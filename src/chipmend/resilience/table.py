"""The resilience table: accuracy over fault rates, amounts of retraining and repeats.

From it follows the amount of retraining that a chip needs to reach a constraint.

References:
    [Hanif2023] Hanif, Shafique, "Reduce: a framework for reducing the overheads of fault-aware
        retraining", 2023.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from chipmend.confidence.constraint import ROUNDING, Accuracy, Constraint
from chipmend.errors import TableError

Statistic = Literal["min", "mean", "max", "quantile"]
SURE = 0.025
"""P-value at which a constraint surely holds."""
UNREACHABLE = math.inf
"""The amount needed where no amount that was tried reached the constraint."""


class Point(NamedTuple):
    """What fault maps of the analysis are drawn at.

    Args:
        rate: Fault rate (base: per PE).
        bit_rate: Rate of stuck bits in the weight memory (base: per bit).
    """

    rate: float
    bit_rate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What a look at a repair without training said.

    Args:
        accuracy: Validation accuracy.
        p_value: Of the constraint that the analysis was made for.
        ee: What the repeat had cost by then, in epoch-equivalents.
    """

    accuracy: float
    p_value: float
    ee: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One repeat: a fault map, and the accuracy along its retraining.

    Args:
        rate: Fault rate that the map was drawn at (base: per PE).
        repeat: Number of the repeat at this rate.
        effective_rate: Share of the network's weights on faulty PEs (base: per weight).
        accuracies: Validation accuracy after each amount of the table; after the first few of them
            where the analysis ended early, with the constraint surely met; after none on a trial
            lot whose rungs were looked at.
        ee: What the repeat cost.
        seconds: How long it took.
        damage: Assessment of the pruned network, if rungs were looked at.
        rungs: What each rung came to.
        bit_rate: Rate of stuck bits that the map was drawn at (base: per bit).
        effective_bit_rate: Share of the bits of the network's weights that are stuck.
    """

    rate: float
    repeat: int
    effective_rate: float
    accuracies: tuple[float, ...]
    ee: float
    seconds: float
    damage: float | None = None
    rungs: tuple[Rung, ...] = ()
    bit_rate: float = 0.0
    effective_bit_rate: float = 0.0


Along = Callable[[Trajectory], float]
"""One of the rates that repeats, and chips, are told apart by."""


def faulty_pes(repeat: Trajectory) -> float:
    """Share of the weights on faulty PEs (base: per weight)."""
    return repeat.effective_rate


def stuck_bits(repeat: Trajectory) -> float:
    """Share of the weights' bits that are stuck (base: per bit)."""
    return repeat.effective_bit_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class ResilienceTable:
    """Everything that the resilience analysis measured.

    Args:
        amounts: Epochs of retraining, ascending; 0 is the start alone.
        clean_accuracy: Validation accuracy of the clean network.
        trajectories: The repeats, in the order of rate and repeat.
        trial: The chips of the trial lot, if there is one.
    """

    amounts: tuple[float, ...]
    clean_accuracy: float
    trajectories: tuple[Trajectory, ...]
    trial: tuple[Trajectory, ...] = ()

    @property
    def points(self) -> list[Point]:
        """What fault maps were drawn at, ascending."""
        return sorted({Point(t.rate, t.bit_rate) for t in self.trajectories})

    @property
    def ee(self) -> float:
        """What the whole analysis cost."""
        return sum(t.ee for t in (*self.trajectories, *self.trial))

    @property
    def seconds(self) -> float:
        """Worker seconds that the whole analysis took."""
        return sum(t.seconds for t in (*self.trajectories, *self.trial))

    def at(self, point: Point) -> list[Trajectory]:
        """The repeats whose maps were drawn at one point."""
        return [t for t in self.trajectories if (t.rate, t.bit_rate) == point]

    def needed(self, trajectory: Trajectory, constraint: Constraint) -> float:
        """Least amount from which a repeat reaches the constraint and stays there.

        Args:
            trajectory: One of the table's repeats.
            constraint: What to reach on validation.

        Returns:
            Epochs, one of the table's amounts; ``UNREACHABLE`` if the last amount still misses.
        """
        bar = accuracy_wanted(constraint, self.clean_accuracy)
        needed = UNREACHABLE
        seen = list(zip(self.amounts, trajectory.accuracies, strict=False))
        if len(seen) < len(self.amounts):  # it ended early, with the constraint surely met
            needed, _ = seen.pop()
        for amount, accuracy in reversed(seen):
            if accuracy < bar:
                break
            needed = amount
        return needed

    def just_needed(self, trajectory: Trajectory, constraint: Constraint) -> float:
        """The amount from which a repeat reaches the constraint, between two that were measured.

        Args:
            trajectory: One of the table's repeats, or of its trial lot.
            constraint: What to reach on validation.

        Returns:
            Epochs, on the line between the last look that missed and the first that did not;
            ``UNREACHABLE`` as for ``needed``.
        """
        needed = self.needed(trajectory, constraint)
        if needed in (0.0, UNREACHABLE):
            return needed
        place = self.amounts.index(needed)
        low, high = trajectory.accuracies[place - 1 : place + 1]
        bar = accuracy_wanted(constraint, self.clean_accuracy)
        before = self.amounts[place - 1]
        return before + (bar - low) / (high - low) * (needed - before)

    def needed_at_points(
        self, constraint: Constraint, statistic: Statistic, quantile: float = 1.0
    ) -> list[float]:
        """The amount needed at each point, over its repeats.

        Args:
            constraint: What to reach on validation.
            statistic: Which of the repeats' amounts to take.
            quantile: Which one, for ``quantile``: a fraction of the repeats.

        Returns:
            Epochs at each of ``points``; ``UNREACHABLE`` spoils a mean as it does a maximum.
        """
        return [
            _over_repeats([self.needed(t, constraint) for t in self.at(p)], statistic, quantile)
            for p in self.points
        ]

    def needed_for(
        self,
        effective_rate: float,
        constraint: Constraint,
        statistic: Statistic = "max",
        quantile: float = 1.0,
        *,
        effective_bit_rate: float = 0.0,
        factor: float = 1.0,
    ) -> float:
        """The amount that a chip needs, by its own effective fault rates.

        A chip with both kinds of fault needs what the worse of its two rates does: where an
        analysis draws both, maps grow worse in both at once. Monotone: a higher rate never needs
        less. Between two rates the amount is interpolated, and towards an unreachable one it is the
        largest analysed; from that one on it is unreachable. Below the lowest rate it goes to what
        a chip without faults needs, nothing; above the highest it goes on as between the last two,
        up to the largest amount analysed.

        Args:
            effective_rate: Share of the network's weights on the chip's faulty PEs.
            constraint: What to reach on validation.
            statistic: Which of the repeats' amounts to take.
            quantile: Which one, for ``quantile``.
            effective_bit_rate: Share of the bits of the network's weights that are stuck.
            factor: As for ``needed_along``.

        Returns:
            Epochs, or ``UNREACHABLE``.

        Raises:
            TableError: The chip has faults of a kind that no repeat had.
        """
        chip = ((faulty_pes, effective_rate), (stuck_bits, effective_bit_rate))
        how = {"statistic": statistic, "quantile": quantile, "factors": np.array([factor])}
        return max(
            (
                self.needed_along(along, np.array([rate]), constraint, **how).item()
                for along, rate in chip
                if rate > 0
            ),
            default=0.0,
        )

    def needed_along(
        self,
        along: Along,
        rates: Float64[np.ndarray, "*any"],
        constraint: Constraint,
        statistic: Statistic = "max",
        quantile: float = 1.0,
        factors: float | Float64[np.ndarray, "*any"] = 1.0,
    ) -> Float64[np.ndarray, "*any"]:
        """The amounts that chips need, by one of their effective fault rates alone.

        Args:
            along: Which rate.
            rates: That rate of every chip, above 0.
            constraint: What to reach on validation.
            statistic: Which of the repeats' amounts to take.
            quantile: Which one, for ``quantile``.
            factors: How many times its rate a chip is taken to have, and to need as many times the
                amount; whether it is unreachable its own rate says.

        Returns:
            Epochs of every chip, as ``needed_for`` gives them.

        Raises:
            TableError: No repeat had faults of this kind.
        """
        self._check_has(along)
        amounts = self._amounts_along(along, constraint, statistic, quantile)
        found = np.full(rates.shape, UNREACHABLE)
        reached = {rate: amount for rate, amount in amounts.items() if math.isfinite(amount)}
        if not reached:
            return found
        places, lost = list(reached), min(amounts.keys() - reached.keys(), default=math.inf)
        below = rates < lost
        taken, most = (factors * rates)[below], self.amounts[-1]
        wanted = _interpolated(taken, places, list(reached.values())).clip(max=most)
        toward_lost = (taken > places[-1]) & (lost < math.inf)
        times = np.broadcast_to(factors, rates.shape)[below]
        found[below] = (times * np.where(toward_lost, most, wanted)).clip(max=most)
        return found

    def unreachable_from(
        self,
        constraint: Constraint,
        statistic: Statistic,
        quantile: float = 1.0,
        *,
        along: Along = faulty_pes,
    ) -> float:
        """The lowest effective rate analysed at which no amount was enough.

        Args:
            constraint: What to reach on validation.
            statistic: Which of the repeats' amounts to take.
            quantile: Which one, for ``quantile``.
            along: Which rate.

        Returns:
            A fraction; infinite if every rate was reached.
        """
        amounts = self._amounts_along(along, constraint, statistic, quantile)
        return min((rate for rate, n in amounts.items() if math.isinf(n)), default=math.inf)

    def reached_up_to(
        self,
        constraint: Constraint,
        statistic: Statistic,
        quantile: float = 1.0,
        *,
        along: Along = faulty_pes,
    ) -> float:
        """The highest effective rate analysed below all at which no amount was enough.

        Args:
            constraint: What to reach on validation.
            statistic: Which of the repeats' amounts to take.
            quantile: Which one, for ``quantile``.
            along: Which rate.

        Returns:
            A fraction; 0 if no rate was reached.
        """
        amounts = self._amounts_along(along, constraint, statistic, quantile)
        return max((rate for rate, n in amounts.items() if math.isfinite(n)), default=0.0)

    def _check_has(self, along: Along) -> None:
        drawn, kind, field = (
            ([point.bit_rate for point in self.points], "stuck bits", "bit_rates")
            if along is stuck_bits
            else ([point.rate for point in self.points], "faulty PEs", "rates")
        )
        if not any(drawn):
            raise TableError(
                f"a chip with {kind}, and an analysis without any",
                hint=f"give analysis.{field} as well",
            )

    def _amounts_along(
        self, along: Along, constraint: Constraint, statistic: Statistic, quantile: float
    ) -> dict[float, float]:
        return self.rising(along, self.needed_at_points(constraint, statistic, quantile))

    def rising(self, along: Along, at_points: Sequence[float]) -> dict[float, float]:
        """Make what was found at each point a line that never falls.

        Args:
            along: By which rate.
            at_points: What was found at each of ``points``.

        Returns:
            The greatest up to each mean effective rate, ascending, from nothing without faults on.
        """
        found = [_mean([along(t) for t in self.at(point)]) for point in self.points]
        rates, values = zip((0.0, 0.0), *sorted(zip(found, at_points, strict=True)), strict=True)
        # few or tiny maps may fall on one effective rate: the last of it has the greatest value
        return dict(zip(rates, np.maximum.accumulate(values).tolist(), strict=True))


def accuracy_wanted(constraint: Constraint, clean_accuracy: float) -> float:
    """The accuracy that a constraint comes to, given the clean network's."""
    if isinstance(constraint, Accuracy):
        return constraint.accuracy - ROUNDING
    return clean_accuracy - constraint.drop - ROUNDING


def check_amounts(amounts: Sequence[float]) -> None:
    """Refuse amounts that do not ascend from zero.

    Raises:
        TableError: Says which.
    """
    steps = list(amounts)
    ascending = all(a < b < math.inf for a, b in itertools.pairwise(steps))
    if steps[:1] != [0.0] or not ascending:
        raise TableError(
            f"the amounts of an analysis are {steps}", hint="let them ascend, beginning with 0"
        )


def _over_repeats(amounts: list[float], statistic: Statistic, quantile: float) -> float:
    match statistic:
        case "min":
            return min(amounts)
        case "max":
            return max(amounts)
        case "mean":
            return _mean(amounts)
        case "quantile":
            # an order statistic, never in between; 0.28 of 25 is the 7th, whatever the rounding
            place = math.ceil(quantile * len(amounts) - 1e-9) - 1
            return sorted(amounts)[max(0, place)]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _interpolated(
    at: Float64[np.ndarray, "*any"], places: Sequence[float], values: Sequence[float]
) -> Float64[np.ndarray, "*any"]:
    """On the line between two places, and on as between the last two."""
    if len(places) == 1:
        return np.full(at.shape, values[0])
    above = np.clip(np.searchsorted(places, at), 1, len(places) - 1)
    (left, right), (low, high) = (
        (np.array(each)[above - 1], np.array(each)[above]) for each in (places, values)
    )
    return low + (at - left) / (right - left) * (high - low)
