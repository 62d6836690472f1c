"""Integer networks in operators that runtimes fuse: QuantizeLinear and DequantizeLinear.

Weights are stored as the integers that the chip's words read, with a scale per output in which a
norm behind the product is taken in; every value that is brought to a grid of 8 bits passes a
quantizing and a dequantizing operator. A runtime may carry that out in integers or as it stands.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from chipmend.network.integer.codes import LARGEST_WEIGHT, Codes
from chipmend.network.integer.ends import in_accumulators, normed
from chipmend.network.integer.graph import Held, Value
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.stages import REQUANTIZED, UNBOUNDED, Bounds, Kind, Stage


class Fused(nn.Module):
    """An integer network on real numbers, with ONNX's operators wherever they meet a grid.

    Args:
        network: The network.
    """

    def __init__(self, network: IntegerNetwork) -> None:
        super().__init__()
        self._lowering, self._grids = network.lowering, network.grids
        self._lost = getattr(network.multiplier, "lost", None)
        self._held = {name: tensor.cpu() for name, tensor in network.held.items()}
        self._products = {
            stage.result: self._product(f"product_{place}", stage, network.codes)
            for place, stage in enumerate(self._lowering.stages)
            if stage.kind is Kind.PRODUCT
        }

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs, as real numbers."""
        graph, whole = self._lowering.graph, dict[str, Tensor]()
        real: dict[str, Any] = {graph.input: inputs}

        def as_it_is(name: str) -> Any:
            return _dequantized(whole[name], self._grids[name]) if name in whole else real[name]

        def on_grid(name: str) -> Any:
            if name not in whole and _is_real(real[name]):
                whole[name] = _quantized(real[name], self._grids[name])
            return as_it_is(name)

        for stage in self._lowering.stages:
            on_integers = stage.kind is not Kind.FLOAT
            found = self._carried_out(stage, on_grid if on_integers else as_it_is)
            if stage.integer and _is_real(found):
                whole[stage.result] = _quantized(found, self._grids[stage.result])
            else:
                real[stage.result] = found
        return as_it_is(graph.output)

    def _carried_out(self, stage: Stage, value: Callable[[str], Any]) -> Any:
        if stage.kind is Kind.PRODUCT:
            return _bounded(self._products[stage.result](value(stage.tensors[0])), stage.bounds)
        if stage.kind is Kind.PAIR:
            left, right = (value(name) for name in stage.tensors)
            return _bounded(left @ self._as_held(right), stage.bounds)
        found = stage.operation(
            lambda item: value(item.name) if isinstance(item, Value) else self._held[item.name]
        )
        return _bounded(found, stage.bounds) if stage.kind in REQUANTIZED else found

    def _as_held(self, right: Tensor) -> Tensor:
        """The right operand of a product of activations without what the array loses."""
        if self._lost is None:
            return right
        k, n = right.shape[-2:]
        return right * (~self._lost(int(k), int(n))).to(right.dtype)

    def _product(
        self, here: str, stage: Stage, codes: Mapping[str, Codes]
    ) -> Callable[[Tensor], Tensor]:
        """A product with what is behind it, as the file has it: integers, scales, an offset."""
        given = stage.operation.given
        weight, bias = codes[given["weight"].name], given["bias"]
        added = self._held[bias.name].double() if isinstance(bias, Held) else 0.0
        step = self._grids[stage.tensors[0]].step
        factor, offset = normed(stage.norm, self._held, weight.step.cpu(), added)
        offset = in_accumulators(offset, factor * step)
        numbers, scale = _upright(weight.numbers.cpu(), factor)
        parts = {
            "numbers": numbers.contiguous(),
            "scale": scale,
            "zero": torch.zeros(len(scale), dtype=torch.int8),
            "offset": offset.float(),
        }
        for kind, tensor in parts.items():
            self.register_buffer(f"{here}_{kind}", tensor)
        operation = replace(
            stage.operation, given={**given, "weight": Held("weight"), "bias": Held("bias")}
        )

        def product(inputs: Tensor) -> Tensor:
            held = {
                "weight": _operator(
                    "DequantizeLinear",
                    tuple(
                        self.get_buffer(f"{here}_{kind}") for kind in ("numbers", "scale", "zero")
                    ),
                    torch.float32,
                    axis=0,
                ),
                "bias": self.get_buffer(f"{here}_offset"),
            }
            return operation(lambda item: inputs if isinstance(item, Value) else held[item.name])

        return product


def _upright(numbers: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Integers with scales that are not negative, wherever their negatives have 8 bits as well."""
    turned = (factor < 0) & (numbers.flatten(1).amin(1) > -LARGEST_WEIGHT)
    sign = torch.where(turned, -1.0, 1.0)
    along = sign.view(-1, *[1] * (numbers.dim() - 1)).to(numbers.dtype)
    return (numbers * along).to(torch.int8), (factor * sign).float()


def _quantized(values: Tensor, grid: Grid) -> Tensor:
    step, zero = torch.tensor(grid.step), torch.tensor(0, dtype=_type_of(grid))
    return _operator("QuantizeLinear", (values, step, zero), zero.dtype)


def _dequantized(numbers: Tensor, grid: Grid) -> Tensor:
    step, zero = torch.tensor(grid.step), torch.tensor(0, dtype=_type_of(grid))
    return _operator("DequantizeLinear", (numbers, step, zero), torch.float32)


def _operator(name: str, inputs: tuple[Tensor, ...], dtype: torch.dtype, **given: Any) -> Tensor:
    return torch.onnx.ops.symbolic(name, inputs, given, dtype=dtype, shape=inputs[0].shape)


def _bounded(values: Tensor, bounds: Bounds) -> Tensor:
    if bounds == UNBOUNDED:
        return values
    return values.relu() if bounds == (0.0, math.inf) else values.clamp(*bounds)


def _type_of(grid: Grid) -> torch.dtype:
    return torch.int8 if grid.signed else torch.uint8


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
