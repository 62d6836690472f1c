"""Fetch a Debian package and unpack it without being root.

``apt-get download`` needs no privileges, and ``dpkg-deb -x`` only unpacks: nothing is installed.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chipmend.errors import DataError


@contextmanager
def unpacked_package(package: str) -> Iterator[Path]:
    """Fetch a package and unpack it into a folder that is gone afterwards.

    Args:
        package: Name of the package.

    Yields:
        The folder that holds the package's files under their absolute paths.

    Raises:
        DataError: No Debian, no network, or no such package.
    """
    with tempfile.TemporaryDirectory(prefix="chipmend-") as name:
        folder = Path(name)
        _call(["apt-get", "download", package], folder)
        archives = list(folder.glob(f"{package}_*.deb"))
        if len(archives) != 1:
            raise DataError(f"apt-get download {package} left {len(archives)} packages")
        _call(["dpkg-deb", "-x", str(archives[0]), "files"], folder)
        yield folder / "files"


def _call(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)  # noqa: S603
    except FileNotFoundError as error:
        raise DataError(f"there is no {command[0]} on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{' '.join(command)} took more than 10 minutes") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise DataError(
            f"{' '.join(command)} failed: {said[-1] if said else error}",
            hint="'apt-get update' (as root) may be needed once",
        ) from error
