"""Doing one job of a campaign: mending its chips under every policy that planned for them.

The policies share a workbench. Whoever wants the least retraining is served first, so a trajectory
only ever goes forward, and each amount is trained once however many policies pass it. Each is
billed as if it had been alone.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from chipmend.bundle import Base
from chipmend.confidence.constraint import Constraint, holds, measured
from chipmend.errors import BundleError, ChipmendError, PlanError, StoreError
from chipmend.faults.screening import Margin
from chipmend.fleet.bundling import Bundling
from chipmend.fleet.executor import Unfinished, reason_of
from chipmend.fleet.jobs import Job
from chipmend.fleet.ledger import Bin, ChipRecord, PathPoint, ShippedBundle
from chipmend.fleet.since import LastBundle
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.policy.protocol import Action, Group, Observation, Policy, Scrap, Ship
from chipmend.recipes import (
    avoids_lost,
    is_patched,
    is_quantized,
    merged,
    retrained_epochs,
    since_anew,
    undoes_training,
)
from chipmend.records import plain
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.patch import Shipped
from chipmend.repairs.workbench import Workbench
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import (
    Assess,
    KeepBetter,
    Measure,
    Prune,
    Recipe,
    Retrain,
    Step,
)

MOST_STEPS = 10_000
"""Steps after which a policy that neither ships nor scraps is stopped."""


@dataclass(frozen=True, eq=False)
class Mending:
    """Does jobs: picklable, and the same for every worker.

    Args:
        task: The network that repairs start from, and its data.
        array: The array and its placement.
        constraint: What each chip has to reach.
        policies: Who decides.
        seed: The seed of the run.
        calibration: What closed-form repair knows of the network.
        clean_validation: Scores of the clean network on the validation split.
        clean_test: Scores of the clean network on the test split.
        tables: The table of each policy that goes by one, by its name.
        hindsight: The walk on which the least sufficient amount is looked up for the report.
        bundling: Where the bundles of what ships go; nowhere by default.
        margin: What looks allow for beside fault maps.
        shipped: What chips were shipped before, by their identities.
    """

    task: Task
    array: Array
    constraint: Constraint
    policies: tuple[Policy, ...]
    seed: int
    calibration: Calibration
    clean_validation: Float64[np.ndarray, " samples"]
    clean_test: Float64[np.ndarray, " samples"]
    tables: Mapping[str, ResilienceTable] = field(default_factory=dict)
    hindsight: Recipe = ()
    bundling: Bundling | None = None
    margin: Margin | None = None
    shipped: Mapping[str, LastBundle] = field(default_factory=dict)

    def __call__(self, job: Job, tick: Callable[[float], object]) -> dict[str, Any] | Unfinished:
        """Mend a group of chips under every policy that planned for it.

        Returns:
            ``records`` (a ``ChipRecord`` for each policy and chip), ``path`` (test accuracy along
            the retraining, for the report) and ``mappings`` (of what ships, by policy: the tensors
            of each coupling, and where its channels go), as JSON can hold them; unfinished, if
            anything but an error of ours broke in on a policy: memory ran out, or a device failed.
        """
        before, base = self._before(job)
        bench = Workbench(
            self.task,
            self.array,
            job.faults,
            chip=job.key,
            seed=self.seed,
            calibration=self.calibration,
            tick=tick,
            margin=self.margin,
            shipped=before,
        )
        walks = [_Walk(self.policies[place], group) for place, group in job.groups.items()]
        path = self._walked(bench, walks, job)
        for walk in walks:
            self._bundle(walk, bench, job, base)
        records = [self._record(walk, chip, job, bench) for walk in walks for chip in job.chips]
        result = {
            "records": plain(records),
            "path": plain(path),
            "mappings": {w.policy.name: m for w in walks if (m := self._mapping(w, bench))},
        }
        return Unfinished(result) if any(walk.broke_down for walk in walks) else result

    def _before(self, job: Job) -> tuple[Shipped | None, Base | None]:
        """What the job's chip was shipped before, and the base of that."""
        last = self.shipped.get(job.chips[0]) if len(job.chips) == 1 else None
        return (None, None) if last is None else last.read()

    def _walked(self, bench: Workbench, walks: Sequence["_Walk"], job: Job) -> list[PathPoint]:
        """Serve all policies until each has shipped or scrapped, least retraining first."""
        path: list[PathPoint] = []
        told = not job.needs_codes or is_quantized(self.hindsight)
        told = told and len(job.chips) == 1 and job.chips[0] not in self.shipped
        stops = _stops(self.hindsight) if told else []
        for walk in walks:
            self._ask(walk)
        while open_walks := [walk for walk in walks if walk.action is not None]:
            walk = min(open_walks, key=lambda w: w.wanted_epochs)
            passed = [stop for stop in stops if retrained_epochs(stop) <= walk.wanted_epochs]
            stops = stops[len(passed) :]
            with contextlib.suppress(Exception):  # the policies will meet it themselves
                path.extend(self._point(bench, stop, job) for stop in passed)
            self._serve(walk, bench, job)
        return path

    def _ask(self, walk: "_Walk") -> None:
        """Ask a policy what it wants; one that raises, or never ends, fails alone."""
        if len(walk.seen) >= MOST_STEPS:
            walk.end(Bin.FAILED, f"the policy came to no end within {MOST_STEPS} steps")
            return
        try:
            table = self.tables.get(walk.policy.name)
            action = walk.policy.next(walk.group, self.constraint, tuple(walk.seen), table)
            walk.action = _checked(action, walk.recipe)
        except ChipmendError as error:
            walk.end(Bin.FAILED, reason_of(error))
        except Exception as error:
            walk.end(Bin.FAILED, f"the policy raised {reason_of(error)}")

    def _serve(self, walk: "_Walk", bench: Workbench, job: Job) -> None:
        """Carry out what a policy wants, and go on with it until it wants more retraining."""
        try:
            while walk.action is not None:
                if isinstance(walk.action, Measure | Ship):
                    _check_has_codes(walk, job)
                self._carry_out(walk, walk.action, bench, job)
                if isinstance(walk.action, Retrain):
                    break
        except Exception as error:  # one policy's trouble is not the others'
            walk.end(Bin.FAILED, reason_of(error))
            walk.broke_down = not isinstance(error, ChipmendError)

    def _carry_out(self, walk: "_Walk", action: Action, bench: Workbench, job: Job) -> None:
        if isinstance(action, Scrap):
            walk.end(Bin.SCRAPPED, action.reason)
            return
        if isinstance(action, Ship):
            walk.test_scores = {die.id: bench.test(walk.recipe, job.on(die)) for die in job.dies}
            walk.end(self._bin(walk.recipe, bench, job), action.reason)
            return
        walk.tried = (*walk.recipe, action)
        walk.seen.append(self._done(action, walk.tried, bench))
        walk.recipe = walk.tried
        self._ask(walk)

    def _bin(self, recipe: Recipe, bench: Workbench, job: Job) -> Bin:
        if is_patched(recipe) and not retrained_epochs(recipe):
            is_as_it_was = self.shipped[job.chips[0]].faults == job.faults.digest()
            return Bin.KEPT if is_as_it_was else Bin.PATCHED
        return _bin_of(_shipped(since_anew(recipe), bench))

    def _done(self, step: Step, recipe: Recipe, bench: Workbench) -> Observation:
        if isinstance(step, Measure):
            scores = bench.validation(recipe, step.share)
            clean = self.clean_validation[self.task.look_order(self.seed)[: len(scores)]]
            return Observation(step, measured=measured(self.constraint, scores, clean))
        if isinstance(step, Assess):
            return Observation(step, damage=bench.damage(recipe, step.moments))
        bench.network(recipe)
        return Observation(step)

    def _point(self, bench: Workbench, recipe: Recipe, job: Job) -> PathPoint:
        scores = bench.test(recipe, job.on(job.dies[0]))
        return PathPoint(
            epochs=retrained_epochs(recipe),
            accuracy=float(scores.mean()),
            met=self._met(scores),
            ee=bench.spent(recipe).ee,
        )

    def _met(self, scores: Float64[np.ndarray, " samples"]) -> bool:
        return holds(self.constraint, scores, self.clean_test)

    def _mapping(self, walk: "_Walk", bench: Workbench) -> list[dict[str, Any]]:
        """Where channels go in what a policy ships, if they change places."""
        mapping = None if walk.test_scores is None else bench.mapping(walk.recipe)
        if mapping is None:
            return []
        each = zip(self.calibration.couplings, mapping.positions, strict=True)
        return [
            {"tensors": coupling.tensors, "positions": positions.tolist()}
            for coupling, positions in each
        ]

    def _bundle(self, walk: "_Walk", bench: Workbench, job: Job, before: Base | None) -> None:
        """Write the bundles of what a policy ships; one that cannot be written fails its chips."""
        if self.bundling is None or walk.test_scores is None:
            return
        try:
            for die in job.dies:
                walk.bundles[die.id] = self.bundling.write(
                    bench, walk.recipe, die, self.array, before
                )
        except (BundleError, StoreError) as error:
            walk.bundles.clear()
            walk.end(Bin.FAILED, reason_of(error))
            walk.test_scores = None
            walk.broke_down = isinstance(error, StoreError)

    def _record(self, walk: "_Walk", chip: str, job: Job, bench: Workbench) -> ChipRecord:
        shipped = None if walk.test_scores is None else walk.test_scores[chip]
        billed = walk.tried if walk.tried and bench.tried(walk.tried) else walk.recipe
        return ChipRecord(
            chip=chip,
            policy=walk.policy.name,
            bin=walk.bin,
            reason=walk.reason,
            fault_rate=job.fault_rate,
            effective_rate=job.effective_rate,
            effective_bit_rate=job.effective_bit_rate,
            steps=walk.recipe,
            shared_by=len(job.chips),
            accuracy=None if shipped is None else float(shipped.mean()),
            met=shipped is not None and self._met(shipped),
            cost=bench.spent(billed),
            bundle=walk.bundles.get(chip),
        )


