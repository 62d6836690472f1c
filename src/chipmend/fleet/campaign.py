"""A campaign: one or more policies over one lot, kept in a run folder, resumable at any moment.

The campaign plans jobs, hands them to an executor, and is the only one that writes to the store.
Every job is a pure function of the task and the seed, so records do not depend on workers, order
or interruptions.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chipmend.confidence.constraint import Constraint, check_reachable
from chipmend.errors import LotError, PlanError
from chipmend.faults.maps import Chip, check_fits
from chipmend.fleet.analyzing import Analyzing, resilience_table
from chipmend.fleet.executor import Executor, Failed
from chipmend.fleet.fingerprint import check_same, conditions, fingerprint
from chipmend.fleet.ledger import Bin, ChipRecord, PathPoint
from chipmend.fleet.mending import Job, Mending
from chipmend.fleet.progress import Progress, Unwatched
from chipmend.fleet.store import Store
from chipmend.hardware.array import Array
from chipmend.network.evaluate import scores
from chipmend.network.task import Task
from chipmend.policy.protocol import Die, Group, Policy
from chipmend.records import plain, rebuilt
from chipmend.repair.cost import Cost
from chipmend.repair.prune import effective_rate, weights_per_pe
from chipmend.resilience.analysis import Analysis
from chipmend.resilience.table import ResilienceTable

PROGRESS_SECONDS = 2.0
"""How often the store hears how far a job is, so that a crash shows on the bill."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a campaign does, apart from how it is executed.

    Args:
        array: The array and its placement.
        constraint: What each chip has to reach.
        policies: Who decides; each under a name of its own.
        analysis: The resilience analysis, for policies that need a table.
        seed: The seed of everything random.
        hindsight: Whether to read, for the report, how much would have sufficed for each chip.
    """

    array: Array
    constraint: Constraint
    policies: tuple[Policy, ...]
    analysis: Analysis = field(default_factory=Analysis)
    seed: int = 0
    hindsight: bool = True

    def __post_init__(self) -> None:
        names = [policy.name for policy in self.policies]
        double = sorted({name for name in names if names.count(name) > 1})
        if not names or double:
            raise PlanError(
                f"policies of the same name: {', '.join(double)}" if names else "no policy",
                hint="give at least one policy, and each policy once",
            )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a campaign came to.

    Args:
        setup: What was done.
        clean_accuracy: Test accuracy of the clean network.
        chips: The lot.
        records: One for every policy and chip, in their order.
        paths: Hindsight along the retraining of each chip.
        table: The resilience table, if a policy needed it.
        lost: What interrupted attempts had cost.
        execution: How it was executed: conditions, workers.
    """

    setup: Setup
    clean_accuracy: float
    chips: Sequence[Chip]
    records: list[ChipRecord]
    paths: dict[str, list[PathPoint]]
    table: ResilienceTable | None
    lost: Cost
    execution: dict[str, Any]


