"""What a campaign tells whoever watches it."""

from typing import Protocol


class Progress(Protocol):
    """Listens to a campaign."""

    def phase(self, name: str, jobs: int, done: int) -> None:
        """A phase begins, with so many jobs, of which some were done in an earlier run."""
        ...

    def job_begun(self) -> None:
        """A job of the phase is begun, perhaps beside others."""
        ...

    def advance(self, ee: float) -> None:
        """So many epoch-equivalents were worked since the last call."""
        ...

    def job_done(self) -> None:
        """A job of the phase is done."""
        ...


class Unwatched:
    """Nobody listens."""

    def phase(self, name: str, jobs: int, done: int) -> None:
        """Nothing."""

    def job_begun(self) -> None:
        """Nothing."""

    def advance(self, ee: float) -> None:
        """Nothing."""

    def job_done(self) -> None:
        """Nothing."""
