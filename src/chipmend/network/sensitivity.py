"""How much a network's outputs hang on each output of a layer, and on each row of its product.

To first order a small change ``e`` of what a layer gives out changes the network's outputs by
``J e``. The squared columns of ``J`` are estimated by one backward pass of outputs with random
signs [Hutchinson1990]: no labels, no loss, and the same for every chip.

References:
    [Hutchinson1990] Hutchinson, "A stochastic estimator of the trace of the influence matrix",
        Communications in Statistics 19(2), 1990.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from chipmend.network.evaluate import device_of, differentiable, evaluating
from chipmend.network.gemm import Gemm, gemms
from chipmend.network.precision import at_least_single
from chipmend.network.products import without_fused_attention

logger = logging.getLogger(__name__)

PRODUCTS = {"linear", "conv1d", "conv2d", "conv3d"}
"""Functions that take an input and a weight, in this order."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Squared change of the network's outputs per squared change of what a weight gives out.

    Args:
        rows: At each row of the product, summed over outputs; none if the rows are not in the
            order of the samples.
        outputs: At each output, summed over the rows of an input; the mean over inputs.
    """

    rows: Float[Tensor, " samples"]
    outputs: Float[Tensor, " n"]


def sensitivities(
    model: nn.Module, inputs: Iterable[Tensor], *, seed: int
) -> dict[str, Sensitivity]:
    """Take the sensitivity of every weight that one linear layer or convolution uses once.

    Args:
        model: The network; it is left as it was.
        inputs: Batches of calibration inputs.
        seed: Chooses the signs.

    Returns:
        Sensitivities by name of the weight, relative to the variance of the network's outputs;
        weights that are used otherwise, or that the outputs do not hang on, have none, and neither
        has a network that keeps no gradients, or that cannot be gone through backward.
    """
    network = differentiable(model)
    generator = torch.Generator().manual_seed(seed)
    watch = _Watch(gemms(network))
    try:
        outputs = _gone_to_and_fro(network, inputs, watch, generator)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # as of outputs that are changed in place
        logger.warning("all outputs of a layer count alike, as there is no way back: %s", error)
        return {}
    if not outputs:
        return {}
    spread = float(at_least_single(torch.cat(outputs)).var(0).sum()) or 1.0
    count = sum(len(each) for each in outputs)
    found = {name: watch.sensitivity(name, spread, count) for name in watch.seen}
    return {name: each for name, each in found.items() if each is not None}


def _gone_to_and_fro(
    network: nn.Module, inputs: Iterable[Tensor], watch: "_Watch", generator: torch.Generator
) -> list[Tensor]:
    """Send inputs forward and signs of outputs back; the outputs, batch by batch."""
    outputs = list[Tensor]()
    with evaluating(network), without_fused_attention(), torch.enable_grad():
        for batch in inputs:
            with watch.going_through(len(batch)):
                given = network(batch.to(device_of(network)))
            real = [o for o in tree_leaves(given) if _is_of_samples(o, len(batch))]
            if not real:
                return []
            outputs.append(torch.cat([o.detach().flatten(1) for o in real], 1))
            torch.autograd.backward(real, [_signs(o, generator) for o in real])
            network.zero_grad(set_to_none=True)
    return outputs


@dataclass(eq=False)
class _Seen:
    """Squared gradients of what a weight gives out, batch by batch."""

    rows: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def add(self, gradient: Tensor, *, by_sample: bool) -> None:
        squared = at_least_single(gradient).square()
        self.outputs.append(squared.sum(0))
        if by_sample:
            self.rows.append(squared.sum(1))


class _Watch(TorchFunctionMode):
    """Notes the gradients of what each weight gives out."""

    def __init__(self, held: Sequence[Gemm]) -> None:
        super().__init__()
        self._names = {id(gemm.weight): gemm.name for gemm in held}
        self._uses: dict[str, int] = {}
        self._samples = 0
        self.seen: dict[str, _Seen] = {}

    def going_through(self, samples: int) -> "_Watch":
        """Be ready for another batch of so many samples."""
        self._uses, self._samples = {}, samples
        return self

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        _, weight, *_ = (*args, None, None)
        name = self._names.get(id(weight))
        if name is not None and getattr(func, "__name__", "") in PRODUCTS:
            self._uses[name] = self._uses.get(name, 0) + 1
            seen = self.seen.setdefault(name, _Seen())
            axis = -1 if func.__name__ == "linear" else 1
            if self._uses[name] == 1 and given.requires_grad:
                by_sample = len(given) == self._samples
                given.register_hook(
                    lambda gradient: seen.add(
                        gradient.movedim(axis, -1).flatten(0, -2), by_sample=by_sample
                    )
                )
            else:
                self._names.pop(id(weight))
        return given

    def sensitivity(self, name: str, spread: float, inputs: int) -> Sensitivity | None:
        """What was noted of one weight; nothing of one that is used several times."""
        seen = self.seen[name]
        if name not in self._names.values() or not seen.outputs:
            return None
        rows = torch.cat(seen.rows or [seen.outputs[0][:0]]) / spread
        return Sensitivity(rows, torch.stack(seen.outputs).sum(0) / (inputs * spread))


def _is_of_samples(output: object, samples: int) -> bool:
    """Whether an output of the network says something of every sample."""
    if not isinstance(output, Tensor) or not output.requires_grad or output.dim() == 0:
        return False
    return len(output) == samples


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, like.shape, generator=generator) * 2 - 1
    return signs.to(like.device, like.dtype)
