"""Re-mending: chips that have shipped before go on from what they have, and only then anew.

The network that a chip was shipped is patched and looked at. Where the constraint cannot be shown
any more, a network that had been retrained is trained on, if the policy retrains by increments and
the chip has no fewer faults than then: for as long as it had been trained at most, so that no more
is lost by it than was spent before. What that does not do for the policy mends as if it were new.
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
    Promises,
    Ship,
)
from chipmend.recipes import retrained_epochs
from chipmend.resilience.analysis import Analysis
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Measure, Patch, Recipe, Retrain, Step

CONFIDENCE = 0.95
"""Confidence that a patched network meets the constraint, where the policy states none."""
ALPHA_PATCHED, ALPHA_TRAINED_ON = 0.5, 0.25
"""Shares of the error probability that a patched network may spend, and networks that are trained
on from one; the policy has the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a chip was shipped before.

    Args:
        patch: The step that goes on from it.
        steps: What had been done.
        effective_rate: Share of the network's weights that were on the chip's faulty PEs then.
        effective_bit_rate: Share of the bits of the network's weights that were stuck then.
    """

    patch: Patch
    steps: Recipe = ()
    effective_rate: float = 0.0
    effective_bit_rate: float = 0.0

    def behind(self, die: Die) -> Recipe:
        """What tells of a chip as it is now: nothing where it has fewer faults than it had."""
        fewer = die.effective_rate < self.effective_rate
        return () if fewer or die.effective_bit_rate < self.effective_bit_rate else self.steps


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
        """The policy's, without what is only there to promise something."""
        return self._own.analysis(usual, constraint)

    def plan(
        self, dies: Sequence[Die], constraint: Constraint, table: ResilienceTable | None
    ) -> list[Group]:
        """Chips that have shipped each alone, the others as the policy puts them."""
        shipped = [die for die in dies if die.chip.id in self.before]
        new = [die for die in dies if die.chip.id not in self.before]
        alone = [
            replace(group, shipped=self.before[die.chip.id].behind(die))
            for die in shipped
            for group in self._own.plan([die], constraint, table)
        ]
        others = self._own.plan(new, constraint, table) if new else []
        return [*alone, *others]

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
            return self._own.next(group, constraint, seen, table)
        if not seen:
            return before.patch
        looked = _begins(seen, Patch, Measure)
        if len(looked) == len(seen):
            verdict = self._looks.judge(looked, self._alpha_patched)
            if isinstance(verdict, Measure):
                return verdict
            if verdict:
                sure = 1 - self._alpha_patched
                return Ship(f"'{constraint}' holds after a patch with confidence {sure:g}")
        how, longest = self._own, retrained_epochs(group.shipped)
        if not (longest and isinstance(how, ByIncrements) and self._states_confidence):
            left = (1 - ALPHA_PATCHED) * self._alpha
            return self._anew(left).next(group, constraint, seen[len(looked) :], table)
        trained = _begins(seen, Patch, Measure, Retrain)
        if len(trained) == len(seen):
            action = self._trained_on(how, constraint, seen, min(longest, how.most))
            if action is not None:
                return action
        left = (1 - ALPHA_PATCHED - ALPHA_TRAINED_ON) * self._alpha
        return self._anew(left).next(group, constraint, seen[len(trained) :], table)

    def _trained_on(
        self, how: ByIncrements, constraint: Constraint, seen: Sequence[Observation], most: float
    ) -> Action | None:
        """Train a patched network on, look, and ship; none once it has been trained enough."""
        done = retrained_epochs(tuple(observation.step for observation in seen))
        if done:
            spent = ALPHA_TRAINED_ON * self._alpha
            alpha = alpha_of_look(spent, max(1, networks_looked_at(seen) - 1))
            looks = replace(self._looks, hopeless=how.hopeless_once_trained)
            verdict = looks.judge(seen, alpha)
            if isinstance(verdict, Measure):
                return verdict
            if verdict:
                return Ship(f"'{constraint}' holds trained on with confidence {1 - spent:g}")
        left = round(most - done, 9)
        return replace(how.retrain, epochs=min(how.increment, left)) if left > 0 else None

    @cached_property
    def _own(self) -> Policy:
        """The policy that promises nothing: chips are not like those of a trial lot.

        Some of them are left of an earlier lot.
        """
        policy = self.policy
        return policy.unpromising() if isinstance(policy, Promises) else policy

    @property
    def _alpha_patched(self) -> float:
        """Error probability that a patched network may spend, as if it had been fixed before."""
        if not self._states_confidence:
            return 1 - CONFIDENCE
        return ALPHA_PATCHED * self._alpha

    @property
    def _alpha(self) -> float:
        return 1 - float(getattr(self._own, "confidence", CONFIDENCE))

    @property
    def _looks(self) -> Looks:
        return getattr(self._own, "looks", Looks())

    @property
    def _states_confidence(self) -> bool:
        return is_dataclass(self._own) and hasattr(self._own, "confidence")

    def _anew(self, left: float) -> Policy:
        """The policy, with what is left of the error probability."""
        if not self._states_confidence:
            return self._own
        return replace(self._own, confidence=1 - left)  # pyright: ignore[reportArgumentType]


def _begins(seen: Sequence[Observation], *kinds: type[Step]) -> Sequence[Observation]:
    """The beginning of what was seen that is of some kinds of step."""
    for place, observation in enumerate(seen):
        if not isinstance(observation.step, kinds):
            return seen[:place]
    return seen