class Campaign:
    """Runs policies over a lot.

    Args:
        task: The clean network and its data.
        chips: The lot.
        setup: What to do.
        executor: Who carries the jobs out.
        store: Where results are kept.
        threads: Threads of a worker, for the fingerprint.
        progress: Who watches.
        table_cache: Folder where finished resilience tables are kept by what they depend on.
    """

    def __init__(
        self,
        task: Task,
        chips: Sequence[Chip],
        setup: Setup,
        *,
        executor: Executor,
        store: Store,
        threads: int,
        progress: Progress | None = None,
        table_cache: Path | None = None,
    ) -> None:
        check_chips(chips, setup.array)
        self.task, self.chips, self.setup = task, chips, setup
        self._executor, self._store, self._threads = executor, store, threads
        self._progress = progress or Unwatched()
        self._table_cache = table_cache
        self._per_pe = weights_per_pe(task.model, setup.array)

    def run(self) -> Outcome:
        """Do what is left to do, and sum up.

        Raises:
            FingerprintError: The store holds a run begun under other conditions.
            ConstraintError: The clean network itself misses the constraint.
            StoreError: The store cannot be written; what was kept stays kept.
        """
        self._check_fingerprint()
        clean_validation, clean_test = self._clean_scores()
        check_reachable(self.setup.constraint, clean_validation)
        table = self._table(float(clean_validation.mean())) if self._needs_table() else None
        jobs = self._jobs(table)
        work = Mending(
            task=self.task,
            array=self.setup.array,
            constraint=self.setup.constraint,
            policies=self.setup.policies,
            seed=self.setup.seed,
            clean_validation=clean_validation,
            clean_test=clean_test,
            hindsight=self.setup.analysis.steps() if self.setup.hindsight else (),
        )
        done = self._carried_out("mend", "mending chips", work, {job.key: job for job in jobs})
        return self._outcome(float(clean_test.mean()), jobs, done, table)

    def _check_fingerprint(self) -> None:
        setup = self.setup
        plan = {
            "array": setup.array,
            "constraint": setup.constraint,
            "policies": setup.policies,
            "analysis": setup.analysis,
            "seed": setup.seed,
            "hindsight": setup.hindsight,
        }
        now = plain(fingerprint(self.task, self.chips, plan, self._threads))
        kept = self._store.fact("fingerprint")
        if kept is None:
            self._store.keep_fact("fingerprint", now)
        else:
            check_same(kept, now, getattr(self._store, "folder", "the store"))

    def _clean_scores(self) -> tuple[Any, Any]:
        return tuple(
            scores(self.task.model, split, self.task.metric)
            for split in (self.task.validation, self.task.test)
        )

    def _needs_table(self) -> bool:
        return any(policy.needs_table for policy in self.setup.policies)

    def _table(self, clean_accuracy: float) -> ResilienceTable:
        setup = self.setup
        return resilience_table(
            Analyzing(self.task, setup.array, setup.analysis, setup.seed),
            clean_accuracy,
            carried_out=self._carried_out,
            conditions=conditions(self._threads),
            cache=self._table_cache,
        )

    def _jobs(self, table: ResilienceTable | None) -> list[Job]:
        """Put what all policies planned for the same chips into one job."""
        dies = [Die(c, self._effective_rate(c)) for c in self.chips if not c.faults.fatal]
        planned: dict[tuple[str, ...], dict[int, Group]] = {}
        for place, policy in enumerate(self.setup.policies):
            groups = policy.plan(dies, self.setup.constraint, table)
            _check_covers(policy, [c for g in groups for c in g.chips], dies)
            for group in groups:
                planned.setdefault(group.chips, {})[place] = group
        chips = {chip.id: chip for chip in self.chips}
        return [self._job([chips[i] for i in ids], groups) for ids, groups in planned.items()]

    def _job(self, chips: list[Chip], groups: dict[int, Group]) -> Job:
        faulty = chips[0].faults.unusable.copy()
        for chip in chips[1:]:
            faulty |= chip.faults.unusable
        return Job(
            chips=tuple(chip.id for chip in chips),
            faulty=faulty,
            fault_rate=float(faulty.mean()),
            effective_rate=effective_rate(self._per_pe, faulty),
            groups=groups,
        )

    def _effective_rate(self, chip: Chip) -> float:
        return effective_rate(self._per_pe, chip.faults.unusable)

    def _carried_out(
        self, kind: str, phase: str, work: Any, jobs: dict[str, Any]
    ) -> dict[str, Any]:
        """Results of all jobs, of which only those not in the store are worked on."""
        results = {k: r for k, r in self._store.results(kind).items() if k in jobs}
        left = [key for key in jobs if key not in results]
        self._progress.phase(phase, len(jobs), len(jobs) - len(left))
        watch = _Watch(self._store, self._progress, kind, left)
        finished = self._executor.run(
            work, [jobs[key] for key in left], on_start=watch.start, on_tick=watch.tick
        )
        for index, result in finished:
            kept = {"failed": result.reason} if isinstance(result, Failed) else result
            self._store.finish(kind, left[index], kept)
            results[left[index]] = kept
            self._progress.job_done()
        return {key: results[key] for key in jobs}

    def _outcome(
        self,
        clean_accuracy: float,
        jobs: list[Job],
        done: dict[str, Any],
        table: ResilienceTable | None,
    ) -> Outcome:
        found = {}
        paths = {}
        for job in jobs:
            result = done[job.key]
            for record in _records(result, job, self.setup.policies):
                found[record.policy, record.chip] = record
            if len(job.chips) == 1:
                paths[job.chips[0]] = [PathPoint(**point) for point in result.get("path", ())]
        for chip in self.chips:
            if chip.faults.fatal:
                found.update({(p.name, chip.id): _unrepairable(p, chip) for p in self.setup.policies})
        ee, seconds = self._store.lost()
        return Outcome(
            setup=self.setup,
            clean_accuracy=clean_accuracy,
            chips=self.chips,
            records=[found[p.name, c.id] for p in self.setup.policies for c in self.chips],
            paths=paths,
            table=table,
            lost=Cost(retrain=ee, seconds=seconds),
            execution={**conditions(self._threads), "executor": repr(self._executor)},
        )