@dataclass(eq=False)
class _Walk:
    """One policy on its way through one job: what it did, and what it tried to do last."""

    policy: Policy
    group: Group
    recipe: Recipe = ()
    tried: Recipe = ()
    seen: list[Observation] = field(default_factory=list)
    action: Action | None = None
    bin: Bin = Bin.FAILED
    reason: str = ""
    test_scores: dict[str, np.ndarray] | None = None
    broke_down: bool = False
    bundles: dict[str, ShippedBundle] = field(default_factory=dict)

    @property
    def wanted_epochs(self) -> float:
        """Retraining behind the network that the policy wants next."""
        step = (self.action,) if isinstance(self.action, Retrain) else ()
        return retrained_epochs(merged((*self.recipe, *step)))

    def end(self, where: Bin, reason: str) -> None:
        self.bin, self.reason, self.action = where, reason, None


def _checked(action: Action, recipe: Recipe) -> Action:
    """Refuse what is no answer, and a network that would run on the faulty PEs."""
    if not isinstance(action, Action):
        raise PlanError(
            f"the policy's next() gave {action!r}", hint="let it give a step, Ship or Scrap"
        )
    if not isinstance(action, Ship | Scrap) and undoes_training(recipe, action):
        raise PlanError(
            f"the policy's {action.kind} would undo the retraining before it",
            hint="let remap and compensate come before retrain",
        )
    if isinstance(action, Ship) and not avoids_lost(recipe):
        raise PlanError("the policy ships what was not pruned", hint="let it begin with Prune")
    return action


def _stops(walk: Recipe) -> list[Recipe]:
    """What a walk comes to at each of its looks."""
    return [merged(walk[:i]) for i, step in enumerate(walk) if isinstance(step, Measure)]


def _shipped(recipe: Recipe, bench: Workbench) -> Recipe:
    """The steps that left a trace in a network: not a retraining that was undone."""
    steps: Recipe = ()
    for length, step in enumerate(recipe, 1):
        undone = isinstance(step, KeepBetter)
        steps = bench.comes_to(recipe[:length]) if undone else (*steps, step)
    return steps


def _check_has_codes(walk: "_Walk", job: Job) -> None:
    """Refuse to look at, or to ship, what the chip would not compute."""
    if job.needs_codes and not is_quantized(walk.recipe):
        raise PlanError(
            "bits of the weight memory, or of datapaths that nothing bypasses, are stuck, and no "
            "step of the policy chooses codes",
            hint="put quantize into its recipe",
        )


def _bin_of(recipe: Recipe) -> Bin:
    kinds = {type(step) for step in recipe} - {Assess, Measure}
    if Retrain in kinds:
        return Bin.RETRAINED
    return Bin.PRUNED if kinds == {Prune} else Bin.REPAIRED
