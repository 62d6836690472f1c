"""What a store of a run keeps. The campaign's own process is the only one that writes to it."""

from typing import Any, Protocol


class Store(Protocol):
    """Keeps a run's facts, the results of its jobs, and the attempts at them."""

    def fact(self, name: str) -> Any | None:
        """A fact of the run, such as its fingerprint; none if it was never kept."""
        ...

    def keep_fact(self, name: str, content: Any) -> None:
        """Keep a fact of the run, instead of an earlier one of that name."""
        ...

    def results(self, kind: str) -> dict[str, Any]:
        """Results of all finished jobs of a kind, by job."""
        ...

    def begin(self, kind: str, job: str) -> None:
        """Note that an attempt at a job has begun; one still running at it is lost."""
        ...

    def progress(self, kind: str, job: str, ee: float, seconds: float) -> None:
        """Note how far the running attempt at a job is."""
        ...

    def finish(self, kind: str, job: str, result: Any) -> None:
        """Keep a job's result, and end its attempt, both or neither."""
        ...

    def fail(self, kind: str, job: str, ee: float, seconds: float) -> None:
        """End the running attempt at a job without a result: its work is lost."""
        ...

    def lost(self) -> tuple[float, float]:
        """Epoch-equivalents and seconds of attempts that were interrupted or failed."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
