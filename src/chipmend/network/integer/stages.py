"""The stages in which integer hardware carries out a network.

A matrix product, the norm behind it and the activation behind that are one stage, at whose end the
accumulator is brought back to a few bits. What only moves or compares numbers is done on the
integers themselves.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from chipmend.errors import NetworkError
from chipmend.network.integer.graph import NORMS, OWN, Graph, Held, Operation, Value

Bounds = tuple[float, float]
Sizes = Mapping[str, tuple[int, ...]]
UNBOUNDED = (-math.inf, math.inf)


class Kind(Enum):
    """What a stage does."""

    PRODUCT = "a matrix product with weights of the array"
    PAIR = "a matrix product of two activations, of which the array holds the right one"
    NORM = "a norm by itself"
    SUM = "a sum of two tensors"
    AVERAGE = "averages over places"
    JOIN = "tensors side by side"
    CONSTANT = "a tensor of the network's own, where activations are expected"
    TABLE = "a function of each number by itself"
    SHARES = "shares of exponentials"
    LAYER_NORM = "a norm over the last axes"
    SCALE = "numbers that are worth more or less"
    BOUND = "an activation by itself, which only bounds"
    MOVE = "numbers put elsewhere, or the greatest of some"
    NUMBER = "something about sizes"
    FLOAT = "anything else, on real numbers"


ON_THE_ARRAY = {Kind.PRODUCT, Kind.PAIR}
"""Stages that the array computes: what comes in is brought to a grid, whatever it was."""
REQUANTIZED = {
    *ON_THE_ARRAY,
    *(Kind.NORM, Kind.SUM, Kind.AVERAGE, Kind.JOIN),
    *(Kind.CONSTANT, Kind.TABLE, Kind.SHARES, Kind.LAYER_NORM),
}
"""Stages at whose end numbers are brought to a grid of their own."""
_OF_TENSORS = {
    **dict.fromkeys((Kind.PAIR, Kind.SUM), 2),
    **dict.fromkeys((Kind.AVERAGE, Kind.JOIN, Kind.BOUND, Kind.MOVE), 1),
    **dict.fromkeys((Kind.TABLE, Kind.SHARES, Kind.SCALE), 1),
}
"""How many computed tensors stages take that take nothing else."""
PRODUCTS = {
    *(f"{name}.default" for name in ("conv1d", "conv2d", "conv3d", "linear")),
    *(f"{name}.padding" for name in ("conv1d", "conv2d", "conv3d")),
}
_PAIRS = {"matmul.default", "bmm.default", "mm.default"}
_TABLES = {
    f"{name}.default"
    for name in (
        *("gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "mish", "softplus"),
        *("elu", "selu", "celu", "leaky_relu", "log_sigmoid", "exp", "erf", "abs", "neg", "square"),
    )
}
"""Functions of one number."""
_FACTORS = {"mul.Tensor": 1, "mul.Scalar": 1, "div.Tensor": -1, "div.Scalar": -1}
"""Operators that may scale by a number, and to which power they take it."""
_POOLS = {f"avg_pool{dims}d.default": dims for dims in (1, 2, 3)}
_ADAPTIVE_POOLS = {f"adaptive_avg_pool{dims}d.default" for dims in (1, 2, 3)}
_MOVES = {
    *(f"{kind}_pool{dims}d.default" for kind in ("max", "adaptive_max") for dims in (1, 2, 3)),
    *("reshape.default", "flatten.using_ints"),
    *("permute.default", "transpose.int", "t.default", "expand.default", "repeat.default"),
    *("squeeze.default", "squeeze.dim", "squeeze.dims", "unsqueeze.default"),
    *("select.int", "slice.Tensor", "narrow.default", "flip.default", "roll.default"),
    *("split.Tensor", "split_with_sizes.default", "chunk.default", "unbind.int", "getitem"),
    *("clone.default", "contiguous.default", "alias.default", "detach.default"),
    *("pixel_shuffle.default", "pixel_unshuffle.default", "channel_shuffle.default"),
    *("upsample_nearest2d.vec", "amax.default"),
}
"""Operators that hand integers on as they are."""


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm by the names of what it holds.

    Args:
        mean: Running means.
        variance: Running variances.
        weight: Factors, if there are any.
        bias: What is added, if there is anything.
        epsilon: What is added to variances.
    """

    mean: str
    variance: str
    weight: str | None
    bias: str | None
    epsilon: float


@dataclass(frozen=True, slots=True)
class Stage:
    """Operations that hardware carries out as one.

    Args:
        kind: What it does.
        operation: The first of the operations.
        result: The value that the last of them gives.
        tensors: The tensors that it takes, by their names as values.
        norm: The norm that it ends with, or is.
        bounds: Between which real numbers its activation bounds the result.
        places: Over how many places each of its averages goes.
        factor: How much more a number is worth behind it.
        integer: Whether the result is integers; else it is real numbers.
    """

    kind: Kind
    operation: Operation
    result: str
    tensors: tuple[str, ...] = ()
    norm: Norm | None = None
    bounds: Bounds = UNBOUNDED
    places: int = 1
    factor: float = 1.0
    integer: bool = True


