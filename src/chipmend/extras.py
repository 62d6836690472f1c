"""Optional libraries: imported where they are needed, and named with their extra if missing."""

import importlib
from typing import Any

from chipmend.errors import MissingExtraError


def imported(module: str, *, extra: str) -> Any:
    """Import an optional library.

    Args:
        module: Its name, dots included.
        extra: The extra of chipmend that installs it.

    Returns:
        The module.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs {module.partition('.')[0]}, which cannot be imported: {error}",
            hint=f"install it: pip install 'chipmend[{extra}]'",
        ) from error
