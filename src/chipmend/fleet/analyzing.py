"""The resilience analysis as jobs, and the cache of finished tables."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from chipmend.errors import RepairError, StoreError
from chipmend.faults.screening import Margin
from chipmend.files import write_bytes
from chipmend.fleet.runner import Runner
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.records import digest_of, plain, rebuilt
from chipmend.repairs.calibration import Calibration
from chipmend.resilience.analysis import Analysis, Repeat, trajectory
from chipmend.resilience.table import ResilienceTable, Trajectory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Analyzing:
    """Measures one repeat of the analysis: picklable, and the same for every worker.

    Args:
        task: The network that repairs start from, and its data.
        array: The array and its placement.
        analysis: What to measure.
        seed: The seed of the run.
        clean: Scores of the clean network on the validation split.
        calibration: What closed-form repair knows of the network.
        margin: What looks allow for beside fault maps.
    """

    task: Task
    array: Array
    analysis: Analysis
    seed: int
    clean: Float64[np.ndarray, " samples"]
    calibration: Calibration
    margin: Margin | None = None

    def __call__(self, job: Repeat, tick: Callable[[float], object]) -> dict[str, Any]:
        """Measure a repeat; a ``Trajectory``, as JSON can hold it."""
        return plain(
            trajectory(
                self.task,
                self.array,
                self.analysis,
                job,
                clean=self.clean,
                seed=self.seed,
                calibration=self.calibration,
                margin=self.margin,
                tick=tick,
            )
        )


def resilience_table(
    work: Analyzing,
    *,
    runner: Runner,
    conditions: dict[str, Any],
    cache: Path | None,
) -> ResilienceTable:
    """The table of an analysis, from the cache or measured now.

    Args:
        work: What to measure.
        runner: Does what is left to do of the repeats.
        conditions: Versions, device and threads: part of what a cached table depends on.
        cache: Folder of finished tables; none to do without.

    Returns:
        The table. What it cost is in it, whoever paid.

    Raises:
        TableError: Stuck bits in an analysis that chooses no codes.
        RepairError: A repeat could not be measured.
        FingerprintError: The run holds repeats of another analysis.
    """
    analysis = work.analysis
    analysis.check_runs_on(work.array)
    parts = [work.task.digest(), work.array, analysis, work.seed, work.margin, conditions]
    path = None if cache is None else cache / f"{digest_of(parts)}.json"
    if path is not None and (cached := _cached(path)) is not None:
        return cached
    kind = f"analysis {digest_of(analysis)[:16]}"
    runner.check_fingerprint({"analysis": digest_of(parts)}, of=kind)
    if analysis.trial is not None:  # its repeats are those of analyses without one
        alone = replace(work, analysis=replace(analysis, trial=None))
        table = resilience_table(alone, runner=runner, conditions=conditions, cache=cache)
        jobs = {job.key: job for job in analysis.trial_jobs()}
        table = replace(table, trial=_measured(runner, kind, "trial lot", work, jobs))
    else:
        jobs = {job.key: job for job in analysis.jobs()}
        table = ResilienceTable(
            amounts=analysis.amounts,
            clean_accuracy=float(work.clean.mean()),
            trajectories=_measured(runner, kind, "resilience analysis", work, jobs),
        )
    if path is not None:
        _keep(table, path)
    return table


def _measured(
    runner: Runner, kind: str, label: str, work: Analyzing, jobs: dict[str, Repeat]
) -> tuple[Trajectory, ...]:
    done = runner.results(kind, label, work, jobs)
    return tuple(_trajectory(key, done[key]) for key in jobs)


def _keep(table: ResilienceTable, path: Path) -> None:
    """Keep a table for other runs; this one has it anyway."""
    try:
        write_bytes(path, json.dumps(plain(table)).encode())
    except StoreError as error:
        logger.warning("%s: other runs will measure the analysis again", error.message)


def _cached(path: Path) -> ResilienceTable | None:
    """The table that was kept there; none if there is none, or only a damaged one."""
    try:
        return rebuilt(ResilienceTable, json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        logger.warning("%s is damaged: the resilience analysis is measured again", path)
        return None


def _trajectory(key: str, result: dict[str, Any]) -> Trajectory:
    if "failed" in result:
        raise RepairError(
            f"the resilience analysis failed at rate/repeat {key}: {result['failed']}",
            hint="mend the cause and start the same again: finished repeats are kept",
        )
    return rebuilt(Trajectory, result)
