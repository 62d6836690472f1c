"""Functions and classes of the user's, named in a plan as ``package.module:name``."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from chipmend.errors import ChipmendError, PlanError


def made(factory: str, options: Mapping[str, Any], place: str) -> Any:
    """Call what ``package.module:function`` says.

    Raises:
        PlanError: There is no such thing, or it raised.
    """
    function = _imported(factory, place)
    try:
        return function(**options)
    except ChipmendError:
        raise
    except Exception as error:
        raise PlanError(
            f"{place}.factory: {factory!r} raised {type(error).__name__}: {error}",
            hint=f"check it, and {place}.options, which are its keyword arguments",
        ) from error


def _imported(name: str, place: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the user's module does when it is imported
        raise PlanError(
            f"{place}.factory: cannot import {name!r}: {type(error).__name__}: {error}",
            hint="write package.module:function, of a module beside the plan or on PYTHONPATH",
        ) from error
