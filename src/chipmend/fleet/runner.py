"""Has jobs carried out and keeps their results, so that whatever is done once stays done.

The runner is the only one that writes to the store.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chipmend.fleet.executor import Executor, Failed, Unfinished, Work
from chipmend.fleet.fingerprint import check_same
from chipmend.fleet.progress import Progress, Unwatched
from chipmend.fleet.store import Store

PROGRESS_SECONDS = 2.0
"""How often the store hears how far a job is, so that a crash shows on the bill."""


@dataclass(frozen=True, eq=False)
class Runner:
    """Carries jobs out.

    Args:
        executor: Who does the work.
        store: Where results are kept.
        progress: Who watches.
    """

    executor: Executor
    store: Store
    progress: Progress = field(default_factory=Unwatched)

    def check_fingerprint(self, now: Mapping[str, Any], of: str = "") -> None:
        """Keep a new run's fingerprint, or refuse to go on with a run under another one.

        Args:
            now: The fingerprint.
            of: What part of the run it is of, if not of the whole.

        Raises:
            FingerprintError: Says which parts differ.
        """
        kept = self.kept(f"fingerprint {of}".strip(), now)
        check_same(kept, now, getattr(self.store, "folder", "the store"))

    def kept(self, fact: str, now: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the store keeps under a name: from now on this, if nothing yet."""
        known = self.store.fact(fact)
        if known is None:
            self.store.keep_fact(fact, now)
        return now if known is None else known

    def results(self, kind: str, phase: str, work: Work, jobs: Mapping[str, Any]) -> dict[str, Any]:
        """Results of all jobs, of which only those not in the store are worked on.

        Args:
            kind: What kind of jobs they are; names are unique within a kind.
            phase: What people are told it is.
            work: Does one job; its result is something that JSON can hold.
            jobs: The jobs by name.

        Returns:
            Results by name, in the order of ``jobs``; ``{"failed": reason}`` for one that failed.
            Its work counts as lost, and the next run tries it again, as it does one that is
            unfinished.

        Raises:
            StoreError: The store cannot be written; what was kept stays kept.
        """
        results = self.store.results(kind)
        left = [name for name in jobs if name not in results]
        self.progress.phase(phase, len(jobs), len(jobs) - len(left))
        watch = _Watch(self.store, self.progress, kind, left)
        finished = self.executor.run(
            work, [jobs[name] for name in left], on_start=watch.start, on_tick=watch.tick
        )
        for index, result in finished:
            name = left[index]
            if isinstance(result, Failed):
                self.store.fail(kind, name, *watch.spent(index))
                results[name] = {"failed": result.reason}
            elif isinstance(result, Unfinished):
                self.store.fail(kind, name, *watch.spent(index))
                results[name] = result.result
            else:
                self.store.finish(kind, name, result)
                results[name] = result
            self.progress.job_done()
        return {name: results[name] for name in jobs}


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
        self.progress.job_begun()

    def spent(self, index: int) -> tuple[float, float]:
        """Epoch-equivalents and seconds that went into a job so far."""
        return self._told.get(index, 0.0), time.monotonic() - self._begun[index]

    def tick(self, index: int, ee: float) -> None:
        self.progress.advance(ee - self._told.get(index, 0.0))
        self._told[index] = ee
        now = time.monotonic()
        if now - self._kept_at[index] >= PROGRESS_SECONDS:
            self._kept_at[index] = now
            self.store.progress(self.kind, self.jobs[index], ee, now - self._begun[index])
