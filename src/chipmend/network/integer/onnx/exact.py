"""Integer networks in operators that give the chip's own numbers, to the last bit.

Whole numbers travel in single precision, which holds those of 8 bits, and sums below ``2 ** 24``;
what brings sums to the next grid is in double precision, and floors are taken where the hardware
shifts. Products are not taken as the array takes them, but as PyTorch's own operators do.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from chipmend.network.integer.arithmetic import SINGLE
from chipmend.network.integer.ends import (
    edges,
    of_average,
    of_join,
    of_norm,
    of_pair,
    of_product,
    of_sum,
)
from chipmend.network.integer.functions import table
from chipmend.network.integer.graph import Value
from chipmend.network.integer.layers import soundly
from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.stages import Kind, Stage
from chipmend.network.integer.units import Values, unit

Step = Callable[[Values], Any]
"""Carries out a stage: the values so far to its result."""


class Exact(nn.Module):
    """An integer network in operators that leave nothing to rounding.

    Args:
        network: The network.
    """

    def __init__(self, network: IntegerNetwork) -> None:
        super().__init__()
        self._lowering, self._grids, self._codes = network.lowering, network.grids, network.codes
        self._lost = getattr(network.multiplier, "lost", None)
        self._held = {name: tensor.cpu() for name, tensor in network.held.items()}
        self._steps = [self._step(stage) for stage in network.lowering.stages]

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs, as real numbers."""
        graph, values = self._lowering.graph, Values(self._grids)
        values.put(graph.input, inputs, whole=False)
        for stage, step in zip(self._lowering.stages, self._steps, strict=True):
            values.put(stage.result, step(values), whole=stage.integer)
        return values.real(graph.output)

    def _step(self, stage: Stage) -> Step:
        match stage.kind:
            case Kind.PRODUCT:
                return self._product(stage)
            case Kind.PAIR:
                return self._pair(stage)
            case Kind.NORM:
                end, (taken,) = of_norm(stage, self._grids, self._held), stage.tensors
                return lambda values: end(_whole(values, taken), 1)
            case Kind.SUM:
                return self._sum(stage)
            case Kind.AVERAGE:
                return self._average(stage)
            case Kind.JOIN:
                return self._join(stage)
            case Kind.TABLE:
                return self._table(stage)
            case Kind.MOVE if stage.integer:
                return lambda values: _carried_out(stage, lambda name: _whole(values, name))
            case _:
                return unit(stage, self._grids, self._held, self._codes, soundly)

    def _product(self, stage: Stage) -> Step:
        given, (taken,) = stage.operation.given, stage.tensors
        end = of_product(stage, self._grids, self._held, self._codes)
        numbers = self._codes[given["weight"].name].numbers.cpu()
        operation = replace(stage.operation, given={**given, "bias": None})
        linear = operation.operator == "linear.default"
        # convolutions are in single precision wherever networks are run
        exact = torch.float64 if linear and end.largest >= SINGLE else torch.float32
        weight = numbers.to(exact)

        def step(values: Values) -> Tensor:
            inputs = _whole(values, taken).to(exact)
            sums = operation(lambda item: inputs if isinstance(item, Value) else weight)
            return end(sums, -1 if linear else 1)

        return step

    def _pair(self, stage: Stage) -> Step:
        count, outputs = self._lowering.graph.sizes()[stage.tensors[1]][-2:]
        end = of_pair(stage, self._grids, count)
        kept = torch.ones(count, outputs) if self._lost is None else ~self._lost(count, outputs)

        def step(values: Values) -> Tensor:
            left, right = (_whole(values, name).double() for name in stage.tensors)
            return end(left @ (right * kept.double()), -1)

        return step

    def _sum(self, stage: Stage) -> Step:
        fixed, between = of_sum(stage, self._grids), edges(stage.bounds, self._grids[stage.result])

        def step(values: Values) -> Tensor:
            terms = torch.broadcast_tensors(*(_whole(values, name) for name in stage.tensors))
            return fixed.sum(terms).clamp(*between).float()

        return step

    def _average(self, stage: Stage) -> Step:
        end = of_average(stage, self._grids)

        def step(values: Values) -> Tensor:
            means = _carried_out(stage, lambda name: _whole(values, name))
            return end((means * stage.places).round(), -1)

        return step

    def _join(self, stage: Stage) -> Step:
        ends = {name: of_join(stage, self._grids, name) for name in stage.tensors}
        return lambda values: _carried_out(stage, lambda name: ends[name](_whole(values, name), -1))

    def _table(self, stage: Stage) -> Step:
        (name,), grids = stage.tensors, self._grids
        taken, given = grids[name], grids[stage.result]
        entries = table(stage.operation, taken, given, edges(stage.bounds, given)).float()
        return lambda values: entries[(_whole(values, name) - taken.least).long()]


def _whole(values: Values, name: str) -> Any:
    """A value in whole numbers, in single precision."""
    found = values.whole(name)
    return found.float() if isinstance(found, Tensor) else found


def _carried_out(stage: Stage, value: Callable[[str], Any]) -> Any:
    """What a stage's operation gives, which holds nothing of the network."""
    return stage.operation(lambda item: value(item.name))
