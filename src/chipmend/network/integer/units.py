"""What carries out one stage each, with the numbers of one network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from chipmend.network.integer.arithmetic import AT_ONCE
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.ends import (
    edges,
    of_average,
    of_join,
    of_norm,
    of_pair,
    of_product,
    of_sum,
)
from chipmend.network.integer.functions import layer_norm, looked_up, on_grid, softmax, table
from chipmend.network.integer.graph import Held, Operation, Value
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.layers import Layer, Multiplier, Pair
from chipmend.network.integer.pooling import POOLS, max_pooled
from chipmend.network.integer.stages import Kind, Stage


@dataclass(slots=True)
class Values:
    """What a forward pass has computed so far, as whole numbers or as real ones.

    Args:
        grids: Grids of the values that are whole numbers, or may be brought to them.
    """

    grids: Mapping[str, Grid]
    _whole: dict[str, Any] = field(default_factory=dict)
    _real: dict[str, Any] = field(default_factory=dict)

    def put(self, name: str, value: Any, *, whole: bool) -> None:
        """Note a value."""
        (self._whole if whole else self._real)[name] = value

    def copy(self) -> "Values":
        """The same values, which others may be put beside."""
        return Values(self.grids, dict(self._whole), dict(self._real))

    def drop(self, name: str) -> None:
        """Forget a value."""
        self._whole.pop(name, None)
        self._real.pop(name, None)

    def whole(self, name: str) -> Any:
        """A value as whole numbers, brought to its grid if it is real."""
        if name not in self._whole:
            value = self._real[name]
            self._whole[name] = (
                self.grids[name].numbers(value) if isinstance(value, Tensor) else value
            )
        return self._whole[name]

    def real(self, name: str) -> Any:
        """A value as real numbers."""
        if name not in self._real:
            value = self._whole[name]
            self._real[name] = (
                self.grids[name].values(value) if isinstance(value, Tensor) else value
            )
        return self._real[name]


Unit = Callable[[Values], Any]


def unit(
    stage: Stage,
    grids: Mapping[str, Grid],
    held: Mapping[str, Tensor],
    codes: Mapping[str, Codes],
    multiplier: Multiplier,
) -> Unit:
    """What carries out a stage.

    Args:
        stage: The stage.
        grids: Grids of what comes into it and of what comes out.
        held: Weights and statistics of the network that are not codes.
        codes: Those that are.
        multiplier: What computes matrix products.

    Returns:
        A function of the values so far that gives the stage's result.
    """
    match stage.kind:
        case Kind.PRODUCT:
            return _product(stage, grids, held, codes, multiplier)
        case Kind.PAIR:
            return _pair(stage, grids, multiplier)
        case Kind.NORM:
            return _norm(stage, grids, held)
        case Kind.SUM:
            return _sum(stage, grids)
        case Kind.AVERAGE:
            return _average(stage, grids)
        case Kind.JOIN:
            return _join(stage, grids)
        case Kind.CONSTANT if stage.integer:
            return _constant(stage, grids, held)
        case Kind.TABLE:
            return _table(stage, grids)
        case Kind.SHARES:
            return _shares(stage, grids)
        case Kind.LAYER_NORM:
            return _layer_norm(stage, grids, held)
        case Kind.SCALE if stage.integer:
            return lambda values: values.whole(stage.tensors[0])
        case Kind.BOUND if stage.integer:
            return _bound(stage, grids)
        case Kind.MOVE if stage.integer:
            return _move(stage, held)
        case _:
            return lambda values: _carried_out(stage.operation, values.real, held)


def _product(
    stage: Stage,
    grids: Mapping[str, Grid],
    held: Mapping[str, Tensor],
    codes: Mapping[str, Codes],
    multiplier: Multiplier,
) -> Unit:
    (taken,) = stage.tensors
    end = of_product(stage, grids, held, codes)
    numbers = codes[stage.operation.given["weight"].name].numbers
    layer = Layer(stage.operation, numbers, grids[taken])
    product = multiplier(layer)

    def run(values: Values) -> Tensor:
        inputs = values.whole(taken)
        return layer.arranged(end.narrowed(product(inputs)), inputs)

    return run


def _pair(stage: Stage, grids: Mapping[str, Grid], multiplier: Multiplier) -> Unit:
    left, right = stage.tensors
    product = multiplier.pair(Pair(stage.operation.place, grids[left], grids[right]))

    def run(values: Values) -> Tensor:
        operands = values.whole(left), values.whole(right)
        end = of_pair(stage, grids, operands[1].shape[-2])
        found = product(*operands).mT.contiguous()  # as products give it
        return end.narrowed(found.view(1, -1)).view(found.shape).mT

    return run


def _norm(stage: Stage, grids: Mapping[str, Grid], held: Mapping[str, Tensor]) -> Unit:
    (taken,), end = stage.tensors, of_norm(stage, grids, held)

    def run(values: Values) -> Tensor:
        samples_last = values.whole(taken).movedim(0, -1)
        found = end.narrowed(samples_last.reshape(len(samples_last), -1))
        return found.view(samples_last.shape).movedim(-1, 0)

    return run


def _average(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    end = of_average(stage, grids)

    def run(values: Values) -> Tensor:
        # a mean of whole numbers, times their number, is whole but for rounding
        means = _carried_out(stage.operation, lambda name: values.whole(name).double(), {})
        sums = (means * stage.places).round_()
        return _elementwise(lambda piece: end.narrowed(piece[None])[0], sums)

    return run


def _sum(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    (first, second), grid = stage.tensors, grids[stage.result]
    fixed, between = of_sum(stage, grids), edges(stage.bounds, grid)

    def added(one: Tensor, other: Tensor) -> Tensor:
        return fixed.sum([one, other]).clamp_(*between).to(grid.dtype)

    def run(values: Values) -> Tensor:
        terms = torch.broadcast_tensors(values.whole(first), values.whole(second))
        return _elementwise(added, *terms)

    return run


def _join(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    ends = {name: of_join(stage, grids, name) for name in stage.tensors}

    def brought(name: str, numbers: Tensor) -> Tensor:
        return _elementwise(lambda piece: ends[name].narrowed(piece[None])[0], numbers)

    return lambda values: _carried_out(
        stage.operation, lambda name: brought(name, values.whole(name)), {}
    )


def _constant(stage: Stage, grids: Mapping[str, Grid], held: Mapping[str, Tensor]) -> Unit:
    (name,) = stage.operation.holds
    grid = grids[stage.result]
    numbers = on_grid(held[name].double(), grid, edges(stage.bounds, grid))
    return lambda _: numbers


def _table(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    (taken,), given = stage.tensors, grids[stage.result]
    entries = table(stage.operation, grids[taken], given, edges(stage.bounds, given))
    return lambda values: looked_up(values.whole(taken), entries)


def _shares(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    (taken,), given = stage.tensors, grids[stage.result]
    between = edges(stage.bounds, given)
    return lambda values: softmax(values.whole(taken), grids[taken], given, between)


def _layer_norm(stage: Stage, grids: Mapping[str, Grid], held: Mapping[str, Tensor]) -> Unit:
    (taken,), given, options = stage.tensors, grids[stage.result], stage.operation.given
    between = edges(stage.bounds, given)
    weight, bias = (
        held[item.name] if isinstance(item, Held) else None
        for item in (options["weight"], options["bias"])
    )
    return lambda values: layer_norm(
        values.whole(taken),
        grids[taken],
        given,
        between,
        axes=len(options["normalized_shape"]),
        epsilon=options["eps"],
        weight=weight,
        bias=bias,
    )


def _bound(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    between = edges(stage.bounds, grids[stage.result])
    return lambda values: values.whole(stage.tensors[0]).clamp(*between)


def _move(stage: Stage, held: Mapping[str, Tensor]) -> Unit:
    """What moves or compares numbers; where PyTorch does so on real ones alone, as real ones."""
    operation, given = stage.operation, dict(stage.operation.given)
    if operation.operator in POOLS and not given["ceil_mode"]:
        dims = POOLS[operation.operator]
        return lambda values: max_pooled(values.whole(stage.tensors[0]), dims, given)
    if "pool" not in operation.operator and "upsample" not in operation.operator:
        return lambda values: _carried_out(operation, values.whole, held)

    def run(values: Values) -> Any:
        dtype = values.whole(stage.tensors[0]).dtype
        found = _carried_out(operation, lambda name: _as_real(values.whole(name)), held)
        return found.to(dtype) if isinstance(found, Tensor) else [found[0].to(dtype), *found[1:]]

    return run


def _elementwise(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply a function of flat tensors piece by piece, in the order in which products give them."""
    ordered = [tensor.movedim(0, -1).contiguous() for tensor in tensors]
    pieces = zip(*(tensor.view(-1).split(AT_ONCE) for tensor in ordered), strict=True)
    found = torch.cat([function(*piece) for piece in pieces])
    return found.view(ordered[0].shape).movedim(-1, 0)


def _carried_out(
    operation: Operation, value: Callable[[str], Any], held: Mapping[str, Tensor]
) -> Any:
    return operation(lambda item: value(item.name) if isinstance(item, Value) else held[item.name])


def _as_real(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value
