"""Stored records: frozen dataclasses as JSON, and digests of what they say."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses become objects, infinities and NaN become null.

    What JSON has no word for, such as paths and dates, becomes text.

    Example:
        >>> plain({"epochs": float("inf"), "rates": (0.1, 0.5)})
        {'epochs': None, 'rates': [0.1, 0.5]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool | int | float | str | None):
        return value
    number = getattr(value, "item", None)  # NumPy's numbers have it
    return str(value) if number is None else plain(number())


def digest_of(value: Any) -> str:
    """Hex digest of a value's content, the same however it is written.

    Example:
        >>> digest_of([1, 2.5]) == digest_of((1.0, 2.5))
        True
        >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
        True
    """
    text = json.dumps(_canonical(plain(value)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class ByKind:
    """Where stored records are read: choose among alternatives by their ``kind``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Field  # as below

        return handler.generate_schema(Annotated[source, Field(discriminator="kind")])


def _canonical(value: Any) -> Any:
    """Whole numbers are the same whether they were written as 1 or as 1.0."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def rebuilt(kind: Any, content: Any) -> Any:
    """Make a dataclass of what ``plain`` made of one.

    Args:
        kind: The dataclass, or a type built from dataclasses.
        content: Its content.

    Returns:
        An instance of ``kind``.

    Raises:
        ValueError: The content does not fit.

    Example:
        >>> rebuilt(tuple[int, ...], [1, 2])
        (1, 2)
    """
    from pydantic import TypeAdapter  # heavy, and not needed to plan or to decide

    return TypeAdapter(kind).validate_python(content)