def staged(graph: Graph, placed: Collection[str], *, float_allowed: bool) -> list[Stage]:
    """Put the operations of a network into stages.

    Args:
        graph: The network.
        placed: Names of the weights that the array holds.
        float_allowed: Whether operators that integer hardware does not know may be computed on real
            numbers wherever they are; behind the last product they always may.

    Returns:
        The stages in the order in which they are carried out.

    Raises:
        NetworkError: An operator that is not known, in front of a product.
    """
    stages = list(_fused(graph, placed))
    if not float_allowed:
        _check_known(stages)
    return list(_read_in_full(list(_on_integers(stages, _ahead_of_the_array(stages)))))


def _fused(graph: Graph, placed: Collection[str]) -> Iterator[Stage]:
    """Operations in stages, as if all were done on integers."""
    uses, fused = graph.uses(), set[str]()
    user = {name: each.result for each in graph.operations for name in each.takes}
    alone = _alone(graph, placed)

    def behind(stage: Stage, kind: Kind) -> Stage | None:
        """The stage that alone takes a result, if it is of a kind."""
        if uses[stage.result] > 1 or stage.result not in user:
            return None
        follower = alone[user[stage.result]]
        return follower if follower.kind is kind else None

    for each in graph.operations:
        if each.result in fused:
            continue
        stage = alone[each.result]
        if _gives_channels_first(stage) and (after := behind(stage, Kind.NORM)):
            stage = replace(stage, norm=after.norm, result=after.result)
            fused.add(after.result)
        if stage.kind in REQUANTIZED and (after := behind(stage, Kind.BOUND)):
            stage = replace(stage, bounds=after.bounds, result=after.result)
            fused.add(after.result)
        yield stage


def _alone(graph: Graph, placed: Collection[str]) -> dict[str, Stage]:
    """Every operation as a stage of its own, by its result."""
    sizes, numbers, stages = graph.sizes(), set[str](), dict[str, Stage]()
    computed = {graph.input}
    for each in graph.operations:
        kind = _kind_of(each, placed, sizes)
        if kind is Kind.NUMBER:
            numbers.add(each.result)
        tensors = tuple(name for name in each.takes if name not in numbers)
        if not computed.isdisjoint(tensors):
            computed.add(each.result)
        if not _can_be(kind, each, tensors, computed, sizes):
            kind = Kind.FLOAT
        stages[each.result] = Stage(
            kind,
            each,
            each.result,
            tensors,
            _norm_of(each) if kind is Kind.NORM else None,
            _bounds_of(each) or UNBOUNDED,
            _places_of(each, sizes),
            _factor_of(each) or 1.0,
            kind is not Kind.FLOAT,
        )
    return stages


def _can_be(
    kind: Kind, each: Operation, tensors: tuple[str, ...], computed: Collection[str], sizes: Sizes
) -> bool:
    """Whether an operation has what its kind takes: mostly activations, and nothing else."""
    if kind in (Kind.NUMBER, Kind.CONSTANT, Kind.FLOAT):
        return True
    if kind is Kind.PAIR:  # what the network holds is no activation, and neither is a row alone
        return all(name in computed and sizes[name] for name in tensors) and len(tensors) == 2
    if kind in _OF_TENSORS and (each.holds or len(tensors) < _OF_TENSORS[kind]):
        return False  # the network's own tensors have no grid
    return bool(tensors)


def _kind_of(each: Operation, placed: Collection[str], sizes: Sizes) -> Kind:
    name, given = each.operator, each.given
    weight = given.get("weight")
    if name in PRODUCTS and isinstance(weight, Held) and weight.name in placed:
        return Kind.PRODUCT
    if name in _PAIRS:
        return Kind.PAIR
    if name in NORMS:
        return Kind.NORM
    if name == OWN:
        return Kind.CONSTANT
    if name in _TABLES:
        return Kind.TABLE
    if name == "softmax.int" and each.given["dim"] in (-1, len(each.sizes)):
        return Kind.SHARES
    if name == "layer_norm.default" and len(each.takes) == 1:
        return Kind.LAYER_NORM
    if _factor_of(each) is not None:
        return Kind.SCALE
    if _bounds_of(each) is not None:
        return Kind.BOUND
    if name == "add.Tensor" and isinstance(given["other"], Value) and given["alpha"] == 1:
        return Kind.SUM
    if _places_of(each, sizes) > 1:
        return Kind.AVERAGE
    if name == "cat.default":
        return Kind.JOIN
    if name in _MOVES or (name in _ADAPTIVE_POOLS and sizes[each.takes[0]] == each.sizes):
        return Kind.MOVE
    if name == "sym_size.int" or "." not in name:
        return Kind.NUMBER
    return Kind.FLOAT


