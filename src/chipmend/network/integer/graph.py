"""A network as a list of operations on named values: plain data, traced once.

PyTorch's exporter says what a network does whatever way it is written; what it finds is kept by the
names of operators and weights, so that it holds for every copy of the network and can be sent to
other processes.
"""

import math
import operator
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import Node, map_arg

from chipmend.errors import NetworkError
from chipmend.network.dynamic import DynamicProducts
from chipmend.network.evaluate import evaluating

NORMS = frozenset(("_native_batch_norm_legit_no_training.default",))
"""Operators of which only the first result is of any use when nothing is trained."""
OWN = "alias.default"
"""The operator that gives a tensor of the network's own where an activation is expected."""
_TAKING_OWN = {"add.Tensor", "cat.default", "expand.default"}
"""Operators that activations and the network's own tensors come together in."""
MASKING = 1e3
"""Numbers of such a magnitude are there to overrule others."""
VIEWS = {"view.default": "reshape.default", "_unsafe_view.default": "reshape.default"}
"""Operators that want numbers to lie in one order, and what does the same in any."""


@dataclass(frozen=True, slots=True)
class Value:
    """Something that is computed, or that comes in, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Held:
    """A weight, a statistic or a constant of the network, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator and what it is given.

    Args:
        operator: PyTorch's name of it, or a function on plain numbers.
        given: Its arguments by name, defaults included; ``Value`` and ``Held`` stand for tensors.
        result: Name of what comes out.
        sizes: Sizes of what comes out, without the first, which mostly is the number of samples; -1
            where that number is another one of them.
        place: Where in the network it is, for people.
    """

    operator: str
    given: Mapping[str, Any]
    result: str
    sizes: tuple[int, ...]
    place: str

    @property
    def takes(self) -> list[str]:
        """Names of the values that it takes, in order."""
        return [item.name for item in _leaves(list(self.given.values())) if isinstance(item, Value)]

    @property
    def holds(self) -> list[str]:
        """Names of the weights, statistics and constants that it takes."""
        return [item.name for item in self.held]

    @property
    def held(self) -> list[Held]:
        """The weights, statistics and constants themselves."""
        return [item for item in _leaves(list(self.given.values())) if isinstance(item, Held)]

    def __call__(self, found: Callable[[Value | Held], Any]) -> Any:
        """Carry it out.

        Args:
            found: Says what a value or something held is.
        """
        given = {name: _replaced(item, found) for name, item in self.given.items()}
        if self.operator in _ON_NUMBERS:
            return _ON_NUMBERS[self.operator](*given.values())
        run = _overload(self.operator)
        by_name = {a.name for a in run._schema.arguments if a.kwarg_only}
        in_order = [item for name, item in given.items() if name not in by_name]
        found_all = run(*in_order, **{name: given[name] for name in given if name in by_name})
        return found_all[0] if self.operator in NORMS else found_all


@dataclass(frozen=True, slots=True)
class Graph:
    """What a network does with its input.

    Args:
        input: Name of what comes in.
        input_sizes: Its sizes, without the number of samples.
        operations: Operations in the order in which they are carried out.
        output: Name of what goes out.
        constants: Tensors that are no part of the network's state, by name.
    """

    input: str
    input_sizes: tuple[int, ...]
    operations: tuple[Operation, ...]
    output: str
    constants: Mapping[str, Tensor] = field(default_factory=dict)

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Sizes of each value, without the number of samples."""
        return {self.input: self.input_sizes, **{o.result: o.sizes for o in self.operations}}

    def uses(self) -> Counter[str]:
        """How often each value is taken; the output once more."""
        return Counter([*(name for each in self.operations for name in each.takes), self.output])

    def run(
        self, held: Mapping[str, Tensor], inputs: Tensor, seen: Callable[[str, Any], Any]
    ) -> Tensor:
        """Carry it out as it is.

        Args:
            held: Parameters and buffers of the network by name.
            inputs: A batch of inputs.
            seen: Is shown every value once it is there, and may give another in its place.

        Returns:
            The network's outputs.
        """
        values, left = dict[str, Any](), self.uses()

        def put(name: str, value: Any) -> None:
            instead = seen(name, value)
            values[name] = value if instead is None else instead

        put(self.input, inputs)
        for each in self.operations:
            put(
                each.result,
                each(lambda item: (values if isinstance(item, Value) else held)[item.name]),
            )
            left.subtract(each.takes)
            for name in each.takes:
                if not left[name]:
                    values.pop(name, None)
        return values[self.output]


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a network by all their names."""
    named = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {name: tensor.detach() for name, tensor in named}


def traced(model: nn.Module, inputs: Tensor) -> Graph:
    """Trace what a network does in eval mode.

    Args:
        model: The network; it is left as it was.
        inputs: A few inputs, two at least: their number may change later, other sizes may not.

    Returns:
        The graph; dead operations are left out.

    Raises:
        NetworkError: What it does depends on what comes in, or it gives more than one tensor.
    """
    batch = {0: torch.export.Dim.DYNAMIC}
    apart = DynamicProducts(model, lambda _, right: right)
    with evaluating(model), torch.no_grad(), warnings.catch_warnings(), apart:
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(model, (inputs,), dynamic_shapes=(batch,))
            program = program.run_decompositions({})
        except Exception as error:  # whatever somebody else's network may raise
            raise NetworkError(
                f"the network cannot be traced: {str(error).strip().splitlines()[0]}",
                hint="what it does must not depend on its inputs' values or their number; "
                "see torch.export",
            ) from error
    signature = program.graph_signature
    canonical = _first_names(model)
    held = {
        **{name: canonical[path] for name, path in signature.inputs_to_parameters.items()},
        **{name: canonical[path] for name, path in signature.inputs_to_buffers.items()},
        **signature.inputs_to_lifted_tensor_constants,
    }
    if len(signature.user_inputs) != 1 or len(signature.user_outputs) != 1:
        raise NetworkError(
            f"the network takes {len(signature.user_inputs)} inputs "
            f"and gives {len(signature.user_outputs)} outputs",
            hint="wrap it in a module that takes one tensor and gives one",
        )
    constants = {n: c for n, c in program.constants.items() if isinstance(c, Tensor)}
    (taken,), (given,) = signature.user_inputs, signature.user_outputs
    operations, renamed = _operations(program.graph.nodes, held)
    graph = Graph(
        str(taken),
        tuple(inputs.shape[1:]),
        tuple(_with_own(operations, {**tensors_of(model), **constants})),
        renamed.get(str(given), str(given)),
    )
    alive = tuple(_alive(graph))
    held_by = {name for each in alive for name in each.holds}
    used = {name: constants[name] for name in held_by & {*constants}}
    return replace(graph, operations=alive, constants=used)


def _operations(nodes: Any, held: Mapping[str, str]) -> tuple[list[Operation], dict[str, str]]:
    """Operations of exported nodes; of norms the first result stands for all."""
    operations: list[Operation] = []
    renamed: dict[str, str] = {}

    def replaced(node: Node) -> Any:
        if node.name in held:
            return Held(held[node.name])
        return Value(renamed.get(node.name, node.name))

    for node in nodes:
        if node.op != "call_function":
            continue
        source = node.args[0] if node.args else None
        if (
            node.target is operator.getitem
            and isinstance(source, Node)
            and _name_of(source.target) in NORMS
        ):
            renamed[node.name] = source.name
            continue
        operations.append(
            Operation(
                _name_of(node.target),
                {name: map_arg(value, replaced) for name, value in _given(node).items()},
                node.name,
                _sizes(node),
                _place(node),
            )
        )
    return operations, renamed


def _with_own(operations: Iterable[Operation], held: Mapping[str, Tensor]) -> Iterator[Operation]:
    """Operations, in which the network's own tensors are values wherever activations may be."""
    given_out = set[Held]()
    for each in operations:
        if each.operator not in _TAKING_OWN or not all(_is_plain(held[i.name]) for i in each.held):
            yield each
            continue
        for item in {*each.held} - given_out:
            given_out.add(item)
            sizes = tuple(held[item.name].shape[1:])
            yield Operation(OWN, {"self": item}, _own(item), sizes, item.name)
        given = {name: _replaced(item, _as_value) for name, item in each.given.items()}
        yield replace(each, given=given)


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers for 8 bits, and does not mask anything by large ones."""
    if not tensor.is_floating_point():
        return False
    return tensor.numel() == 0 or bool(tensor.abs().max() < MASKING)  # nor by infinite ones


def _as_value(item: Value | Held) -> Value:
    return Value(_own(item)) if isinstance(item, Held) else item


def _own(item: Held) -> str:
    return f"own {item.name}"


def _given(node: Node) -> dict[str, Any]:
    if _name_of(node.target) in _ON_NUMBERS:
        return {str(place): argument for place, argument in enumerate(node.args)}
    schema: Any = node.target._schema  # pyright: ignore[reportFunctionMemberAccess,reportAttributeAccessIssue]
    given: dict[str, Any] = {}
    for place, argument in enumerate(schema.arguments):
        if place < len(node.args):
            given[argument.name] = node.args[place]
        elif argument.name in node.kwargs:
            given[argument.name] = node.kwargs[argument.name]
        else:
            given[argument.name] = argument.default_value
    return given


_ON_NUMBERS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        operator.getitem,
        operator.add,
        operator.sub,
        operator.mul,
        operator.floordiv,
        operator.truediv,
        operator.mod,
        operator.neg,
        math.ceil,
        math.floor,
    )
}


def _name_of(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        space, name = target.name().split("::")
        whole = name if "." in name else f"{name}.default"
        return VIEWS.get(whole, whole) if space == "aten" else f"{space}::{whole}"
    return target.__name__


def is_on_numbers(operator_name: str) -> bool:
    """Whether an operator is a function of plain numbers."""
    return operator_name in _ON_NUMBERS


def schema_of(operator_name: str) -> Any:
    """What one of PyTorch's own operators takes; none if there is no such operator."""
    try:
        return _overload(operator_name)._schema
    except (AttributeError, ValueError, RuntimeError):
        return None


