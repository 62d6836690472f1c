"""Re-mending: chips that have shipped before go on from what they have, and only then anew.

The network that a chip was shipped is patched and looked at. Where the constraint cannot be shown
any more, a network that had been retrained is trained on, if the policy retrains by increments;
other chips the policy mends as if they were new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property

from chipmend.confidence.constraint import Constraint
from chipmend.confidence.sequential import alpha_of_look
from chipmend.policy.looks import Looks, networks_looked_at
from chipmend.policy.protocol import (
    Action,
    ByIncrements,
    Die,
    Group,
    Observation,
    Policy,
    Scrap,
    Ship,
)
from chipmend.recipes import retrained_epochs
from chipmend.resilience.analysis import Analysis
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Measure, Patch, Recipe

CONFIDENCE = 0.95
"""Confidence that a patched network meets the constraint, where the policy states none."""
ALPHA_PATCHED = 0.5
"""Share of the error probability that a patched network may spend; the policy has the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a chip was shipped before.

    Args:
        patch: The step that goes on from it.
        steps: What had been done.
    """

    patch: Patch
    steps: Recipe = ()


@dataclass(frozen=True)
class Remend:
    """A policy over chips of which some have shipped before.

    Args:
        policy: Who decides about chips that are mended anew.
        before: What chips were shipped, by their identities.
    """

    policy: Policy
    before: Mapping[str, Before]

    @property
    def name(self) -> str:
        """The policy's."""
        return self.policy.name

    def analysis(self, usual: Analysis, constraint: Constraint) -> Analysis | None:
        """The policy's."""
        return self.policy.analysis(usual, constraint)

    def plan(
        self, dies: Sequence[Die], constraint: Constraint, table: ResilienceTable | None
    ) -> list[Group]:
        """Chips that have shipped each alone, the others as the policy puts them.

        None of them is like those of a trial lot: some are left of an earlier lot.
        """
        shipped = [die for die in dies if die.chip.id in self.before]
        new = [die for die in dies if die.chip.id not in self.before]
        alone = [
            replace(group, shipped=self.before[die.chip.id].steps)
            for die in shipped
            for group in self.policy.plan([die], constraint, table)
        ]
        others = self.policy.plan(new, constraint, table) if new else []
        return [replace(group, exchangeable=False) for group in (*alone, *others)]

    def next(
        self,
        group: Group,
        constraint: Constraint,
        seen: Sequence[Observation],
        table: ResilienceTable | None,
    ) -> Action:
        """Patch, look, ship; train on, or mend anew, what that does not do for."""
        before = self.before.get(group.chips[0])
        if before is None:
            return self.policy.next(group, constraint, seen, table)
        if not seen:
            return before.patch
        looked = _of_patch(seen)
        if len(looked) == len(seen):
            verdict = self._looks.judge(looked, self._alpha_patched)
            if isinstance(verdict, Measure):
                return verdict
            if verdict:
                sure = 1 - self._alpha_patched
                return Ship(f"'{constraint}' still holds with confidence {sure:g}")
        if isinstance(self.policy, ByIncrements) and retrained_epochs(before.steps):
            return self._trained_on(self.policy, constraint, seen)
        return self._anew.next(group, constraint, seen[len(looked) :], table)

    def _trained_on(
        self, how: ByIncrements, constraint: Constraint, seen: Sequence[Observation]
    ) -> Action:
        """Train a patched network on, look, and ship or give up."""
        done = retrained_epochs(tuple(observation.step for observation in seen))
        if done:
            left = self._alpha_left
            alpha = alpha_of_look(left, max(1, networks_looked_at(seen) - 1))
            verdict = self._looks.judge(seen, alpha)
            if isinstance(verdict, Measure):
                return verdict
            if verdict:
                return Ship(f"'{constraint}' holds again with confidence {1 - left:g}")
        if (left := round(how.most - done, 9)) <= 0:
            return Scrap(
                f"'{constraint}' not shown to hold again within {how.most:g} epochs after a patch"
            )
        return replace(how.retrain, epochs=min(how.increment, left))

    @property
    def _alpha_patched(self) -> float:
        """Error probability that a patched network may spend, as if it had been fixed before."""
        if not self._states_confidence:
            return 1 - CONFIDENCE
        return ALPHA_PATCHED * self._alpha

    @property
    def _alpha_left(self) -> float:
        """Error probability that is left once a patched network has been looked at."""
        return (1 - ALPHA_PATCHED) * self._alpha

    @property
    def _alpha(self) -> float:
        return 1 - float(getattr(self.policy, "confidence", CONFIDENCE))

    @property
    def _looks(self) -> Looks:
        return getattr(self.policy, "looks", Looks())

    @property
    def _states_confidence(self) -> bool:
        return is_dataclass(self.policy) and hasattr(self.policy, "confidence")

    @cached_property
    def _anew(self) -> Policy:
        """The policy, with what is left of the error probability."""
        if not self._states_confidence:
            return self.policy
        confidence = 1 - self._alpha_left
        return replace(self.policy, confidence=confidence)  # pyright: ignore[reportArgumentType]


def _of_patch(seen: Sequence[Observation]) -> Sequence[Observation]:
    """The patch, and the looks at what came of it."""
    for place, observation in enumerate(seen):
        if not isinstance(observation.step, Patch | Measure):
            return seen[:place]
    return seen
