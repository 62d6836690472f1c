"""What carries out one stage each, with the numbers of one network."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from chipmend.network.integer.arithmetic import AT_ONCE, FixedPoint
from chipmend.network.integer.codes import LARGEST_WEIGHT, Codes
from chipmend.network.integer.functions import layer_norm, looked_up, on_grid, softmax, table
from chipmend.network.integer.graph import Held, Operation, Value
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.layers import Layer, Multiplier, Pair
from chipmend.network.integer.pooling import POOLS, max_pooled
from chipmend.network.integer.stages import Bounds, Kind, Norm, Stage

ACCUMULATOR = 2**31
"""No accumulator of 32 bits reaches this."""


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
    given, (taken,) = stage.operation.given, stage.tensors
    weight, grid = codes[given["weight"].name], grids[taken]
    bias = held[given["bias"].name].double() if isinstance(given["bias"], Held) else 0.0
    factor, offset = normed(stage.norm, held, weight.step * grid.step, bias)
    offset = in_accumulators(offset, factor)
    largest = weight.numbers[0].numel() * LARGEST_WEIGHT * grid.largest
    end = _end(stage, grids, factor, offset, largest)
    layer = Layer(stage.operation, weight.numbers, grid)
    product = multiplier(layer)

    def run(values: Values) -> Tensor:
        inputs = values.whole(taken)
        return layer.arranged(end(product(inputs)), inputs)

    return run


def _pair(stage: Stage, grids: Mapping[str, Grid], multiplier: Multiplier) -> Unit:
    left, right = stage.tensors
    pair = Pair(stage.operation.place, grids[left], grids[right])
    product = multiplier.pair(pair)
    factor = torch.tensor([pair.left.step * pair.right.step], dtype=torch.float64)

    def run(values: Values) -> Tensor:
        operands = values.whole(left), values.whole(right)
        largest = operands[1].shape[-2] * pair.left.largest * pair.right.largest
        end = _end(stage, grids, factor, torch.zeros_like(factor), largest)
        found = product(*operands).mT.contiguous()  # as products give it
        return end(found.view(1, -1)).view(found.shape).mT

    return run


def _norm(stage: Stage, grids: Mapping[str, Grid], held: Mapping[str, Tensor]) -> Unit:
    (taken,) = stage.tensors
    assert stage.norm is not None
    step = torch.full_like(held[stage.norm.mean], grids[taken].step, dtype=torch.float64)
    factor, offset = normed(stage.norm, held, step, 0.0)
    end = _end(stage, grids, factor, offset, grids[taken].largest)

    def run(values: Values) -> Tensor:
        samples_last = values.whole(taken).movedim(0, -1)
        found = end(samples_last.reshape(len(samples_last), -1))
        return found.view(samples_last.shape).movedim(-1, 0)

    return run


def _average(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    (taken,) = stage.tensors
    factor = torch.tensor([grids[taken].step / stage.places], dtype=torch.float64)
    largest = stage.places * grids[taken].largest
    end = _end(stage, grids, factor, torch.zeros_like(factor), largest)

    def run(values: Values) -> Tensor:
        # a mean of whole numbers, times their number, is whole but for rounding
        means = _carried_out(stage.operation, lambda name: values.whole(name).double(), {})
        return _elementwise(lambda sums: end(sums[None])[0], (means * stage.places).round_())

    return run


def _sum(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    first, second = stage.tensors
    grid = grids[stage.result]
    factors = torch.tensor([grids[t].step / grid.step for t in (first, second)]).double()
    largest = sum(grids[t].largest for t in (first, second))
    fixed = FixedPoint.together(factors, largest=largest)
    edges = _edges(stage.bounds, grid)

    def added(one: Tensor, other: Tensor) -> Tensor:
        return fixed.sum([one, other]).clamp_(*edges).to(grid.dtype)

    def run(values: Values) -> Tensor:
        terms = torch.broadcast_tensors(values.whole(first), values.whole(second))
        return _elementwise(added, *terms)

    return run


def _join(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    grid = grids[stage.result]
    edges = _edges(stage.bounds, grid)

    def on_grid(name: str) -> Callable[[Tensor], Tensor]:
        factor = torch.tensor([grids[name].step / grid.step], dtype=torch.float64)
        fixed = FixedPoint.of(factor, torch.zeros_like(factor), largest=grids[name].largest)
        return lambda numbers: fixed.narrowed(numbers[None], *edges, grid.dtype)[0]

    brought = {name: on_grid(name) for name in stage.tensors}
    return lambda values: _carried_out(
        stage.operation, lambda name: _elementwise(brought[name], values.whole(name)), {}
    )


def _constant(stage: Stage, grids: Mapping[str, Grid], held: Mapping[str, Tensor]) -> Unit:
    (name,) = stage.operation.holds
    grid = grids[stage.result]
    numbers = on_grid(held[name].double(), grid, _edges(stage.bounds, grid))
    return lambda _: numbers


def _table(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    (taken,), given = stage.tensors, grids[stage.result]
    entries = table(stage.operation, grids[taken], given, _edges(stage.bounds, given))
    return lambda values: looked_up(values.whole(taken), entries)


def _shares(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    (taken,), given = stage.tensors, grids[stage.result]
    edges = _edges(stage.bounds, given)
    return lambda values: softmax(values.whole(taken), grids[taken], given, edges)


def _layer_norm(stage: Stage, grids: Mapping[str, Grid], held: Mapping[str, Tensor]) -> Unit:
    (taken,), given, options = stage.tensors, grids[stage.result], stage.operation.given
    edges = _edges(stage.bounds, given)
    weight, bias = (
        held[item.name] if isinstance(item, Held) else None
        for item in (options["weight"], options["bias"])
    )
    return lambda values: layer_norm(
        values.whole(taken),
        grids[taken],
        given,
        edges,
        axes=len(options["normalized_shape"]),
        epsilon=options["eps"],
        weight=weight,
        bias=bias,
    )


def _bound(stage: Stage, grids: Mapping[str, Grid]) -> Unit:
    edges = _edges(stage.bounds, grids[stage.result])
    return lambda values: values.whole(stage.tensors[0]).clamp(*edges)


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


def normed(
    norm: Norm | None, held: Mapping[str, Tensor], factor: Tensor, offset: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Take the norm behind accumulators into what becomes of them.

    Args:
        norm: The norm, if there is one.
        held: Its statistics, factors and offsets by name.
        factor: What one of an accumulator is worth, for every channel.
        offset: What is added.

    Returns:
        Factor and offset for every channel, in real units.
    """
    if norm is not None:
        spread = (held[norm.variance].double() + norm.epsilon).sqrt()
        scale = 1 / spread if norm.weight is None else held[norm.weight].double() / spread
        offset = (offset - held[norm.mean].double()) * scale
        if norm.bias is not None:
            offset = offset + held[norm.bias].double()
        factor = factor * scale
    return factor, torch.as_tensor(offset, dtype=torch.float64).to(factor.device).expand_as(factor)


