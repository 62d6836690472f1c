"""Executors of this machine: this very process, and worker processes."""

import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

from chipmend.errors import ChipmendError, WorkerError
from chipmend.fleet.executor import Failed, OnTick, Work, ignore, reason_of
from chipmend.network.processor import computing_with, keep_freed_memory

logger = logging.getLogger(__name__)

_PICKLE_ERRORS = (pickle.PicklingError, AttributeError, TypeError)


@dataclass(frozen=True, slots=True)
class InProcess:
    """Jobs one after another in this process.

    Args:
        threads: Threads to compute with; the process gets its own number back afterwards.
    """

    threads: int = 1

    def run(
        self,
        work: Work,
        jobs: Sequence[Any],
        *,
        on_start: Callable[[int], object] = ignore,
        on_tick: OnTick = ignore,
    ) -> Iterator[tuple[int, Any]]:
        """Do all jobs, as described in ``Executor``."""
        keep_freed_memory()
        for index, job in enumerate(jobs):
            on_start(index)
            with computing_with(self.threads):
                result = _attempt(work, job, lambda done, index=index: on_tick(index, done))
            yield index, result


@dataclass(frozen=True, slots=True)
class LocalProcesses:
    """Jobs on worker processes, each with threads of its own.

    Args:
        workers: Worker processes.
        threads: Threads of each.
    """

    workers: int
    threads: int = 1

    def run(
        self,
        work: Work,
        jobs: Sequence[Any],
        *,
        on_start: Callable[[int], object] = ignore,
        on_tick: OnTick = ignore,
    ) -> Iterator[tuple[int, Any]]:
        """Do all jobs, as described in ``Executor``.

        Raises:
            WorkerError: The work cannot be sent to another process, or no worker starts.
        """
        packed = _packed(work)
        waiting = deque(enumerate(jobs))
        crew = [_Worker(packed, self.threads) for _ in range(min(self.workers, len(jobs)))]
        try:
            while waiting or any(worker.job is not None for worker in crew):
                for worker in crew:
                    if worker.job is None and waiting:
                        worker.give(*waiting.popleft())
                        on_start(worker.job)
                yield from self._heard(crew, packed, on_tick)
        finally:
            for worker in crew:
                worker.end()

    def _heard(
        self, crew: list["_Worker"], packed: bytes, on_tick: OnTick
    ) -> Iterator[tuple[int, Any]]:
        """Listen once; a worker that died is replaced, and its job comes back as failed."""
        ready = wait([end for worker in crew for end in (worker.pipe, worker.process.sentinel)])
        for place, worker in enumerate(crew):
            if worker.pipe in ready and (said := worker.hear()) is not None:
                kind, content = said
                if kind == "tick":
                    on_tick(worker.job, content)
                else:
                    yield worker.finished(), content
            elif not worker.process.is_alive() and not worker.pipe.poll():
                index, death = worker.job, worker.death()
                crew[place] = _Worker(packed, self.threads)
                if index is not None:
                    yield index, Failed(death)


@dataclass(slots=True)
class _Worker:
    """A worker process as the parent holds it."""

    packed: bytes
    threads: int
    job: Any = None
    pipe: Connection = field(init=False)
    process: SpawnProcess = field(init=False)
    born: bool = False

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.threads), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, index: int, job: Any) -> None:
        try:
            if not self.born:
                self.pipe.send_bytes(self.packed)
            self.born = True
            self.pipe.send(job)
        except OSError:
            logger.debug("a worker died before it got its job")
        self.job = index

    def hear(self) -> tuple[str, Any] | None:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return None

    def finished(self) -> int:
        index, self.job = self.job, None
        return index

    def death(self) -> str:
        code = self.process.exitcode
        self.end()
        if code is not None and code < 0:
            return f"the worker process was killed by {signal.Signals(-code).name}"
        return f"the worker process ended by itself with code {code}"

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()
        self.process.close()


def _serve(pipe: Connection, threads: int) -> None:
    """What a worker process does: take the work once, then job after job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(threads)
    try:
        work = pickle.loads(pipe.recv_bytes())  # noqa: S301  from our own parent
        while True:
            result = _attempt(work, pipe.recv(), lambda done: pipe.send(("tick", done)))
            pipe.send(("result", result))
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _attempt(work: Work, job: Any, tick: Callable[[float], object]) -> Any:
    try:
        return work(job, tick)
    except ChipmendError as error:
        return Failed(error.message)
    except Exception as error:
        logger.debug("a job failed", exc_info=True)
        return Failed(reason_of(error))


def _packed(work: Work) -> bytes:
    try:
        return pickle.dumps(work)
    except _PICKLE_ERRORS as error:
        raise WorkerError(
            f"the task cannot be sent to a worker process: {error}",
            hint="define the network, metric and loss at the top of an importable module, or run "
            "with one worker",
        ) from error

