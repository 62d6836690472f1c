"""Where a constant can be added to what a layer gives out: its bias, or the norm right after it.

A layer with such a place may be fitted about the means of its inputs and outputs, and the
difference goes there. Biases and norms are never faulty.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves

from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import Bias, Gemm, gemms
from chipmend.network.products import Products


@dataclass(frozen=True, slots=True)
class Intercept:
    """Where a layer's outputs can be shifted; nowhere, if it has neither.

    Args:
        bias: The layer's bias.
        norm: Path of the norm that takes the layer's outputs, if nothing else does and nothing else
            goes into it.
    """

    bias: Bias | None = None
    norm: str | None = None

    def __bool__(self) -> bool:
        return self.bias is not None or self.norm is not None


def intercepts(model: nn.Module, inputs: Tensor) -> dict[str, Intercept]:
    """Find the intercept of every weight that has one.

    Args:
        model: The network; it is left as it was.
        inputs: A batch of inputs to run it on.

    Returns:
        Intercepts by the weight's name. A weight that is used several times has no norm, and a
        bias only if all its uses share it.
    """
    following = _Following(model)
    with evaluating(model), torch.no_grad(), following:
        model(inputs.to(device_of(model)))
    return {gemm.name: following.intercept(gemm) for gemm in gemms(model)}


class _Following(Products):
    """Notes who takes the outputs of each weight: a norm by its path, anybody else as none."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(gemms(model), lambda _: None)
        self.takers: dict[str, list[str | None]] = {}
        self._made: dict[int, tuple[str, Tensor]] = {}
        self._passes = Counter[str | None]()
        self._norms = {
            norm.running_mean.data_ptr(): path
            for path, norm in model.named_modules()
            if isinstance(norm, _NormBase) and norm.running_mean is not None
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        norm = self._norm_among(args)
        self._passes[norm] += 1
        for tensor in _tensors((args, kwargs)):
            if id(tensor) in self._made:
                self.takers[self._made[id(tensor)][0]].append(norm)
        product = self._product(func, args)
        outputs = super().__torch_dispatch__(func, types, args, kwargs)
        if product is not None:
            self._made[id(outputs)] = product.gemm.name, outputs  # held, so that ids stay unique
            self.takers.setdefault(product.gemm.name, [])
        return outputs

    def intercept(self, gemm: Gemm) -> Intercept:
        """The intercept of a weight, after a pass."""
        takers = self.takers.get(gemm.name, [])
        norm = takers[0] if len(takers) == 1 else None
        bias = gemm.biases[0] if len(gemm.biases) == 1 else None
        return Intercept(bias, norm if self._passes[norm] == 1 else None)

    def _norm_among(self, args: tuple[Any, ...]) -> str | None:
        held = (self._norms.get(tensor.data_ptr()) for tensor in _tensors(args))
        return next(filter(None, held), None)


def _tensors(held: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(held) if isinstance(leaf, Tensor)]
