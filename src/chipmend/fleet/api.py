"""The main verbs in Python: mend a lot of chips, and the analysis before it."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float64

from chipmend.confidence.constraint import Constraint, check_constraint
from chipmend.faults.maps import Chip
from chipmend.faults.screening import Margin
from chipmend.files import cache_folder
from chipmend.fleet.analyzing import Analyzing, resilience_table
from chipmend.fleet.arrangement import Arrangement, cores, fastest
from chipmend.fleet.bundling import Which, check_shipping
from chipmend.fleet.campaign import Campaign, calibration_of
from chipmend.fleet.fingerprint import conditions
from chipmend.fleet.hardening import start_of_repairs
from chipmend.fleet.jobs import check_chips, check_truth
from chipmend.fleet.outcome import Outcome
from chipmend.fleet.progress import Progress, Unwatched
from chipmend.fleet.runner import Runner
from chipmend.fleet.setup import Setup
from chipmend.fleet.since import check_since, read_since
from chipmend.fleet.store import SqliteStore, Store
from chipmend.hardware.array import Array
from chipmend.network.evaluate import scores
from chipmend.network.processor import computing_with
from chipmend.network.task import Task
from chipmend.policy.cascade import Cascade
from chipmend.policy.protocol import Policy
from chipmend.records import plain
from chipmend.resilience.analysis import Analysis
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Retrain


def mend(
    task: Task,
    chips: Sequence[Chip],
    *,
    array: Array,
    constraint: Constraint,
    policies: Sequence[Policy] = (Cascade(),),
    analysis: Analysis | None = None,
    seed: int = 0,
    hindsight: bool = True,
    run: str | Path | None = None,
    workers: int | None = 1,
    threads: int | None = None,
    progress: Progress | None = None,
    plan: dict[str, Any] | None = None,
    verify: Which = "sample",
    key: str | Path | None = None,
    margin: Margin | None = None,
    truth: Sequence[Chip] | None = None,
    since: str | Path | None = None,
) -> Outcome:
    """Mend every chip of a lot under one or more policies.

    Args:
        task: The clean network and its data.
        chips: The lot.
        array: The array and its placement.
        constraint: What each chip has to reach.
        policies: Who decides.
        analysis: The resilience analysis, for policies that need a table.
        seed: The seed of everything random.
        hindsight: Whether to read, for the report, how much would have sufficed for each chip.
        run: Run folder; the same call goes on where it was interrupted. Without one nothing is
            kept.
        workers: Worker processes; without a number the fastest arrangement of workers and threads
            is measured and kept with the run. More than one need a task that can be pickled, and
            a main module under ``if __name__ == "__main__":``.
        threads: Threads of each worker; by default the processors are shared out evenly. Given
            alone, as many workers as the processors have room for.
        progress: Who watches, as ``with chipmend.cli.bars.Bars() as bars``; nobody by default.
        plan: The plan as the user gave it, for the report.
        verify: Which bundles are run on their chips once more, to the last bit. Bundles are written
            under one policy, into the run folder.
        key: File of the private key that signs bundles (``chipmend bundle key``); unsigned by
            default.
        margin: What decisions allow for beside fault maps: faults that the tester may have missed.
            The network is hardened for them once, unless chips go on from an earlier run.
        truth: The same chips with what is broken indeed, in the same order, to report by: what
            their maps lack nobody knows of, but it is there when accuracies are read.
        since: Folder of an earlier run under one policy. Chips that it has shipped go on from what
            they have: with the same fault map they keep it, with a new one it is patched and looked
            at; only where that does not do it is trained on, or they are mended anew.

    Returns:
        What became of every chip, and what it cost.

    Raises:
        ChipmendError: Says what is wrong, where, and what to do.
    """
    check_constraint(constraint)
    check_shipping(verify, None if key is None else Path(key), run)
    setup = Setup(
        array=array,
        constraint=constraint,
        policies=policies,
        analysis=analysis or Analysis(),
        seed=seed,
        hindsight=hindsight,
        margin=margin,
    )
    check_chips(chips, array)
    if truth is not None:
        check_truth(chips, truth, array)
    earlier = None
    if since is not None:
        check_since(since, run, setup.policies)
        earlier = read_since(since, chips, array, task, truth)
    watched = progress or Unwatched()
    with ExitStack() as stack:
        folder = Path(run) if run is not None else Path(stack.enter_context(TemporaryDirectory()))
        store = stack.enter_context(closing(SqliteStore(folder)))
        arrangement = _arrangement(task, setup.analysis.retrain, store, watched, workers, threads)
        campaign = Campaign(
            task,
            chips,
            setup,
            runner=Runner(arrangement.executor(), store, watched),
            threads=arrangement.threads,
            table_cache=cache_folder("resilience"),
            folder=folder,
            plan=plan,
            bundles=None if run is None else folder,
            verify=verify,
            key=None if key is None else Path(key),
            truth=truth or (),
            since=earlier,
        )
        outcome = campaign.run()
        outcome.write(folder)
        return outcome


def analyze(
    task: Task,
    *,
    array: Array,
    analysis: Analysis,
    seed: int = 0,
    run: str | Path | None = None,
    workers: int | None = 1,
    threads: int | None = None,
    progress: Progress | None = None,
    margin: Margin | None = None,
) -> ResilienceTable:
    """Measure how a network's accuracy answers to faults and to retraining.

    The finished table is cached by all that it depends on, so campaigns find it; in the same run
    folder they also find what an unfinished one has measured.

    Args:
        task: The clean network and its data.
        array: The array and its placement.
        analysis: What to measure.
        seed: The seed of everything random.
        run: Run folder; the same call goes on where it was interrupted.
        workers: As for ``mend``.
        threads: As for ``mend``.
        progress: Who watches.
        margin: As for ``mend``.

    Returns:
        The resilience table.

    Raises:
        ChipmendError: Says what is wrong, where, and what to do.
    """
    analysis.check_runs_on(array)
    watched = progress or Unwatched()
    with ExitStack() as stack:
        folder = Path(run) if run is not None else Path(stack.enter_context(TemporaryDirectory()))
        store = stack.enter_context(closing(SqliteStore(folder)))
        arrangement = _arrangement(task, analysis.retrain, store, watched, workers, threads)
        runner = Runner(arrangement.executor(), store, watched)
        clean = _clean_scores(task, arrangement.threads)
        start, _ = start_of_repairs(
            task, margin, seed=seed, threads=arrangement.threads, runner=runner, folder=folder
        )
        known = calibration_of(start, seed, arrangement.threads, folder)
        return resilience_table(
            Analyzing(start, array, analysis, seed, clean, known, margin),
            runner=runner,
            conditions=conditions(arrangement.threads, task.device),
            cache=cache_folder("resilience"),
        )


def _arrangement(
    task: Task,
    retrain: Retrain,
    store: Store,
    progress: Progress,
    workers: int | None,
    threads: int | None,
) -> Arrangement:
    """The arrangement that was asked for, or that the run was begun with, or the fastest."""
    if workers is None and threads is not None:
        workers = max(1, cores() // max(1, threads))
    if workers is not None:
        shared = max(1, cores() // max(1, workers))
        return Arrangement(workers=workers, threads=shared if threads is None else threads)
    kept = store.fact("arrangement")
    if kept is None:
        kept = plain(fastest(task, retrain, progress))
        store.keep_fact("arrangement", kept)
    return Arrangement(**kept)


def _clean_scores(task: Task, count: int) -> Float64[np.ndarray, " samples"]:
    with computing_with(count):
        return scores(task.model, task.validation, task.metric)