@dataclass(eq=False)
class _Watch:
    """Passes on what an executor tells of its jobs, to the store and to whoever watches."""

    store: Store
    progress: Progress
    kind: str
    jobs: Sequence[str]
    _begun: dict[int, float] = field(default_factory=dict)
    _told: dict[int, float] = field(default_factory=dict)
    _kept_at: dict[int, float] = field(default_factory=dict)

    def start(self, index: int) -> None:
        self._begun[index] = self._kept_at[index] = time.monotonic()
        self.store.begin(self.kind, self.jobs[index])

    def tick(self, index: int, ee: float) -> None:
        self.progress.advance(ee - self._told.get(index, 0.0))
        self._told[index] = ee
        now = time.monotonic()
        if now - self._kept_at[index] >= PROGRESS_SECONDS:
            self._kept_at[index] = now
            self.store.progress(self.kind, self.jobs[index], ee, now - self._begun[index])


def check_chips(chips: Sequence[Chip], array: Array) -> None:
    """Refuse a lot that cannot be mended as a whole.

    Raises:
        LotError: No chips, or one identity twice.
        FaultMapError: Chips of another array.
    """
    if not len(chips):
        raise LotError("there are no chips to mend", hint="give a lot of at least one chip")
    ids = [chip.id for chip in chips]
    double = sorted({chip for chip in ids if ids.count(chip) > 1}) if len(set(ids)) < len(ids) else []
    if double:
        raise LotError(f"chips of the same identity: {', '.join(double)}", hint="rename them")
    check_fits(chips, array)


def _check_covers(policy: Policy, planned: list[str], dies: Sequence[Die]) -> None:
    if sorted(planned) != sorted(die.chip.id for die in dies):
        raise PlanError(
            f"{policy.name} did not put every chip into exactly one group",
            hint="mend the policy's plan(): each die belongs to one group",
        )


def _records(result: dict[str, Any], job: Job, policies: Sequence[Policy]) -> list[ChipRecord]:
    if "failed" not in result:
        return rebuilt(list[ChipRecord], result["records"])
    return [
        ChipRecord(
            chip=chip,
            policy=policies[place].name,
            bin=Bin.FAILED,
            reason=result["failed"],
            fault_rate=job.fault_rate,
            effective_rate=job.effective_rate,
            steps=(),
            shared_by=len(job.chips),
            accuracy=None,
            met=False,
            cost=Cost(),
        )
        for place in job.groups
        for chip in job.chips
    ]


def _unrepairable(policy: Policy, chip: Chip) -> ChipRecord:
    return ChipRecord(
        chip=chip.id,
        policy=policy.name,
        bin=Bin.UNREPAIRABLE,
        reason=chip.faults.fatal,
        fault_rate=float(np.mean(chip.faults.unusable)),
        effective_rate=1.0,
        steps=(),
        shared_by=1,
        accuracy=None,
        met=False,
        cost=Cost(),
    )
