"""The cascade: on each chip the cheapest repair that surely does, and no more.

Rungs are repairs without training, cheapest first. Where a chip begins is foreseen from its damage,
by what the policy's own analysis saw on other fault maps; each rung is looked at only until the
constraint is shown or hopeless. What the last rung leaves is retrained, by an amount learnt as a
function of what is lacking; then in small steps; then the chip is scrapped.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Annotated, Literal

from chipmend.confidence.constraint import ROUNDING, Constraint
from chipmend.confidence.coverage import Kept
from chipmend.confidence.sequential import alpha_of_look, levels
from chipmend.errors import PlanError
from chipmend.policy.fusing import fused_dies
from chipmend.policy.looks import Looks, check_confidence, looks_at_this, networks_looked_at
from chipmend.policy.promise import margin_that_keeps, promising
from chipmend.policy.protocol import (
    Action,
    Die,
    Group,
    Observation,
    Scrap,
    Ship,
    each_alone,
    settled,
)
from chipmend.recipes import (
    BYPASS,
    check_leads_to,
    check_start,
    merged,
    retrained_epochs,
    steps_toward,
)
from chipmend.records import ByKind
from chipmend.resilience.analysis import Analysis
from chipmend.resilience.ladder import Ladder
from chipmend.resilience.table import ResilienceTable, accuracy_wanted, check_amounts
from chipmend.steps import (
    FAQ,
    Assess,
    Compensate,
    Distill,
    Measure,
    OneShot,
    Quantize,
    Recalibrate,
    Recipe,
    Remap,
    Retrain,
    Sequential,
    SequentialFAQ,
    Step,
)

RUNGS: tuple[Recipe, ...] = (
    BYPASS,
    (*BYPASS, Compensate(form=OneShot())),
    (Remap(), *BYPASS, Compensate(form=OneShot())),
    (Remap(), *BYPASS, Compensate(form=Sequential())),
)
"""Repairs that pay, cheapest first (docs/architecture.md)."""
CODED_RUNGS: tuple[Recipe, ...] = (
    (*BYPASS, Quantize(form=FAQ())),
    (*BYPASS, Quantize(form=FAQ()), Recalibrate()),
    (*BYPASS, Quantize(), Recalibrate()),
    (*BYPASS, Quantize(form=SequentialFAQ())),
    (Remap(), *BYPASS, Quantize(form=SequentialFAQ())),
)
"""The same for lots whose chips have stuck bits, so that what ships is codes."""
GENTLE = Retrain(learning_rate=0.005, weight_decay=0.0, teacher=Distill(temperature=4.0))
"""Retraining that does not undo repair: with the usual settings a repaired network first gets worse
and takes a third of an epoch to come back (docs/architecture.md)."""
ALPHA_LAST, ALPHA_RETRAINED = 0.6, 0.2
"""Shares of the error probability: the last rung's, all retrained networks'; the rest is for the
other rungs, whose chips mostly pass by a wide margin."""
HOPELESS_BELOW_ANOTHER, HOPELESS_BELOW_SEQUENTIAL, HOPELESS_AT_LAST = 0.4, 0.1, 0.005
"""Chance of a yes at the end below which a rung is given up for the one above it. Most rungs cost
about as much as looking on does, sequential compensation as much as several looks, and retraining
ten times as much as looking at the whole split, and a hundred times as much as the next look."""
PRIOR_SAMPLES = 1000
"""Images that what is foreseen of a chip's accuracy counts as much as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Climb from repair to repair until the constraint holds, and retrain only what is left.

    Args:
        rungs: Repairs without training, cheapest first; once one remaps, all later ones do. By
            default those that pay, which choose codes where some chip of the lot has stuck bits.
        retrain: How to retrain from the last rung; its amount does not count.
        amounts: Epochs at which the policy's analysis learns what retraining gives, from 0; none
            to do without an analysis, and climb from the first rung.
        share: Of the validation split that each look of the analysis sees.
        increment: Epochs between two networks that are looked at, where nothing was learnt, or a
            network is trained on that the chip was shipped before.
        most: Epochs after which a chip is given up.
        confidence: Confidence, over all looks together, that a chip that is shipped meets the
            constraint on images like those of the validation split.
        coverage: Share of the chips that ship without a look which are to meet the constraint, on
            images of the validation split; by default no chip ships without one. Which do is told
            by the trial lot of the analysis.
        looks: How networks are looked at.
        fuse: Whether chips share a network where the analysis says that one repair, and what
            retraining is left, costs less for all of them than for each. Chips with stuck bits stay
            alone.
        label: Name in tables.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["cascade"] = "cascade"
    rungs: tuple[tuple[Annotated[Step, ByKind()], ...], ...] = ()
    retrain: Retrain = GENTLE
    amounts: tuple[float, ...] = ()
    share: float = 0.4
    increment: float = 0.2
    most: float = 4.0
    confidence: float = 0.95
    coverage: float | None = None
    looks: Looks = field(default_factory=Looks)
    fuse: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        check_confidence("cascade", self.confidence)
        if self.coverage is not None:
            check_confidence("cascade", self.coverage, "coverage")
        Measure(share=self.share)  # refuses what is no share
        self._check_rungs()
        if self.amounts:
            check_amounts(self.amounts)
        elif self.fuse or self.coverage is not None:
            what = "fused" if self.fuse else "shipped without a look"
            raise PlanError(
                f"cascade: chips are to be {what}, and nothing says what repair gives and costs",
                hint="give 'amounts', so that its analysis learns it",
            )
        if not 0 < self.increment <= self.most < math.inf:
            raise PlanError(
                f"cascade: increments of {self.increment} up to {self.most} epochs",
                hint="give a positive increment that is not above a finite 'most'",
            )

        if self.fuse and self.coverage is not None:
            raise PlanError(
                "cascade: a coverage is promised by single chips, and says nothing of fused ones",
                hint="leave out fuse or coverage",
            )

    def _check_rungs(self) -> None:
        for place, rung in enumerate(self.rungs, 1):
            check_start(rung, f"cascade: rung {place}")
            for before in self.rungs[: place - 1]:
                check_leads_to(before, rung, f"cascade: rung {place}")

    @property
    def name(self) -> str:
        """Name in tables."""
        fused = ", fused" if self.fuse else ""
        promised = "" if self.coverage is None else f", {100 * self.coverage:g} % promised"
        return self.label or f"Cascade{fused}{promised}"

    def analysis(self, usual: Analysis, constraint: Constraint) -> Analysis | None:
        """The plan's fault maps, with every rung looked at, and retraining from the last one."""
        if not self.amounts:
            return None
        rungs = self._rungs(in_codes=usual.needs_codes)
        if self.coverage is None:
            usual = replace(usual, trial=None)
        else:
            usual = promising(usual, self.coverage, constraint)
        return replace(
            usual,
            rungs=rungs,
            start=rungs[-1],
            retrain=self.retrain,
            amounts=self.amounts,
            share=self.share,
            until=constraint,
        )

    def plan(
        self,
        dies: Sequence[Die],
        constraint: Constraint,
        table: ResilienceTable | None,
    ) -> list[Group]:
        """Every chip alone, or fused; all of them ship codes if one has stuck bits."""
        in_codes = any(die.ships_codes for die in dies)
        if table is None or not self.fuse:
            return [replace(group, in_codes=in_codes) for group in each_alone(dies)]
        ladder = Ladder(table)
        return [
            Group(
                chips=tuple(die.chip.id for die in fused.dies),
                effective_rate=fused.rate,
                in_codes=in_codes,
            )
            for fused in fused_dies(dies, lambda rates: ladder.expected_ee(rates, constraint))
        ]

    @property
    def concerned(self) -> str:
        """Which chips a coverage is promised of."""
        return "chips that ship without a look"

    def unpromising(self) -> "Cascade":
        """The cascade that looks at every chip."""
        return replace(self, coverage=None)

    def promised(self, constraint: Constraint, table: ResilienceTable) -> Kept:
        """How well a chip has to be expected to do to ship unseen, and how the trial lot fares."""
        return margin_that_keeps(self.coverage or 0.0, table, constraint)

    @property
    def hopeless_once_trained(self) -> float:
        """Chance of a yes at the end below which looking on at a retrained network is given up."""
        return HOPELESS_AT_LAST if self.looks.hopeless is None else self.looks.hopeless

    def next(
        self,
        group: Group,
        constraint: Constraint,
        seen: Sequence[Observation],
        table: ResilienceTable | None,
    ) -> Action:
        """Climb on, look on, retrain, ship or scrap."""
        rungs = self._rungs(in_codes=group.in_codes)
        if not seen:
            return BYPASS[0]
        if (action := settled(group, constraint, rungs[0])) is not None:
            return action
        if table is not None and len(seen) == 1:
            return Assess()
        ladder = Ladder(table) if table else None
        return _Climb(self, group, rungs, constraint, seen, ladder).next()

    def _rungs(self, *, in_codes: bool) -> tuple[Recipe, ...]:
        return self.rungs or (CODED_RUNGS if in_codes else RUNGS)


