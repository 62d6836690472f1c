"""Progress bars with time left, for anything that takes more than two seconds."""

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from chipmend.cli.app import err


class Bars:
    """Shows a campaign's progress: a bar per phase on a terminal, a line per job in a log."""

    def __init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[ee]}"),
            TimeElapsedColumn(),
            _TimeLeft(self._left),
            console=err,
            disable=not err.is_terminal,
        )
        self._phase: TaskID | None = None
        self._ee, self._done, self._began, self._heard = 0.0, 0, 0.0, 0.0
        self._under_way = self._at_once = 0

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def phase(self, name: str, jobs: int, done: int) -> None:
        """A phase begins."""
        self._ee, self._done = 0.0, done
        self._began = self._heard = time.monotonic()
        self._under_way = self._at_once = 0
        self._phase = self._bars.add_task(name, total=jobs, completed=done, ee="")
        if not err.is_terminal:
            before = ", done before" if done else ""
            err.print(f"{name}: {done} of {jobs}{before}", highlight=False, soft_wrap=True)

    def job_begun(self) -> None:
        """A job of the phase is begun; the clock starts with the first, when its worker is up."""
        if not self._at_once:
            self._began = time.monotonic()
        self._under_way += 1
        self._at_once = max(self._at_once, self._under_way)

    def advance(self, ee: float) -> None:
        """So many epoch-equivalents were worked."""
        self._ee += ee
        if self._phase is not None:
            self._bars.update(self._phase, ee=f"{self._ee:.2f} EE")

    def job_done(self) -> None:
        """A job of the phase is done."""
        if self._phase is None:
            return
        self._heard = time.monotonic()
        self._under_way -= 1
        self._bars.advance(self._phase)
        if not err.is_terminal:
            err.print(self._line(), highlight=False, soft_wrap=True)

    def _line(self) -> str:
        task = next(task for task in self._bars.tasks if task.id == self._phase)
        ee = f"{task.fields['ee']}, " if task.fields["ee"] else ""
        done = f"{task.completed:g} of {task.total:g}"
        return f"{task.description}: {done}, {ee}{self._left(task)}"

    def _left(self, task: Task) -> str:
        """Time left, if the jobs to come take as long on average as those of this run.

        It is not told before as many jobs are done as go on at once: the others are well on, too.
        """
        if task.id != self._phase or not task.total:
            return ""
        done = task.completed - self._done
        if not done or done < self._at_once < task.total - self._done:
            return "? left" if task.completed < task.total else ""
        per_job = (self._heard - self._began) / done
        seconds = per_job * (task.total - task.completed) - (time.monotonic() - self._heard)
        return f"{timedelta(seconds=round(max(0.0, seconds)))} left"


class _TimeLeft(ProgressColumn):
    """What a function says of a task."""

    def __init__(self, left: Callable[[Task], str]) -> None:
        super().__init__()
        self._left = left

    def render(self, task: Task) -> Text:
        """As rich wants it."""
        return Text(self._left(task))
