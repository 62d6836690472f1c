"""Looking at as much of the validation split as it takes to decide, and no more.

Each network that is looked at spends a share of the error probability, by the union bound; looks at
more and more images of one network share that share out among them as a group-sequential test does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chipmend.confidence.intervals import Measured
from chipmend.confidence.sequential import check_shares, levels, outlook
from chipmend.errors import PlanError
from chipmend.policy.protocol import Observation
from chipmend.steps import Assess, Measure

HOPELESS = 0.1
"""Chance of a yes at the end below which looking on is given up, unless a policy knows better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How a network is looked at.

    Args:
        shares: Shares of the validation split, ascending to 1; after each the test may end.
        hopeless: Chance of a yes at the end below which looking on is given up: by default 0.1, and
            0.005 in the cascade, which gives up earlier where there is a rung above.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
    hopeless: float | None = None

    def __post_init__(self) -> None:
        check_shares(self.shares)
        if self.hopeless is not None and not 0 <= self.hopeless < 1:
            raise PlanError(
                f"looks: hopeless below a chance of {self.hopeless}",
                hint="give a fraction from 0 up to 1; 0 never gives up early",
            )

    def judge(self, seen: Sequence[Observation], alpha: float) -> bool | Measure:
        """Decide on the network as it stands.

        Args:
            seen: All that was done and seen so far.
            alpha: Probability of a wrong yes that this network may spend.

        Returns:
            Whether the constraint holds, or the next look that it takes to say so.
        """
        found = looks_at_this(seen)
        if not found:
            return Measure(share=self.shares[0])
        bars = levels(alpha, self.shares)
        last, share = found[-1], self.shares[len(found) - 1]
        if last.p_value <= bars[len(found) - 1]:
            return True
        hopeless = HOPELESS if self.hopeless is None else self.hopeless
        if share == 1 or outlook(last.p_value, share, bars[-1]) < hopeless:
            return False
        return Measure(share=self.shares[len(found)])


def looks_at_this(seen: Sequence[Observation]) -> list[Measured]:
    """Looks at the network as it stands."""
    found: list[Measured] = []
    for observation in reversed(seen):
        if observation.measured is not None:
            found.append(observation.measured)
        elif not isinstance(observation.step, Assess):
            break
    return found[::-1]


def networks_looked_at(seen: Sequence[Observation]) -> int:
    """How many networks were looked at."""
    shown, count = False, 0
    for observation in seen:
        if observation.measured is not None:
            count += not shown
            shown = True
        elif not isinstance(observation.step, Assess):
            shown = False
    return count


def check_confidence(whose: str, confidence: float, what: str = "confidence") -> None:
    """Refuse what is no confidence.

    Raises:
        PlanError: Says whose.
    """
    if not 0 < confidence < 1:
        raise PlanError(f"{whose}: a {what} of {confidence}", hint="give a fraction, as 0.95")