def _overload(name: str) -> Any:
    space, _, rest = name.rpartition("::")
    packet, overload = rest.split(".")
    return getattr(getattr(getattr(torch.ops, space or "aten"), packet), overload)


def _first_names(model: nn.Module) -> dict[str, str]:
    """Of every tensor's names the first, which is the one that it goes by elsewhere."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    for named in (model.named_parameters, model.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            names[name] = first.setdefault(id(tensor), name)
    return names


def _sizes(node: Node) -> tuple[int, ...]:
    value: Any = node.meta.get("val")
    if _name_of(node.target) in NORMS:
        value = value[0]
    if not isinstance(value, Tensor):
        return ()
    return tuple(int(size) if isinstance(size, int) else -1 for size in value.shape[1:])


def _place(node: Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def _alive(graph: Graph) -> Iterator[Operation]:
    """Operations whose results reach the output."""
    wanted, kept = {graph.output}, list[Operation]()
    for each in reversed(graph.operations):
        if each.result in wanted:
            wanted.update(each.takes)
            kept.append(each)
    yield from reversed(kept)


def _leaves(item: Any) -> Iterator[Any]:
    if isinstance(item, list | tuple):
        for part in item:
            yield from _leaves(part)
    else:
        yield item


def _replaced(item: Any, found: Callable[[Value | Held], Any]) -> Any:
    if isinstance(item, Value | Held):
        return found(item)
    if isinstance(item, list | tuple):
        return [_replaced(part, found) for part in item]
    return item