@dataclass(frozen=True, eq=False)
class _Climb:
    """One chip on its way up."""

    policy: Cascade
    group: Group
    rungs: tuple[Recipe, ...]
    constraint: Constraint
    seen: Sequence[Observation]
    ladder: Ladder | None

    def next(self) -> Action:
        """What to do with the chip."""
        if self._trained():
            return self._judged() or self._retrained()
        rung = self._rung()
        left = steps_toward(self._recipe(), self.rungs[rung])
        if left:
            return left[0]
        if self._is_sure(rung):
            share = 100 * (self.policy.coverage or 0.0)
            return Ship(f"{share:g} % of the chips like it meet '{self.constraint}' unseen")
        if (action := self._judged()) is not None:
            return action
        return self._toward(rung + 1) if rung + 1 < len(self.rungs) else self._retrained()

    def _toward(self, rung: int) -> Action:
        """The first step toward the next rung that may do."""
        return steps_toward(self._recipe(), self.rungs[self._promising(rung)])[0]

    def _judged(self) -> Action | None:
        """Look on, or ship; none if the network as it stands will not do."""
        verdict = self._looks().judge(self.seen, self._alpha())
        if isinstance(verdict, Measure):
            return verdict
        sure = f"'{self.constraint}' holds with confidence {self.policy.confidence:g}"
        return Ship(sure) if verdict else None

    def _looks(self) -> Looks:
        """How to look at the network as it stands: with less patience where a rung is above it."""
        hopeless, rung = self.policy.hopeless_once_trained, self._rung()
        if hopeless and not self._trained() and rung + 1 < len(self.rungs):
            dear = any(map(_is_sequential, self.rungs[self._promising(rung + 1)]))
            hopeless = max(hopeless, HOPELESS_BELOW_SEQUENTIAL if dear else HOPELESS_BELOW_ANOTHER)
        return replace(self.policy.looks, hopeless=hopeless)

    def _alpha(self, epochs: float | None = None) -> float:
        """Error probability that a network may spend: this one, or one retrained so much."""
        alpha, last = 1 - self.policy.confidence, len(self.rungs) - 1
        if amount := self._trained() if epochs is None else epochs:
            return ALPHA_RETRAINED * alpha_of_look(alpha, self._place(amount))
        if self._rung() == last:
            return ALPHA_LAST * alpha
        return (1 - ALPHA_LAST - ALPHA_RETRAINED) * alpha / last

    def _place(self, epochs: float) -> int:
        """The place of an amount among all that could have been come to, from 1."""
        learnt = self.ladder.recovery()[0][1:] if self.ladder else []
        beyond = epochs - (learnt[-1] if learnt else 0.0)
        if beyond <= ROUNDING:
            return bisect_left(learnt, epochs - ROUNDING) + 1
        return len(learnt) + math.ceil(beyond / self.policy.increment - ROUNDING)

    def _rung(self) -> int:
        """The rung that the chip stands on, or is on its way to."""
        looked = {
            merged(tuple(o.step for o in self.seen[:place]))
            for place, o in enumerate(self.seen)
            if o.measured is not None
        }
        done = [place for place, rung in enumerate(self.rungs) if merged(rung) in looked]
        here = merged(self._recipe())
        if not done:
            return self._promising(_above(self.group.shipped, self.rungs))
        if merged(self.rungs[done[-1]]) == here:
            return done[-1]
        return self._promising(done[-1] + 1)

    def _promising(self, first: int) -> int:
        """The first rung from one on that is expected to do; the last one, if none is."""
        if self.ladder is None:
            return first
        return self.ladder.promising(first, self._damage(), self.constraint)

    def _is_sure(self, rung: int) -> bool:
        """Whether no look is needed, and none was taken."""
        coverage = self.policy.coverage
        if self.ladder is None or coverage is None or not self.group.exchangeable:
            return False
        if networks_looked_at(self.seen):
            return False
        table = self.ladder.table
        bar = accuracy_wanted(self.constraint, table.clean_accuracy)
        margin = self.ladder.expected_accuracy(rung, self._damage()) - bar
        return margin >= self.policy.promised(self.constraint, table).setting

    def _retrained(self) -> Action:
        """Retrain by what is lacking, or give up."""
        done = self._trained()
        left = round(self.policy.most - done, 9)
        if left <= 0:
            missed = -100 * self._margin()
            why = f"missed by {missed:.2g} points" if missed > 0 else "was not sure enough"
            return Scrap(
                f"'{self.constraint}' not shown to hold within {self.policy.most:g} epochs after "
                f"repair; the last look {why}"
            )
        return replace(self.policy.retrain, epochs=min(round(self._amount(done), 9), left))

    def _amount(self, done: float) -> float:
        """Epochs that are expected to show the constraint, given what the latest looks said."""
        ladder = self.ladder
        if ladder is None or (following := ladder.next_amount(done)) is None:
            return self.policy.increment
        margin, lacking = self._margin(), self._lacking(done)
        for amount in ladder.recovery()[0]:
            gained = (ladder.recovered(amount) - ladder.recovered(done)) * lacking
            if amount >= following and margin + gained >= self._margin_wanted(amount):
                return amount - done
        return ladder.recovery()[0][-1] - done

    def _margin(self) -> float:
        """The margin of the latest network; of a repaired one, what was foreseen counts too."""
        last = looks_at_this(self.seen)[-1]
        if self.ladder is None or self._trained():
            return last.margin
        table = self.ladder.table
        expected = self.ladder.expected_accuracy(len(self.rungs) - 1, self._damage())
        foreseen = expected - accuracy_wanted(self.constraint, table.clean_accuracy)
        weight = PRIOR_SAMPLES / (PRIOR_SAMPLES + last.samples)
        return weight * foreseen + (1 - weight) * last.margin

    def _lacking(self, done: float) -> float:
        """What the repaired network lacked to the clean one, by what the latest network does."""
        assert self.ladder is not None
        table = self.ladder.table
        bar = accuracy_wanted(self.constraint, table.clean_accuracy)
        now = max(0.0, table.clean_accuracy - bar - self._margin())
        return now / max(1 - self.ladder.recovered(done), 0.05)

    def _margin_wanted(self, epochs: float) -> float:
        """The margin at which a look at the whole split would say yes after an amount."""
        last, looks = looks_at_this(self.seen), self.policy.looks
        alpha = self._alpha(epochs)
        error = last[-1].error * math.sqrt(looks.shares[len(last) - 1])
        return -NormalDist().inv_cdf(levels(alpha, looks.shares)[-1]) * error

    def _recipe(self) -> Recipe:
        return tuple(observation.step for observation in self.seen)

    def _trained(self) -> float:
        return retrained_epochs(self._recipe())

    def _damage(self) -> float:
        return next(o.damage for o in self.seen if o.damage is not None)


def _above(shipped: Recipe, rungs: Sequence[Recipe]) -> int:
    """The rung above the one that chips were shipped from before; the last one, if that was it.

    What did not do for fewer faults, or does no more once it is patched, will not do for more.
    """
    known = enumerate(map(merged, rungs))
    done = [place for place, rung in known if shipped[: len(rung)] == rung]
    return min(done[-1] + 1, len(rungs) - 1) if done else 0


def _is_sequential(step: Step) -> bool:
    form = step.form if isinstance(step, Compensate | Quantize) else None
    return isinstance(form, Sequential | SequentialFAQ)
