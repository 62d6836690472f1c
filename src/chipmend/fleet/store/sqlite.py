"""A run's store in one SQLite file, written by one process and locked while it is open."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, create_engine, event, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from chipmend.errors import RunInUseError, StoreError
from chipmend.fleet.store.schema import SCHEMA_VERSION, attempts, facts, metadata, results

FILE, LOCK = "run.sqlite", "run.lock"


class SqliteStore:
    """The store of a run folder.

    Attempts that an earlier process left running are lost from now on.

    Args:
        folder: The run folder; made if need be.

    Raises:
        RunInUseError: Another process has the folder open.
        StoreError: The folder cannot be written, or the file in it is no store of ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = _locked(folder)
        self._engine = create_engine(f"sqlite:///{folder / FILE}")
        event.listen(self._engine, "connect", _set_up)
        try:
            with self._transaction() as connection:
                metadata.create_all(connection)
                connection.execute(
                    update(attempts).where(attempts.c.state == "running").values(state="lost")
                )
            self._check_version()
        except StoreError:
            self.close()
            raise

    def fact(self, name: str) -> Any | None:
        """A fact of the run; none if it was never kept."""
        with self._transaction() as connection:
            found = connection.scalar(select(facts.c.content).where(facts.c.name == name))
        return None if found is None else json.loads(found)

    def keep_fact(self, name: str, content: Any) -> None:
        """Keep a fact of the run, instead of an earlier one of that name."""
        text = json.dumps(content)
        statement = insert(facts).values(name=name, content=text)
        with self._transaction() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["name"], set_={"content": text})
            )

    def results(self, kind: str) -> dict[str, Any]:
        """Results of all finished jobs of a kind, by job."""
        with self._transaction() as connection:
            rows = connection.execute(
                select(results.c.job, results.c.content).where(results.c.kind == kind)
            )
            return {job: json.loads(content) for job, content in rows}

    def begin(self, kind: str, job: str) -> None:
        """Note that an attempt at a job has begun; one still running at it is lost."""
        with self._transaction() as connection:
            connection.execute(_running(kind, job).values(state="lost"))
            connection.execute(insert(attempts).values(kind=kind, job=job, state="running"))

    def progress(self, kind: str, job: str, ee: float, seconds: float) -> None:
        """Note how far the running attempt at a job is."""
        with self._transaction() as connection:
            connection.execute(_running(kind, job).values(ee=ee, seconds=seconds))

    def finish(self, kind: str, job: str, result: Any) -> None:
        """Keep a job's result, and end its attempt, both or neither."""
        with self._transaction() as connection:
            content = json.dumps(result)
            connection.execute(insert(results).values(kind=kind, job=job, content=content))
            connection.execute(_running(kind, job).values(state="finished"))

    def fail(self, kind: str, job: str, ee: float, seconds: float) -> None:
        """End the running attempt at a job without a result: its work is lost."""
        with self._transaction() as connection:
            ended = _running(kind, job).values(state="lost", ee=ee, seconds=seconds)
            connection.execute(ended)

    def lost(self) -> tuple[float, float]:
        """Epoch-equivalents and seconds of attempts that were interrupted or failed."""
        sums = select(func.sum(attempts.c.ee), func.sum(attempts.c.seconds))
        with self._transaction() as connection:
            ee, seconds = connection.execute(sums.where(attempts.c.state == "lost")).one()
        return ee or 0.0, seconds or 0.0

    def close(self) -> None:
        """Close the file and give the folder free."""
        self._engine.dispose()
        self._lock.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            cause = str(getattr(error, "orig", None) or error)
            raise StoreError(
                f"cannot use {self.folder / FILE}: {cause}", hint=_hint(cause)
            ) from error

    def _check_version(self) -> None:
        found = self.fact("schema version")
        if found is None:
            self.keep_fact("schema version", SCHEMA_VERSION)
        elif found != SCHEMA_VERSION:
            raise StoreError(
                f"{self.folder / FILE} has schema version {found}, this chipmend knows "
                f"{SCHEMA_VERSION}",
                hint="use the chipmend that made the run, or begin in another folder",
            )


def _hint(cause: str) -> str:
    if "malformed" in cause or "not a database" in cause:
        return "the file was damaged: move it away, or begin in another run folder"
    return (
        "check that the run folder is writable and has room; then run the same again: everything "
        "kept so far stays kept"
    )


def _locked(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise StoreError(
            f"cannot write in {folder}: {error.strerror or error}",
            hint="give a run folder that you may write to",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise RunInUseError(
            f"another campaign is running in {folder}",
            hint="wait for it to end, or give this one a run folder of its own",
        ) from error
    return lock


def _set_up(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _running(kind: str, job: str) -> Any:
    return update(attempts).where(
        attempts.c.kind == kind, attempts.c.job == job, attempts.c.state == "running"
    )
