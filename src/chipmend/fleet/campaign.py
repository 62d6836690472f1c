"""A campaign: one or more policies over one lot, kept in a run folder, resumable at any moment.

The campaign asks policies for groups of chips, has each group mended as a job, and sums up. Every
job is a pure function of the task and the seed, so records do not depend on workers, order or
interruptions.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from chipmend.confidence.constraint import check_reachable, holds
from chipmend.errors import PlanError
from chipmend.faults.maps import Chip
from chipmend.fleet.analyzing import Analyzing, resilience_table
from chipmend.fleet.bundling import (
    Bundling,
    Verifying,
    Which,
    as_written,
    chosen,
    has_runtime,
    with_verdict,
)
from chipmend.fleet.facts import ChipFacts, facts_of
from chipmend.fleet.fingerprint import conditions, described, fingerprint
from chipmend.fleet.hardening import start_of_repairs
from chipmend.fleet.jobs import Job, planned_jobs
from chipmend.fleet.ledger import Bin, ChipRecord, PathPoint
from chipmend.fleet.mending import Mending
from chipmend.fleet.outcome import Outcome
from chipmend.fleet.promises import Likeness, Promise, likeness, promise, promising
from chipmend.fleet.results import Found, after_sharing, found_in, jobs_alone, unrepairable
from chipmend.fleet.runner import Runner
from chipmend.fleet.setup import Setup
from chipmend.fleet.since import Since
from chipmend.hardware.memory import Filled
from chipmend.network.evaluate import scores
from chipmend.network.gemm import assumed_healthy
from chipmend.network.processor import computing_with
from chipmend.network.task import Task
from chipmend.network.tensors import digest_of_tensors, own_tensors, same_tensors
from chipmend.policy.protocol import Policy
from chipmend.records import digest_of, plain, rebuilt
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.cost import Cost, forward_pass
from chipmend.repairs.prune import weights_per_pe
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Measure, Patch, Recipe

logger = logging.getLogger(__name__)


class Campaign:
    """Runs policies over a lot.

    Args:
        task: The clean network and its data.
        chips: The lot, as ``check_chips`` wants it.
        setup: What to do.
        runner: Carries jobs out and keeps their results.
        threads: Threads of a worker, for the fingerprint.
        table_cache: Folder where finished resilience tables are kept by what they depend on.
        folder: The run folder, where what all chips share is kept.
        plan: The user's plan, for the report.
        bundles: The run folder, where bundles go under one policy; nowhere by default.
        verify: Which bundles are verified.
        key: File of the private key that signs bundles; unsigned by default.
        truth: What is broken on the chips indeed, where their maps do not say; in their order.
        since: An earlier run that has shipped the chips; none by default.
    """

    def __init__(
        self,
        task: Task,
        chips: Sequence[Chip],
        setup: Setup,
        *,
        runner: Runner,
        threads: int,
        folder: Path,
        table_cache: Path | None = None,
        plan: Mapping[str, Any] | None = None,
        bundles: Path | None = None,
        verify: Which = "sample",
        key: Path | None = None,
        truth: Sequence[Chip] = (),
        since: Since | None = None,
    ) -> None:
        self._in_codes = any(chip.faults.needs_codes for chip in (*chips, *truth))
        analysis = replace(setup.analysis, in_codes=self._in_codes)
        self.task, self.chips, self.setup = task, chips, replace(setup, analysis=analysis)
        self._runner, self._threads = runner, threads
        self._table_cache, self._plan = table_cache, dict(plan or {})
        self._bundles, self._key = bundles, key
        self._verify: Which = verify
        self._folder = folder
        self._per_pe = weights_per_pe(task.model, setup.array)
        self._scoring = Cost()
        self._broken = {chip.id: chip.faults for chip in truth}
        self._since = since

    def run(self) -> Outcome:
        """Do what is left to do, and sum up.

        Raises:
            FingerprintError: The store holds a run begun under other conditions.
            ConstraintError: The clean network itself misses the constraint.
            StoreError: The store cannot be written; what was kept stays kept.
        """
        clean_validation, clean_test, scoring = self._clean_scores()
        check_reachable(self.setup.constraint, clean_validation)
        self._check_fingerprint()
        took = self._runner.kept("scoring the clean network", plain(scoring))
        self._scoring = rebuilt(Cost, took)
        self._check_analyses()
        self._check_start(clean_validation)
        kept, setup = self._kept(), self.setup
        chips = [chip for chip in self.chips if chip.id not in kept]
        like = self._like_trial_lot()
        tables = self._tables(clean_validation) if chips else {}
        planned = partial(
            planned_jobs,
            constraint=setup.constraint,
            tables=tables,
            per_pe=self._per_pe,
            filled=self._filled,
            broken=self._broken,
            in_codes=self._in_codes,
            exchangeable=like is None or not like.shifts,
        )
        jobs = planned(chips, self._deciders)
        work = Mending(
            task=self._calibration.task,
            array=self.setup.array,
            constraint=self.setup.constraint,
            policies=self._deciders,
            seed=self.setup.seed,
            calibration=self._calibration,
            clean_validation=clean_validation,
            clean_test=clean_test,
            tables=tables,
            hindsight=self.setup.analysis.steps() if self.setup.hindsight else (),
            bundling=self._bundling(),
            margin=setup.margin,
            shipped={} if self._since is None else self._since.bundles,
        )
        done = self._runner.results("mend", "mending chips", work, {job.key: job for job in jobs})
        found = {(record.policy, chip): record for chip, record in kept.items()}
        for job in jobs:
            found.update(found_in(done[job.key], job, setup.policies))
        found.update(self._mended_alone(found, planned, replace(work, hindsight=())))
        paths = {
            job.chips[0]: rebuilt(list[PathPoint], done[job.key].get("path", []))
            for job in jobs
            if len(job.chips) == 1
        }
        outcome = self._outcome(float(clean_test.mean()), found, paths, tables)
        return replace(outcome, promises={} if like is None else self._promises(tables, like))

    @property
    def _deciders(self) -> tuple[Policy, ...]:
        """The policies; chips that have shipped before go on from that."""
        policies = tuple(self.setup.policies)
        return policies if self._since is None else self._since.around(policies)

    def _kept(self) -> dict[str, ChipRecord]:
        """Chips that keep what they were shipped, and with what; their bundles are copied."""
        since, bundling, setup = self._since, self._bundling(), self.setup
        wanted = self.task.digest(), setup.constraint, setup.policies, setup.margin
        if since is None or self._broken or not since.has_shown(*wanted):
            return {}
        found = since.kept(self.chips)
        if bundling is None:
            return {chip: replace(record, bundle=None) for chip, record in found.items()}
        for base in {since.bundles[chip].base for chip in found}:
            bundling.copy_base(base)
        return {
            chip: bundling.keep(record, since.bundles[chip].folder)
            for chip, record in found.items()
        }

    def _bundling(self) -> Bundling | None:
        """Where bundles go; nowhere where several policies are compared."""
        if self._bundles is None or len(self.setup.policies) > 1:
            return None
        return Bundling(self._bundles, digest_of(self._fingerprint), self._key)

    def _check_fingerprint(self) -> None:
        self._runner.check_fingerprint(self._fingerprint)

    @cached_property
    def _fingerprint(self) -> Mapping[str, Any]:
        setup = self.setup
        plan = {
            "array": setup.array,
            "constraint": setup.constraint,
            "policies": setup.policies,
            "analysis": setup.analysis,
            "seed": setup.seed,
            "hindsight": setup.hindsight,
            "margin": setup.margin,
            "what 'since' gives": {} if self._since is None else self._since.fingerprint(),
            "what 'truth' gives": {id_: faults.digest() for id_, faults in self._broken.items()},
        }
        return plain(fingerprint(self.task, self.chips, plan, self._threads))

    def _clean_scores(self) -> tuple[Any, Any, Cost]:
        task, found, seconds = self.task, [], []
        self._runner.progress.phase("scoring the clean network", 2, 0)
        for split in (task.validation, task.test):
            started = time.perf_counter()
            with computing_with(self._threads):
                found.append(scores(task.model, split, task.metric))
            seconds.append(time.perf_counter() - started)
            self._runner.progress.job_done()
        looked = forward_pass(len(task.validation), task)
        return found[0], found[1], Cost(measure=looked, seconds=seconds[0])

    def _check_analyses(self) -> None:
        """Refuse analyses of other kinds of fault than the lot has, before they are measured."""
        stuck = any(chip.faults.stuck is not None for chip in self.chips)
        for policy in self._deciders:
            analysis = policy.analysis(self.setup.analysis, self.setup.constraint)
            if analysis is None:
                continue
            if stuck != bool(analysis.bit_rates):
                raise PlanError(
                    f"{policy.name}: chips of the lot have {'' if stuck else 'no '}stuck bits, and "
                    f"maps of its analysis have {'none' if stuck else 'some'}",
                    hint="give analysis.bit_rates where chips have stuck bits, and only there",
                )
            if analysis.trial is not None and stuck != analysis.trial.has_stuck_bits:
                raise PlanError(
                    f"{policy.name}: chips of the lot have {'' if stuck else 'no '}stuck bits, and "
                    f"its trial lot has {'none' if stuck else 'some'}",
                    hint="make the trial lot as chips of the lot come: analysis.trial.stuck",
                )
            if analysis.trial and analysis.trial.has_stuck_macs and not self._in_codes:
                raise PlanError(
                    f"{policy.name}: chips of the lot have no stuck bits in datapaths, and its "
                    f"trial lot has some",
                    hint="make the trial lot as chips of the lot come: analysis.trial.macs",
                )
            analysis.check_runs_on(self.setup.array)

    def _tables(self, clean: Float64[np.ndarray, " samples"]) -> dict[str, ResilienceTable]:
        """The table of each policy that goes by one; policies with the same analysis share it."""
        setup, made, tables = self.setup, dict[str, ResilienceTable](), {}
        for policy in self._deciders:
            analysis = policy.analysis(setup.analysis, setup.constraint)
            if analysis is None:
                continue
            seed, known = setup.seed, self._calibration
            if (key := digest_of(analysis)) not in made:
                made[key] = resilience_table(
                    Analyzing(known.task, setup.array, analysis, seed, clean, known, setup.margin),
                    runner=self._runner,
                    conditions=conditions(self._threads, self.task.device),
                    cache=self._table_cache,
                )
            tables[policy.name] = made[key]
        return tables

    @cached_property
    def _start(self) -> tuple[Task, Cost]:
        """The task of the network that repairs start from, and what it took to make that."""
        task, setup, since = self.task, self.setup, self._since
        if since is not None and since.bundles:
            return task.with_tensors(since.start), Cost()
        if all(chip.faults.fatal for chip in self.chips):
            return task, Cost()
        return start_of_repairs(
            task,
            setup.margin,
            seed=setup.seed,
            threads=self._threads,
            runner=self._runner,
            folder=self._folder,
        )

    def _check_start(self, clean: Float64[np.ndarray, " samples"]) -> None:
        """Say so where hardening did harm, or cannot be done."""
        (start, cost), margin, constraint = self._start, self.setup.margin, self.setup.constraint
        if margin is None or not margin.harden:
            return
        if not cost.ee:
            if self._since is not None and not self._hardened_from():
                logger.warning(
                    "chips go on from a network that was not hardened, and stays so: leave out "
                    "'since' to have it hardened"
                )
            return
        with computing_with(self._threads):
            found = scores(start.model, start.validation, start.metric)
        if not holds(constraint, found, clean):
            logger.warning(
                "hardened by %g epochs the network itself misses '%s' on validation: %.2f %%",
                *(margin.harden, constraint, 100 * found.mean()),
            )

    @cached_property
    def _calibration(self) -> Calibration:
        return calibration_of(self._start[0], self.setup.seed, self._threads, self._folder)

    @cached_property
    def _filled(self) -> Filled | None:
        """Where the weights lie in the weight memory; none if no chip has stuck bits."""
        if all(chip.faults.stuck is None for chip in self.chips):
            return None
        return self._calibration.filled(self.setup.array.memory)

    @cached_property
    def _facts(self) -> list[ChipFacts]:
        return facts_of(self.chips, self._per_pe, self._filled, self._broken)

    def _mended_alone(
        self, found: Found, planned: Callable[..., list[Job]], work: Mending
    ) -> Found:
        """What becomes of chips whose shared network was given up: each is mended by itself."""
        jobs = jobs_alone(found, self.chips, self._deciders, planned)
        if not jobs:
            return {}
        phase = "mending chips alone"
        done = self._runner.results("mend alone", phase, work, {job.key: job for job in jobs})
        alone: Found = {}
        for job in jobs:
            alone.update(found_in(done[job.key], job, self.setup.policies))
        return {key: after_sharing(record, found[key]) for key, record in alone.items()}

    def _outcome(
        self,
        clean_accuracy: float,
        found: Found,
        paths: dict[str, list[PathPoint]],
        tables: dict[str, ResilienceTable],
    ) -> Outcome:
        for chip in self._facts:
            if chip.fatal:
                found.update(
                    {(p.name, chip.chip): unrepairable(p, chip) for p in self.setup.policies}
                )
        self._verify_bundles(found)
        return self._summed_up(clean_accuracy, found, paths, tables)

    def _verify_bundles(self, found: Found) -> None:
        """Verify bundles, or a sample of them, and note what they came to."""
        if self._bundles is None:
            return
        chips = {chip.id: chip for chip in self.chips}
        bundled = [record for record in found.values() if record.bundle is not None]
        looked_at = list(as_written(bundled, chips, self._bundles, self._key))
        found.update({(record.policy, record.chip): record for record in looked_at})
        whole = [record for record in looked_at if record.bin != Bin.FAILED]
        names = chosen(whole, self._verify, self.setup.seed)
        if not names:
            return
        policy = self.setup.policies[0].name
        jobs = {name: (chips[name], found[policy, name].bundle) for name in names}
        work = Verifying(self.task, self._bundles, has_runtime())
        done = self._runner.results("verify", "verifying bundles", work, jobs)
        for name, result in done.items():
            found[policy, name] = with_verdict(found[policy, name], result)

    def _summed_up(
        self,
        clean_accuracy: float,
        found: Found,
        paths: dict[str, list[PathPoint]],
        tables: dict[str, ResilienceTable],
    ) -> Outcome:
        setup = self.setup
        ee, seconds = self._runner.store.lost()
        return Outcome(
            array=setup.array,
            constraint=setup.constraint,
            policies={p.name: described(p) for p in setup.policies},
            seed=setup.seed,
            clean_accuracy=clean_accuracy,
            chips=self._facts,
            records=[found[p.name, c.id] for p in setup.policies for c in self.chips],
            paths=paths,
            tables=tables,
            shared={p.name: self._shared(p, found, tables) for p in self._deciders},
            lost=Cost(retrain=ee, seconds=seconds),
            execution={
                **conditions(self._threads, self.task.device),
                "executor": repr(self._runner.executor),
            },
            plan=plain(self._plan),
            assumed_healthy=assumed_healthy(self.task.model),
            margin=setup.margin,
            since=None if self._since is None else self._since.in_short(),
            task=self.task.digest(),
            hardening=self._start[1],
            hardened_from=self._hardened_from(),
        )

    def _hardened_from(self) -> str:
        """Digest of the clean network's tensors, if repairs start from others."""
        clean = own_tensors(self.task.model)
        same = same_tensors(clean, own_tensors(self._start[0].model))
        return "" if same else digest_of_tensors(clean)

    def _like_trial_lot(self) -> Likeness | None:
        """Whether the lot is like the trial lot; none where nothing is promised."""
        setup, array = self.setup, self.setup.array
        trial = setup.analysis.trial if promising(setup.policies) else None
        if trial is None or self._since is not None:
            return None
        if self._filled is not None:
            array = replace(array, memory=replace(array.memory, words=self._filled.words))
        return likeness(trial, self.chips, array, setup.seed)

    def _promises(self, tables: dict[str, ResilienceTable], like: Likeness) -> dict[str, Promise]:
        """What policies promise, by their names."""
        constraint = self.setup.constraint
        return {
            policy.name: promise(policy, constraint, tables[policy.name], like)
            for policy in promising(self.setup.policies)
        }

    def _shared(
        self,
        policy: Policy,
        found: Found,
        tables: Mapping[str, ResilienceTable],
    ) -> Cost:
        """What all chips of a policy, and its analysis, share: hardening and clean scores too."""
        analysis = None
        if policy.name in tables:
            analysis = policy.analysis(self.setup.analysis, self.setup.constraint)
        recipes = [self._steps_taken(found[policy.name, chip.id], chip) for chip in self.chips]
        if analysis is not None:
            recipes.append(analysis.repairs())
        steps = [step for recipe in recipes for step in recipe]
        looks = analysis is not None or any(isinstance(step, Measure) for step in steps)
        scoring = self._scoring if looks else Cost()
        return self._start[1] + scoring + self._calibration.bill(steps)

    def _steps_taken(self, record: ChipRecord, chip: Chip) -> Recipe:
        """What was done with a chip in this run; a network that is as it was took no patching."""
        if self._since is None or not self._since.is_as_it_was(chip):
            return (*record.in_vain, *record.steps)
        if record.bin == Bin.KEPT and not record.cost.ee:
            return ()
        return tuple(step for step in record.steps if not isinstance(step, Patch))


def calibration_of(task: Task, seed: int, threads: int, folder: Path | None) -> Calibration:
    """What closed-form repair knows of a task, kept in a run folder."""
    return Calibration(
        task,
        seed,
        folder=None if folder is None else folder / "calibration",
        conditions=conditions(threads, task.device),
    )
