"""How a network is carried out in integers, as JSON: plain data, checked before it is ever run.

Operators are PyTorch's own, by name. What is read may call none that changes what it is given, none
of another library, and none that takes a text other than those that layers take.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from chipmend.errors import BundleError
from chipmend.network.integer.graph import (
    Graph,
    Held,
    Operation,
    Value,
    is_on_numbers,
    schema_of,
)
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.network import Lowering
from chipmend.network.integer.stages import staged

_TEXTS = {
    *("same", "valid", "none", "tanh", "floor", "trunc"),
    *("constant", "reflect", "replicate", "circular"),
}
"""Texts that operators of layers take."""
_TYPES = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}


def record_of(lowering: Lowering) -> dict[str, Any]:
    """A lowering as JSON; its constants are tensors, and are kept elsewhere.

    Raises:
        BundleError: An operator is given something that JSON cannot hold.
    """
    graph = lowering.graph
    return {
        "input": graph.input,
        "input_sizes": list(graph.input_sizes),
        "output": graph.output,
        "operations": [_of_operation(each) for each in graph.operations],
        "constants": sorted(graph.constants),
        "grids": {name: [grid.step, grid.signed] for name, grid in lowering.grids.items()},
    }


def lowering_of(
    record: Mapping[str, Any], constants: Mapping[str, Tensor], placed: Collection[str]
) -> Lowering:
    """A lowering again.

    Args:
        record: As ``record_of`` gives it.
        constants: Its constants.
        placed: Names of the weights that the array holds.

    Raises:
        BundleError: It calls what it may not.
    """
    graph = Graph(
        record["input"],
        tuple(record["input_sizes"]),
        tuple(_operation(each) for each in record["operations"]),
        record["output"],
        {name: constants[name] for name in record["constants"]},
    )
    grids = {name: Grid(float(step), bool(sign)) for name, (step, sign) in record["grids"].items()}
    return Lowering(graph, tuple(staged(graph, placed, float_allowed=True)), grids)


def _of_operation(each: Operation) -> dict[str, Any]:
    return {
        "operator": each.operator,
        "given": [[name, _plain(item)] for name, item in each.given.items()],
        "result": each.result,
        "sizes": list(each.sizes),
        "place": each.place,
    }


def _operation(record: Mapping[str, Any]) -> Operation:
    operator = record["operator"]
    if not is_on_numbers(operator):
        _check_pure(operator)
    given = {name: _item(item) for name, item in record["given"]}
    return Operation(operator, given, record["result"], tuple(record["sizes"]), record["place"])


def _check_pure(operator: str) -> None:
    schema = schema_of(operator) if "::" not in operator else None
    if schema is None or schema.is_mutable:
        raise BundleError(
            f"the base calls {operator!r}, which is no operator of layers",
            hint="take no base from strangers; write it anew with 'chipmend mend'",
        )


def _plain(item: Any) -> Any:
    match item:
        case Value(name=name):
            return {"value": name}
        case Held(name=name):
            return {"held": name}
        case list() | tuple():
            return [_plain(part) for part in item]
        case float() if not math.isfinite(item):
            return {"float": str(item)}
        case torch.device():
            return None  # wherever the network is then
        case None | bool() | int() | float():
            return item
        case str() if item in _TEXTS:
            return item
    for kind, type_ in _TYPES.items():
        if isinstance(item, type_):
            return {kind: str(item).removeprefix("torch.")}
    raise BundleError(
        f"an operator is given {item!r}, which a bundle cannot hold",
        hint="have the network computed by plain layers",
    )


def _item(record: Any) -> Any:
    match record:
        case {"value": str(name)}:
            return Value(name)
        case {"held": str(name)}:
            return Held(name)
        case {"float": "inf" | "-inf" | "nan" as text}:
            return float(text)
        case list():
            return [_item(part) for part in record]
        case None | bool() | int() | float():
            return record
        case str() if record in _TEXTS:
            return record
        case dict() if len(record) == 1:
            (kind, name), *_ = record.items()
            found = getattr(torch, name, None) if isinstance(name, str) else None
            if kind in _TYPES and isinstance(found, _TYPES[kind]):
                return found
    raise BundleError(
        f"the base gives an operator {record!r}", hint="write it anew with 'chipmend mend'"
    )
