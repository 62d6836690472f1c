"""Numbers, texts, lists and arrays out of a pickle, without running anything that it names.

A pickle may name any function and have it called. Here every name stands for something inert:
arrays are put together from the bytes that lie in the file, and all else is refused.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from chipmend.errors import DataError

_PLACES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy", "_codecs")
MOST_AXES = 8


class _Type:
    """Stands for ``numpy.dtype``: takes down what it is given."""

    def __init__(self, *given: Any) -> None:
        self.code = given[0] if given else b""

    def __setstate__(self, _: Any) -> None:
        """Byte order and the like do not matter for bytes, the only type that is taken."""


class _Array:
    """Stands for ``numpy.ndarray``: takes down its sizes and its bytes."""

    array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, sizes, kind, by_columns, content = state
        known = isinstance(kind, _Type) and kind.code in (b"u1", "u1")
        if not known or not isinstance(content, bytes) or len(sizes) > MOST_AXES:
            raise pickle.UnpicklingError("an array of something other than bytes")
        order = "F" if by_columns else "C"
        self.array = np.frombuffer(content, np.uint8).reshape(sizes, order=order).copy()


def _reconstructed(*_: Any) -> _Array:
    return _Array()


def _encoded(text: str, _: Any = None) -> bytes:
    return text.encode("latin1")


_INERT = {"_reconstruct": _reconstructed, "ndarray": _Array, "dtype": _Type, "encode": _encoded}


class _Reader(pickle.Unpickler):
    """Knows no names but those of arrays of bytes, and stands in for these."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for here."""
        if module not in _PLACES or name not in _INERT:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _INERT[name]


def plain_contents(content: bytes, path: Path) -> Any:
    """Read a pickle of dicts, lists, numbers, texts and arrays of bytes.

    Args:
        content: The file's.
        path: Its path, for errors.

    Returns:
        What it holds; texts of Python 2 are bytes.

    Raises:
        DataError: It is no pickle, or holds anything else.
    """
    try:
        return _with_arrays(_Reader(io.BytesIO(content), encoding="bytes").load())
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(
            f"{path} is not a pickle of arrays and lists alone: {error}",
            hint="nothing in it was run; get the file again from where it is published",
        ) from error


def _with_arrays(found: Any) -> Any:
    if isinstance(found, _Array):
        return found.array
    if isinstance(found, dict):
        return {key: _with_arrays(item) for key, item in found.items()}
    return found