def in_accumulators(
    offset: Float64[Tensor, " channels"], factor: Float64[Tensor, " channels"]
) -> Float64[Tensor, " channels"]:
    """Offsets as what a whole number of an accumulator is worth, wherever 32 bits hold that number.

    Args:
        offset: What is added, in real units.
        factor: What one of an accumulator is worth.

    Example:
        >>> in_accumulators(torch.tensor([1.1, 5.0]).double(), torch.tensor([0.5, 1e-12]).double())
        tensor([1., 5.], dtype=torch.float64)
    """
    whole = (offset / factor).round()
    return torch.where(whole.abs() < ACCUMULATOR, whole * factor, offset)


def _end(
    stage: Stage,
    grids: Mapping[str, Grid],
    factor: Float64[Tensor, " channels"],
    offset: Float64[Tensor, " channels"],
    largest: int,
) -> Callable[[Shaped[Tensor, "channels m"]], Shaped[Tensor, "channels m"]]:
    """What becomes of an accumulator: whole numbers of a grid, or real numbers with all bits."""
    if stage.integer:
        grid = grids[stage.result]
        fixed = FixedPoint.of(factor / grid.step, offset / grid.step, largest=largest)
        edges = _edges(stage.bounds, grid)
        return lambda accumulator: fixed.narrowed(accumulator, *edges, grid.dtype)

    def real(accumulator: Tensor) -> Tensor:
        scale, moved = (numbers.to(accumulator.device)[:, None] for numbers in (factor, offset))
        found = accumulator * scale + moved
        return found.clamp(*stage.bounds).float()

    return real


def _edges(bounds: Bounds, grid: Grid) -> tuple[int, int]:
    """The least and the greatest number of a grid that an activation lets through."""
    least, most = (
        min(max(math.floor(bound / grid.step + 0.5), grid.least), grid.most)
        if math.isfinite(bound)
        else edge
        for bound, edge in zip(bounds, (grid.least, grid.most), strict=True)
    )
    return least, most


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
