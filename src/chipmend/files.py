"""Files: written whole or not at all, and where fetched or computed ones are cached."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from chipmend.errors import StoreError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only once everything is on disk.

    Args:
        path: Where the file shall be; an older one is replaced at the end, also behind a link. What
            is no file, such as a pipe or ``/dev/stdout``, is written to as it is.

    Yields:
        A binary stream to write to.

    Raises:
        StoreError: The folder cannot be written, or the disk is full. Nothing is left behind.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            with path.open("wb") as stream:
                yield stream
            return
        whole = path.resolve()
        whole.parent.mkdir(parents=True, exist_ok=True)
        draft = whole.with_name(f".{whole.name}.{secrets.token_hex(4)}")
        try:
            with draft.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(whole)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a small file whole or not at all, and give its path back."""
    with written_whole(path) as stream:
        stream.write(content)
    return path


def digest_of_file(path: Path, algorithm: Callable[[], "hashlib._Hash"] = hashlib.sha256) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def cannot_write(path: Path, error: OSError) -> StoreError:
    """What is told where something cannot be written."""
    return StoreError(
        f"cannot write {path}: {error.strerror or error}",
        hint="check that the folder exists, is writable and has room, then run the same again",
    )


def cache_folder(name: str) -> Path:
    """Folder of the user's cache for one purpose; ``CHIPMEND_CACHE`` moves the whole cache.

    Args:
        name: The purpose, such as a data set's name.

    Returns:
        The folder; it need not exist yet.

    Raises:
        StoreError: The user has no home, and the environment names no folder.
    """
    if base := os.environ.get("CHIPMEND_CACHE"):
        return Path(base) / name
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "chipmend" / name
    try:
        return Path.home() / ".cache" / "chipmend" / name
    except RuntimeError as error:
        raise StoreError(
            "there is no home folder to keep a cache in", hint="set CHIPMEND_CACHE to a folder"
        ) from error