def _ahead_of_the_array(stages: Sequence[Stage]) -> set[str]:
    """Results that something hangs on which the array computes."""
    found = set[str]()
    for stage in reversed(stages):
        if stage.kind in ON_THE_ARRAY or stage.result in found:
            found.update(stage.tensors)
    return found


def _on_integers(stages: Iterable[Stage], ahead: Collection[str]) -> Iterator[Stage]:
    """Stages, of which those that get real numbers compute on these, unless they are products.

    So do those behind the last product, which keeps all bits that it has.
    """
    real = set[str]()
    for stage in stages:
        on_array = stage.kind in (*ON_THE_ARRAY, Kind.NUMBER)
        if not on_array and (stage.result not in ahead or not real.isdisjoint(stage.tensors)):
            stage = replace(stage, kind=Kind.FLOAT, integer=False)
        if not stage.integer:
            real.add(stage.result)
        yield stage


def _read_in_full(stages: Sequence[Stage]) -> Iterator[Stage]:
    """Stages, of which those that only real numbers are made of keep all bits they have."""
    on_integers = {
        name for stage in stages if stage.kind is not Kind.FLOAT for name in stage.tensors
    }
    for stage in stages:
        wide = stage.kind in (*ON_THE_ARRAY, Kind.NORM, Kind.AVERAGE, Kind.CONSTANT)
        yield replace(
            stage, integer=stage.integer and not (wide and stage.result not in on_integers)
        )


def _check_known(stages: Sequence[Stage]) -> None:
    ahead = _ahead_of_the_array(stages)
    unknown = [s.operation for s in stages if s.kind is Kind.FLOAT and s.result in ahead]
    if unknown:
        named = ", ".join(
            f"{each.operator} in {each.place or 'the network itself'}" for each in unknown
        )
        raise NetworkError(
            f"operators that integer hardware does not know: {named}",
            hint="have them computed on real numbers, or leave them to the host",
        )


def _norm_of(each: Operation) -> Norm:
    def name(of: str) -> str | None:
        held = each.given[of]
        return held.name if isinstance(held, Held) else None

    mean, variance = name("running_mean"), name("running_var")
    assert mean is not None
    assert variance is not None
    return Norm(mean, variance, name("weight"), name("bias"), each.given["eps"])


def _factor_of(each: Operation) -> float | None:
    """By which number above 0 an operator multiplies; none if it does anything else."""
    power, other = _FACTORS.get(each.operator), each.given.get("other")
    if power is None or each.given.get("rounding_mode") or not isinstance(other, int | float):
        return None
    return float(other) ** power if 0 < other < math.inf else None


def _bounds_of(each: Operation) -> Bounds | None:
    """Between which numbers an activation bounds what comes in; none if it does anything else."""
    match each.operator:
        case "relu.default":
            return 0.0, math.inf
        case "relu6.default":
            return 0.0, 6.0
        case "hardtanh.default":
            return each.given["min_val"], each.given["max_val"]
        case "clamp.default":
            least, most = each.given["min"], each.given["max"]
            return -math.inf if least is None else least, math.inf if most is None else most
        case "clamp_min.default":
            return each.given["min"], math.inf
        case _:
            return None


def _places_of(each: Operation, sizes: Sizes) -> int:
    """Over how many places averages go; 1 if it is none, or if they are not equally many."""
    given: Mapping[str, Any] = each.given
    if each.operator in _POOLS:
        uneven = given.get("divisor_override") or given["ceil_mode"]
        uneven = uneven or (any(given["padding"]) and not given["count_include_pad"])
        kernel, dims = given["kernel_size"], _POOLS[each.operator]
        return 1 if uneven else math.prod(kernel) if len(kernel) == dims else kernel[0] ** dims
    if each.operator in _ADAPTIVE_POOLS:
        before, after = sizes[each.takes[0]], each.sizes
        even = all(b % a == 0 for b, a in zip(before, after, strict=True))
        return max(1, math.prod(before) // math.prod(after)) if even else 1
    if each.operator == "mean.dim" and given["dim"]:
        before = sizes[each.takes[0]]
        averaged = [axis % (len(before) + 1) for axis in given["dim"]]
        return 1 if 0 in averaged else max(1, math.prod(before[axis - 1] for axis in averaged))
    return 1


def _gives_channels_first(stage: Stage) -> bool:
    """Whether it is a product whose outputs are channels as norms count them."""
    linear = stage.operation.operator == "linear.default"
    return stage.kind is Kind.PRODUCT and not (linear and len(stage.operation.sizes) > 1)
