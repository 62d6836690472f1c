"""What a policy is: it decides, and never trains.

A policy first puts the lot's chips into groups that share one network, then is asked what to do
with each group until it ships or scraps it. It sees fault rates, the resilience table and what was
measured on validation; it never sees a network or the test split. Any object with these members
will do, as long as it can be pickled and its answers depend on nothing but its arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from chipmend.confidence.constraint import Constraint, Drop
from chipmend.confidence.coverage import Kept
from chipmend.confidence.intervals import Measured
from chipmend.errors import PlanError
from chipmend.faults.maps import Chip
from chipmend.recipes import is_quantized
from chipmend.resilience.analysis import Analysis
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Recipe, Retrain, Step


@dataclass(frozen=True, slots=True)
class Die:
    """A chip as a policy sees it.

    Args:
        chip: Identity and fault map.
        effective_rate: Share of the network's weights on its faulty PEs (base: per weight).
        effective_bit_rate: Share of the bits of the network's weights that are stuck.
        weights_per_pe: Weights of the network on each PE, whatever the chip; none if nobody said.
        in_codes: Whether networks of its lot ship as codes, since a chip of it has stuck bits; or
            whether this one has, where nobody said.
    """

    chip: Chip
    effective_rate: float
    effective_bit_rate: float = 0.0
    weights_per_pe: Int64[np.ndarray, "rows cols"] | None = field(
        default=None, repr=False, compare=False
    )
    in_codes: bool | None = None

    @property
    def ships_codes(self) -> bool:
        """Whether what ships has to be codes."""
        return self.chip.faults.needs_codes if self.in_codes is None else self.in_codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Chips that get one network.

    Args:
        chips: Their identities.
        epochs: Retraining that the policy planned for them; infinite if none would do.
        reason: Why.
        effective_rate: Share of the weights on what is faulty in any of them; none if nobody said.
        in_codes: Whether what ships has to be codes, since some chip of the lot has stuck bits.
        shipped: What had been done with what they were shipped before; nothing if they are new, or
            have fewer faults than then.
        exchangeable: Whether they come as the chips of a trial lot do, so that what is promised by
            it is promised of them.
    """

    chips: tuple[str, ...]
    epochs: float = 0.0
    reason: str = ""
    effective_rate: float | None = None
    in_codes: bool = False
    shipped: Recipe = ()
    exchangeable: bool = True


@dataclass(frozen=True, slots=True)
class Observation:
    """A step that was carried out, and what it told.

    Args:
        step: The step.
        measured: What a look at the validation split said.
        damage: What an assessment said.
    """

    step: Step
    measured: Measured | None = None
    damage: float | None = None


@dataclass(frozen=True, slots=True)
class Ship:
    """The network as it stands goes to the group's chips."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scrap:
    """The group's chips get no network."""

    reason: str


Action = Step | Ship | Scrap


class Policy(Protocol):
    """Decides how much repair each chip gets."""

    @property
    def name(self) -> str:
        """Short name in tables; policies of one campaign have different ones."""
        ...

    def analysis(self, usual: Analysis, constraint: Constraint) -> Analysis | None:
        """The analysis whose table the policy goes by, and pays for; none if it needs none.

        Args:
            usual: The analysis of the plan, to take or to change.
            constraint: What each chip has to reach.
        """
        ...

    def plan(
        self, dies: Sequence[Die], constraint: Constraint, table: ResilienceTable | None
    ) -> list[Group]:
        """Put every die into exactly one group."""
        ...

    def next(
        self,
        group: Group,
        constraint: Constraint,
        seen: Sequence[Observation],
        table: ResilienceTable | None,
    ) -> Action:
        """Say what to do with a group, given everything that was done with it so far."""
        ...


@runtime_checkable
class Promises(Policy, Protocol):
    """A policy that promises coverage."""

    @property
    def coverage(self) -> float | None:
        """Share of the chips concerned that is to meet the constraint; none to promise nothing."""
        ...

    @property
    def concerned(self) -> str:
        """Which chips that is said of, in words."""
        ...

    def unpromising(self) -> Policy:
        """The policy for chips of which nothing is promised."""
        ...

    def promised(self, constraint: Constraint, table: ResilienceTable) -> Kept:
        """How the trial lot keeps what is promised."""
        ...


@runtime_checkable
class ByIncrements(Policy, Protocol):
    """A policy that retrains by increments, with looks between them, up to the most."""

    @property
    def retrain(self) -> Retrain:
        """How."""
        ...

    @property
    def increment(self) -> float:
        """Epochs between two looks."""
        ...

    @property
    def most(self) -> float:
        """Epochs after which a chip is given up."""
        ...

    @property
    def hopeless_once_trained(self) -> float:
        """Chance of a yes at the end below which looking on at a retrained network is given up."""
        ...


class Alone:
    """What policies that mend every chip by itself have in common.

    They go by no analysis unless they say which.
    """

    __slots__ = ()

    def analysis(self, usual: Analysis, constraint: Constraint) -> Analysis | None:  # noqa: ARG002
        """It needs no analysis."""
        return None

    def plan(
        self,
        dies: Sequence[Die],
        constraint: Constraint,  # noqa: ARG002
        table: ResilienceTable | None,  # noqa: ARG002
    ) -> list[Group]:
        """Every chip alone."""
        return each_alone(dies)


def each_alone(dies: Sequence[Die], epochs: float = 0.0, reason: str = "") -> list[Group]:
    """A group of its own for every die."""
    return [
        Group(
            chips=(die.chip.id,),
            epochs=epochs,
            reason=reason,
            effective_rate=die.effective_rate,
        )
        for die in dies
    ]


def settled(group: Group, constraint: Constraint, start: Sequence[Step]) -> Ship | Scrap | None:
    """What needs no look: a drop of chips that lose no weight, or that lose them all.

    Args:
        group: The chips.
        constraint: What they have to reach.
        start: What is done first; codes have to be looked at, whatever PEs are faulty.
    """
    if group.effective_rate == 1:
        return Scrap("all weights are on faulty PEs")
    if group.effective_rate == 0 and isinstance(constraint, Drop) and not is_quantized(start):
        return Ship("no weight is on a faulty PE")
    return None


def check_policies(policies: Sequence[Policy]) -> None:
    """Refuse what cannot decide together.

    Raises:
        PlanError: No policy, something that is none, or two of one name.
    """
    if not isinstance(policies, list | tuple):
        raise PlanError(f"{policies!r} is no list of policies", hint="write [policy]")
    if not policies:
        raise PlanError("no policy", hint="give at least one")
    for policy in policies:
        lacking = [name for name in _MEMBERS if not hasattr(policy, name)]
        if lacking:
            raise PlanError(
                f"{policy!r} is no policy: it lacks {', '.join(lacking)}",
                hint="give a policy of chipmend.policy, or an object with all members of Policy",
            )
    names = [policy.name for policy in policies]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise PlanError(
            f"policies of the same name: {', '.join(double)}",
            hint="give each policy once; a label tells two apart",
        )


_MEMBERS = ("name", "analysis", "plan", "next")
