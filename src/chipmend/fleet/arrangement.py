"""How many workers with how many threads: measured with the task's own training steps."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from chipmend.errors import WorkerError
from chipmend.fleet.executor import Executor, Failed
from chipmend.fleet.local import InProcess, LocalProcesses
from chipmend.fleet.progress import Progress
from chipmend.network.task import Task
from chipmend.repairs.retrain import Retraining
from chipmend.steps import Retrain

MEASURED_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """Workers and their threads.

    Args:
        workers: Worker processes; one works in the campaign's own process.
        threads: Threads of each.
        samples_per_second: Training throughput of all together, where it was measured.
    """

    workers: int
    threads: int
    samples_per_second: float | None = None

    def __post_init__(self) -> None:
        if self.workers < 1 or self.threads < 1:
            raise WorkerError(
                f"{self.workers} workers with {self.threads} threads each",
                hint="give 1 or more of both",
            )

    def executor(self) -> Executor:
        """The executor that it stands for."""
        if self.workers == 1:
            return InProcess(self.threads)
        return LocalProcesses(self.workers, self.threads)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def candidates(processors: int) -> list[Arrangement]:
    """Ways to use all processors, from one thread per worker to one worker.

    Example:
        >>> [(a.workers, a.threads) for a in candidates(4)]
        [(4, 1), (2, 2), (1, 4)]
    """
    return [
        Arrangement(workers=processors // threads, threads=threads)
        for threads in range(1, processors + 1)
        if processors % threads == 0
    ]


def fastest(task: Task, retrain: Retrain, progress: Progress) -> Arrangement:
    """Measure the training throughput of every candidate, and give the best.

    Args:
        task: What would be trained.
        retrain: With which settings.
        progress: Who watches.

    Returns:
        The best arrangement, with its throughput.
    """
    if task.device.type != "cpu":
        return Arrangement(workers=1, threads=cores())
    options = candidates(cores())
    if len(options) == 1:
        return options[0]
    progress.phase("measuring this machine", len(options), 0)
    measured = []
    for option in options:
        measured.append(throughput(task, retrain, option))
        progress.job_done()
    return max(measured, key=lambda option: option.samples_per_second or 0.0)


def throughput(task: Task, retrain: Retrain, arrangement: Arrangement) -> Arrangement:
    """Measure the training throughput of one arrangement, all workers busy at once."""
    work = _Throughput(task, retrain)
    rates = []
    for _, rate in arrangement.executor().run(work, list(range(arrangement.workers))):
        if isinstance(rate, Failed):
            raise WorkerError(f"a training step could not be measured: {rate.reason}")
        rates.append(rate)
    return Arrangement(
        workers=arrangement.workers, threads=arrangement.threads, samples_per_second=sum(rates)
    )


@dataclass(frozen=True, eq=False)
class _Throughput:
    """Samples per second of plain training steps; the first step is not counted."""

    task: Task
    retrain: Retrain

    def __call__(self, job: int, _: Callable[[float], object]) -> float:
        training = Retraining(
            self.task.fresh_network(),
            {},
            self.task.train,
            loss=self.task.loss,
            settings=self.retrain,
            seed=job,
        )
        per_step = min(self.retrain.batch, len(self.task.train)) / len(self.task.train)
        training.advance(per_step)
        began, started = training.steps, time.perf_counter()
        while (spent := time.perf_counter() - started) < MEASURED_SECONDS:
            training.advance((training.steps + 1) * per_step)
        return (training.steps - began) * per_step * len(self.task.train) / spent
