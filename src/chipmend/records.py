"""Stored records: frozen dataclasses as JSON, and digests of what they say."""

import dataclasses
import datetime as dt
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses become objects, infinities and NaN become null.

    Paths and dates become text, arrays lists, sets sorted lists, and anything else the name of its
    class.

    Example:
        >>> plain({"epochs": float("inf"), "rates": (0.1, 0.5)})
        {'epochs': None, 'rates': [0.1, 0.5]}
    """
    return _tree(value, lambda _: None)


def digest_of(value: Any) -> str:
    """Hex digest of a value's content, the same however it is written.

    Example:
        >>> digest_of([1, 2.5]) == digest_of((1.0, 2.5))
        True
        >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
        True
    """
    tree = _canonical(_tree(value, lambda number: {"not finite": str(number)}))
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _tree(value: Any, not_finite: Callable[[float], Any]) -> Any:
    def inside(item: Any) -> Any:
        return _tree(item, not_finite)

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: inside(getattr(value, f.name)) for f in dataclasses.fields(value)}
    match value:
        case Mapping():
            return {str(key): inside(item) for key, item in value.items()}
        case list() | tuple():
            return [inside(item) for item in value]
        case set() | frozenset():
            return sorted((inside(item) for item in value), key=json.dumps)
        case float() if not math.isfinite(value):
            return not_finite(value)
        case bool() | int() | float() | str() | None:
            return value
        case Path() | dt.date():
            return str(value)
    listed = getattr(value, "tolist", None)  # of arrays, tensors and numpy's numbers
    if listed is not None:
        return inside(listed())
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


class ByKind:
    """Where stored records are read: choose among alternatives by their ``kind``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Field  # as below

        return handler.generate_schema(Annotated[source, Field(discriminator="kind")])


class ByField:
    """Where stored records are read: choose the first of two alternatives if a field is there.

    Args:
        first: A field of the first alternative.
        second: A field of the second one, which is missed if neither is there.
    """

    def __init__(self, first: str, second: str) -> None:
        self._first, self._second = first, second

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Discriminator, Tag  # as below

        one, other = get_args(source)
        tags = f"with {self._first}", f"with {self._second}"  # no field has such a name

        def which(table: Any) -> str:
            is_table = isinstance(table, Mapping)
            there = self._first in table if is_table else hasattr(table, self._first)
            return tags[0 if there else 1]

        tagged = Union[Annotated[one, Tag(tags[0])], Annotated[other, Tag(tags[1])]]  # noqa: UP007
        return handler.generate_schema(Annotated[tagged, Discriminator(which)])


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
