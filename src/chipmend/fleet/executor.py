"""What carries jobs out: in this process, or on worker processes of this machine.

An executor gives back every job exactly once, under its index, as it finishes. A job that raises,
or whose worker dies, comes back as ``Failed``; the others go on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chipmend.errors import ChipmendError, in_a_line

Tick = Callable[[float], object]
Work = Callable[[Any, Tick], Any]
"""Does one job; calls its second argument now and then with the epoch-equivalents done so far."""
OnTick = Callable[[int, float], object]
"""Told the index of a job and the epoch-equivalents it has done so far."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that could not be done.

    Args:
        reason: Why, in a line.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A job that was done but for a part that broke down: it is to be tried again.

    Args:
        result: What it came to.
    """

    result: Any


class Executor(Protocol):
    """Carries out jobs."""

    def run(
        self,
        work: Work,
        jobs: Sequence[Any],
        *,
        on_start: Callable[[int], object] = ...,
        on_tick: OnTick = ...,
    ) -> Iterator[tuple[int, Any]]:
        """Do all jobs.

        Args:
            work: Picklable; sent to every worker once.
            jobs: Picklable.
            on_start: Told the index of a job when it is begun.
            on_tick: Told how far a job is.

        Yields:
            Index and result, or ``Failed``, of each job, in the order of finishing.
        """
        ...


def ignore(*_: object) -> None:
    """Listen to nothing."""


def reason_of(error: BaseException) -> str:
    """An error in a line, and what to do about it if it is one of ours."""
    if isinstance(error, ChipmendError):
        return "; ".join(filter(None, (error.message, error.hint)))
    return in_a_line(error)
