"""A network in integers, as an accelerator computes it: a torch module like any other.

Weights are codes of the array's memory with a step for each output; activations are 8 bits with one
step for each tensor, zero for zero; accumulators are whole; what brings them back to 8 bits is a
multiplication and a shift. Biases and norms are in the offsets of that multiplication.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from chipmend.errors import NetworkError
from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.graph import Graph, tensors_of, traced
from chipmend.network.integer.grids import Choice, Grid, grids, least_squares
from chipmend.network.integer.layers import Multiplier, soundly
from chipmend.network.integer.stages import REQUANTIZED, Kind, Stage, staged
from chipmend.network.integer.units import Values, unit


@dataclass(frozen=True, eq=False)
class Lowering:
    """How a network is carried out in integers: the same for all its chips.

    Args:
        graph: The network.
        stages: Its stages.
        grids: Grids of the values that are brought to one of their own.
    """

    graph: Graph
    stages: tuple[Stage, ...]
    grids: Mapping[str, Grid]

    def check(self) -> None:
        """Refuse what takes values that are not there, or that have no grid.

        Raises:
            NetworkError: Names the first of them.
        """
        there, wanted = {self.graph.input}, _on_grids(self.stages)
        for each in self.graph.operations:
            missing = {*each.takes} - there
            there.add(each.result)
            if missing:
                raise NetworkError(f"{each.result} takes {min(missing)}, which is not there")
        if missing := ({self.graph.output} - there) | (wanted - self.grids.keys()):
            raise NetworkError(f"{min(missing)} is not there, or has no grid")


def lowering(
    model: nn.Module,
    inputs: Iterable[Tensor],
    *,
    choice: Choice = least_squares,
    float_allowed: bool = False,
) -> Lowering:
    """Find out how a network is carried out in integers.

    Args:
        model: The clean network; it is left as it was.
        inputs: Batches of calibration inputs, on the network's device.
        choice: How the grid of a value is chosen.
        float_allowed: Whether operators that integer hardware does not know are computed on real
            numbers.

    Returns:
        The lowering: plain data.

    Raises:
        NetworkError: A network that cannot be traced, an operator that is not known, or numbers
            that are not finite.
    """
    batches = list(inputs)
    graph = traced(model, torch.cat([batch[:2] for batch in batches[:2]]))  # two at least
    stages = staged(graph, [gemm.name for gemm in gemms(model)], float_allowed=float_allowed)
    held = {**tensors_of(model), **graph.constants}
    wanted, signed = _on_grids(stages), _sources(stages, _held_by_the_array(stages))
    found = grids(graph, held, batches, wanted, choice, signed=signed)
    return Lowering(graph, tuple(stages), found)


def _on_grids(stages: Iterable[Stage]) -> set[str]:
    """Values that are brought to a grid of their own."""
    stages = list(stages)
    own = {s.result for s in stages if s.integer and s.kind in REQUANTIZED}
    inherited = {s.result for s in stages if s.integer and s.kind not in REQUANTIZED}
    taken = {name for s in stages if s.kind is not Kind.FLOAT for name in s.tensors}
    return (own | taken) - inherited


def _held_by_the_array(stages: Iterable[Stage]) -> set[str]:
    """Activations that PEs hold as they hold weights."""
    return {stage.tensors[1] for stage in stages if stage.kind is Kind.PAIR}


def _sources(stages: Iterable[Stage], names: set[str]) -> set[str]:
    """Some values, and those that they have their grids from."""
    found = set(names)
    for stage in reversed([*stages]):
        if stage.result in found and stage.integer and stage.kind not in REQUANTIZED:
            found.update(stage.tensors)
    return found


class IntegerNetwork(nn.Module):
    """A network in integers.

    Args:
        lowering: How it is carried out.
        network: Its biases, norms and whatever else is not a code: a repaired copy of the network
            that was lowered, or its parameters and buffers by name.
        codes: Its weights by name.
        multiplier: What computes matrix products; sound arithmetic by default.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
        >>> inputs = torch.rand(16, 1, 4, 4)
        >>> codes = {g.name: Codes.nearest(g.weight) for g in gemms(model)}
        >>> found = IntegerNetwork(lowering(model, [inputs]), model, codes)(inputs)
        >>> bool((found - model(inputs)).abs().max() < 0.05)
        True
    """

    def __init__(
        self,
        lowering: Lowering,
        network: nn.Module | Mapping[str, Tensor],
        codes: Mapping[str, Codes],
        multiplier: Multiplier = soundly,
    ) -> None:
        super().__init__()
        self.lowering = lowering
        self.numbers = nn.ParameterList(
            nn.Parameter(c.numbers, requires_grad=False) for c in codes.values()
        )
        tensors = tensors_of(network) if isinstance(network, nn.Module) else network
        self.held = _held(lowering, tensors, codes)
        self.codes, self.grids, self.multiplier = codes, _of_all(lowering), multiplier
        self._units = [unit(s, self.grids, self.held, codes, multiplier) for s in lowering.stages]
        self._done_after = _done_after(lowering)

    def __reduce__(self) -> tuple[Any, ...]:
        """As it was made: what carries out stages cannot be pickled."""
        tensors = {**{name: codes.weight() for name, codes in self.codes.items()}, **self.held}
        return type(self), (self.lowering, tensors, self.codes, self.multiplier)

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs, as real numbers."""
        values = self.begun(inputs)
        self.go_on_(values)
        return values.real(self.lowering.graph.output)

    def begun(self, inputs: Tensor) -> Values:
        """What a forward pass knows before its first stage."""
        values = Values(self.grids)
        values.put(self.lowering.graph.input, inputs, whole=False)
        return values

    def go_on_(self, values: Values, first: int = 0, last: int | None = None) -> None:
        """Carry out stages, and forget what no later one takes.

        Args:
            values: What is known when the first of them begins; what they give is put there.
            first: The first stage.
            last: The stage in front of which to stop; all that are left by default.
        """
        with torch.autocast(self.numbers[0].device.type, enabled=False):
            for at in range(len(self._units))[first:last]:
                stage = self.lowering.stages[at]
                values.put(stage.result, self._units[at](values), whole=stage.integer)
                for name in self._done_after[at]:
                    values.drop(name)


def _done_after(lowering: Lowering) -> list[list[str]]:
    """Of each stage the values that no later one takes."""
    last = {name: at for at, s in enumerate(lowering.stages) for name in s.operation.takes}
    last.pop(lowering.graph.output, None)
    found: list[list[str]] = [[] for _ in lowering.stages]
    for name, at in last.items():
        found[at].append(name)
    return found


def _held(
    lowering: Lowering, tensors: Mapping[str, Tensor], codes: Mapping[str, Codes]
) -> dict[str, Tensor]:
    """What stages take that is not codes; of coded weights, what stages that know no codes read."""
    held = {**tensors, **lowering.graph.constants}
    read = {n for s in lowering.stages if s.kind is not Kind.PRODUCT for n in s.operation.holds}
    coded = {name: found.weight() for name, found in codes.items() if name in read}
    return {name: held[name] for name in held.keys() - codes.keys()} | coded


def _of_all(lowering: Lowering) -> dict[str, Grid]:
    """Grids of all values that are whole numbers: what is only moved keeps its own."""
    found = dict(lowering.grids)
    for stage in lowering.stages:
        if stage.integer and stage.tensors and stage.kind not in REQUANTIZED:
            taken = found[stage.tensors[0]]
            found[stage.result] = replace(taken, step=taken.step * stage.factor)
    return found
