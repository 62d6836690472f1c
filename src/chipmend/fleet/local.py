"""Executors of this machine: this very process, and worker processes.

A worker starts as a fork of a process that has imported all of us and computed nothing, so that the
seconds of these imports are paid once and not by every worker of every phase. Only Linux forks
safely with the libraries that we import; elsewhere workers start from nothing.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from chipmend.errors import ChipmendError, WorkerError
from chipmend.fleet.executor import Failed, OnTick, Work, ignore, reason_of
from chipmend.network.processor import computing_with, keep_freed_memory

logger = logging.getLogger(__name__)

TRIES = 2
"""Workers that a job may cost before it counts as failed."""

PRELOADED = (__name__, "torch._dynamo")
"""What workers find imported; the second is what optimizers import when first used."""

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
        crew = _Crew(_packed(work), self.threads, deque(enumerate(jobs)))
        crew.hire(min(self.workers, len(jobs)))
        try:
            while crew.busy():
                for index in crew.hand_out():
                    on_start(index)
                yield from crew.hear(on_tick)
        finally:
            crew.dismiss()


@dataclass(slots=True)
class _Crew:
    """Worker processes, and the jobs that none of them has yet."""

    packed: bytes
    threads: int
    waiting: deque[tuple[int, Any]]
    workers: list["_Worker"] = field(default_factory=list)
    deaths: Counter[int] = field(default_factory=Counter)

    def hire(self, count: int) -> None:
        self.workers += [_Worker(self.packed, self.threads) for _ in range(count)]

    def dismiss(self) -> None:
        for worker in self.workers:
            worker.end()

    def busy(self) -> bool:
        return bool(self.waiting) or any(worker.task is not None for worker in self.workers)

    def hand_out(self) -> Iterator[int]:
        """Give every idle worker a job, and say which jobs were given."""
        for worker in self.workers:
            if worker.task is None and self.waiting:
                index, job = self.waiting.popleft()
                worker.give(index, job)
                yield index

    def hear(self, on_tick: OnTick) -> Iterator[tuple[int, Any]]:
        """Listen once, to whoever has something to say; a pipe at its end means a death."""
        ready = wait([worker.pipe for worker in self.workers])
        for worker in tuple(self.workers):
            if worker.pipe not in ready:
                continue
            said = worker.hear()
            if said is None:
                yield from self._replaced(worker)
            elif worker.task is not None:
                kind, content = said
                if kind == "tick":
                    on_tick(worker.task[0], content)
                elif kind == "result":
                    yield worker.finished(), content

    def _replaced(self, worker: "_Worker") -> Iterator[tuple[int, Any]]:
        """Bury a worker; its job gets another try, unless it has cost a worker before."""
        task = worker.task
        self.workers.remove(worker)
        death = worker.death()
        self.hire(1)
        if task is None:
            return
        self.deaths[task[0]] += 1
        if self.deaths[task[0]] < TRIES:
            self.waiting.appendleft(task)
        else:
            yield task[0], Failed(f"{death}, {TRIES} times")


@dataclass(slots=True)
class _Worker:
    """A worker process as the parent holds it."""

    packed: bytes
    threads: int
    task: tuple[int, Any] | None = None
    ready: bool = False
    pipe: Connection = field(init=False)
    process: BaseProcess = field(init=False)
    born: bool = False

    def __post_init__(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = _process(_serve, theirs, self.threads)
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
        self.task = (index, job)

    def hear(self) -> tuple[str, Any] | None:
        try:
            said = self.pipe.recv()
        except (EOFError, OSError):
            return None
        self.ready = True
        return said

    def finished(self) -> int:
        assert self.task is not None
        index, self.task = self.task[0], None
        return index

    def death(self) -> str:
        self.process.join()
        code = self.process.exitcode
        self.end()
        if code is not None and code < 0:
            return f"the worker process was killed by {signal.Signals(-code).name}"
        if not self.ready:
            raise WorkerError(
                "a worker process cannot start, or cannot unpack the task",
                hint="put the call under 'if __name__ == \"__main__\":' and everything that the "
                "task needs into importable modules, or run with one worker",
            )
        return f"the worker process ended by itself with code {code}"

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()
        self.process.close()


def _process(target: Callable[..., object], *given: object) -> BaseProcess:
    """A process that does not inherit what this one has computed, or holds open."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn").Process(target=target, args=given, daemon=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    return context.Process(target=target, args=given, daemon=True)


def _serve(pipe: Connection, threads: int) -> None:
    """What a worker process does: take the work once, then job after job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    with suppress(EOFError, OSError):
        work = pickle.loads(pipe.recv_bytes())  # noqa: S301  from our own parent
        pipe.send(("ready", None))
        with computing_with(threads):  # of the libraries, too, that came with the work
            while True:
                result = _attempt(work, pipe.recv(), lambda done: pipe.send(("tick", done)))
                pipe.send(("result", result))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _attempt(work: Work, job: Any, tick: Callable[[float], object]) -> Any:
    try:
        return work(job, tick)
    except ChipmendError as error:
        return Failed(reason_of(error))
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
