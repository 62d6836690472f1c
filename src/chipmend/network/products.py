"""Meet the matrix products of a forward pass, weight by weight, as they are computed.

Layers are not asked what they are: products are met where tensors meet, below the modules, so that
shared weights, attention and weights used by hand are seen like any linear layer or convolution.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import pad
from torch.utils._python_dispatch import TorchDispatchMode

from chipmend.network.gemm import Gemm
from chipmend.network.precision import at_least_single
from chipmend.network.window import Window

_aten = torch.ops.aten
_PLAIN = {_aten.mm.default: 0, _aten.addmm.default: 1, _aten.bmm.default: 0}
"""Products of plain operands, and the place of the first operand among their arguments."""


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix product of the forward pass, just before it is computed.

    Args:
        gemm: The weight that the array holds.
        outputs: Which of its outputs are computed; a packed projection may go part by part.
        groups: Groups of outputs that have inputs of their own.
        inputs: What comes in: ``... x k``, or ``samples x channels x space`` under a window.
        window: How the kernel moves; none for a plain product.
    """

    gemm: Gemm
    outputs: range
    groups: int
    inputs: Tensor
    window: Window | None

    @property
    def samples(self) -> int:
        """Rows of the product: each is one dot product for every output."""
        if self.window is None:
            return self.inputs.numel() // self.inputs.shape[-1]
        return len(self.inputs) * math.prod(self.window.places(self.inputs.shape[2:]))

    @property
    def part(self) -> tuple[str, int]:
        """Which part of which weight it is: the weight's name, and the first of its outputs."""
        return self.gemm.name, self.outputs.start

    def matrix(self) -> Float[Tensor, "n k"]:
        """A copy of the part of the weight that takes part, in single precision at least."""
        return at_least_single(self._part().flatten(1).clone())

    def write_(self, matrix: Float[Tensor, "n k"]) -> None:
        """Set the part of the weight that takes part, whatever its layout in memory."""
        part = self._part()
        part.copy_(matrix.view(part.shape))

    def _part(self) -> Tensor:
        return self.gemm.weight.detach()[self.outputs.start : self.outputs.stop]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds that it takes."""
        return self.samples * len(self.outputs) * self.gemm.weight[0].numel()

    def rows(
        self, places: Int64[Tensor, " places"] | None = None
    ) -> Float[Tensor, "places groups k"]:
        """The left operand at some of its rows, or at all.

        Args:
            places: Which rows, counted sample by sample and, in each, in row-major order of space.

        Returns:
            Inputs of each dot product, in the order of the stored weight's taps, in single
            precision at least.
        """
        if self.window is None:
            rows = self.inputs.reshape(-1, self.inputs.shape[-1])
            return at_least_single(rows if places is None else rows[places])[:, None]
        patches = _patches(self.inputs, self.window, self.groups)
        if places is None:
            return at_least_single(patches.reshape(self.samples, self.groups, -1))
        spots = torch.unravel_index(places, (len(patches), *patches.shape[1 : -2 - _dims(self)]))
        return at_least_single(patches[spots].flatten(2))


def _dims(product: Product) -> int:
    return product.inputs.dim() - 2


def _patches(inputs: Tensor, window: Window, groups: int) -> Tensor:
    """A view, ``samples x places... x groups x channels x kernel...``, of the padded inputs."""
    padded = pad(inputs, [p for pair in reversed(window.padding) for p in pair])
    samples, channels, *sizes = inputs.shape
    of_sample, of_channel, *of_space = padded.stride()
    per_group = channels // groups
    steps = [o * s for o, s in zip(of_space, window.stride, strict=True)]
    taps = [o * d for o, d in zip(of_space, window.dilation, strict=True)]
    return padded.as_strided(
        (samples, *window.places(sizes), groups, per_group, *window.kernel),
        (of_sample, *steps, of_channel * per_group, of_channel, *taps),
    )


@contextmanager
def without_fused_attention() -> Iterator[None]:
    """While inside, attention is computed product by product: fused, it is one opaque operation."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class Products(TorchDispatchMode):
    """While it is entered, hands every product with a placed weight to ``meet`` beforehand.

    Gradients have to be off: with them on, products hide inside larger operations.

    Args:
        gemms: The weights that the array holds.
        meet: Called with each product; if it changes the weight, the change is computed with.
    """

    def __init__(self, gemms: Sequence[Gemm], meet: Callable[[Product], object]) -> None:
        super().__init__()
        self._gemms, self._meet = gemms, meet

    def __enter__(self) -> "Products":
        self._unfused = without_fused_attention()
        self._unfused.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._unfused.__exit__(*exception)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        product = self._product(func, args)
        if product is not None:
            self._meet(product)
        return func(*args, **(kwargs or {}))

    def _product(self, func: Any, args: tuple[Any, ...]) -> Product | None:
        if func is _aten.convolution.default:
            return self._convolution(*args)
        if func not in _PLAIN:
            return None
        left, right = args[_PLAIN[func] :][:2]
        return self._plain(left, right) or self._plain(right.mT, left.mT)

    def _plain(self, inputs: Tensor, weight: Tensor) -> Product | None:
        gemm = self._holder(weight)
        if gemm is None:
            return None
        of_output, of_input = gemm.weight.flatten(1).stride()
        if weight.stride()[-2:] != (of_input, of_output):
            return None
        first = int(weight.storage_offset() - gemm.weight.storage_offset()) // of_output
        return Product(gemm, range(first, first + weight.shape[-1]), 1, inputs, None)

    def _convolution(
        self,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,  # noqa: ARG002
        stride: list[int],
        padding: list[int],
        dilation: list[int],
        transposed: bool,
        output_padding: list[int],  # noqa: ARG002
        groups: int,
    ) -> Product | None:
        gemm = self._holder(weight)
        if gemm is None or transposed:
            return None
        given = {"stride": stride, "padding": padding, "dilation": dilation}
        window = Window.of(tuple(weight.shape[2:]), given)
        return Product(gemm, range(len(weight)), groups, inputs, window)

    def _holder(self, tensor: Tensor) -> Gemm | None:
        """The weight that a tensor is, or is a part of."""
        held_at = tensor.untyped_storage().data_ptr()
        for gemm in self._gemms:
            weight = gemm.weight
            first = weight.storage_offset()
            if (
                weight.untyped_storage().data_ptr() == held_at
                and first <= tensor.storage_offset() < first + weight.numel()
            ):
                return gemm
        return None
