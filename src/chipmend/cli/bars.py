"""Progress bars with time left, for anything that takes more than two seconds."""

from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from chipmend.cli.app import err


class Bars:
    """Shows a campaign's progress on the terminal, a bar per phase."""

    def __init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[ee]:.2f} EE"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=err,
        )
        self._phase: TaskID | None = None
        self._ee = 0.0

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
        self._ee = 0.0
        self._phase = self._bars.add_task(name, total=jobs, completed=done, ee=0.0)

    def advance(self, ee: float) -> None:
        """So many epoch-equivalents were worked."""
        self._ee += ee
        if self._phase is not None:
            self._bars.update(self._phase, ee=self._ee)

    def job_done(self) -> None:
        """A job of the phase is done."""
        if self._phase is not None:
            self._bars.advance(self._phase)
