"""Where data sets that had to be fetched are kept: the user's cache, never the working folder."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Folder of the user's cache for one purpose; ``CHIPMEND_CACHE`` moves the whole cache.

    Args:
        name: The purpose, such as a data set's name.

    Returns:
        The folder; it need not exist yet.
    """
    home = Path.home() / ".cache"
    base = os.environ.get("CHIPMEND_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or home) / "chipmend"
    return Path(base) / name
