"""The left operand of a layer's matrix product: inputs down, one column for each dot product.

Samples lie innermost in memory, so that unrolling a convolution copies long runs, and the rows of a
tile of the array are one piece.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sweep:
    """How a kernel moves over its input: one entry for each dimension of space.

    Args:
        kernel: Taps.
        stride: Steps from place to place.
        padding: Zeros ahead and behind.
        dilation: Steps from tap to tap.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, kernel: tuple[int, ...], given: Mapping[str, Any]) -> "Sweep":
        """The sweep of a convolution.

        Args:
            kernel: Sizes of its kernel.
            given: Its arguments, as PyTorch names them.
        """
        dims = len(kernel)
        stride, dilation = (for_each(given[name], dims) for name in ("stride", "dilation"))
        match given["padding"]:
            case "valid":
                padding = ((0, 0),) * dims
            case "same":
                reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
                padding = tuple((r // 2, r - r // 2) for r in reach)
            case sizes:
                padding = tuple((size, size) for size in for_each(sizes, dims))
        return cls(kernel, stride, padding, dilation)

    def places(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """How many places the kernel stops at, along each dimension of an input."""
        each = zip(sizes, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((size + sum(p) - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in each)

    def stops(self, tap: tuple[int, ...], places: tuple[int, ...]) -> list[slice]:
        """What a tap meets of padded inputs, at all places."""
        each = zip(tap, self.dilation, self.stride, places, strict=True)
        return [slice(t * d, t * d + s * (p - 1) + 1, s) for t, d, s, p in each]

    def padded(
        self, samples_last: Shaped[Tensor, "channels ... samples"], filler: int
    ) -> Shaped[Tensor, "channels ... samples"]:
        """Inputs with what is ahead of them and behind, contiguous."""
        if not any(map(any, self.padding)):
            return samples_last.contiguous()
        channels, *sizes, samples = samples_last.shape
        wide = [size + sum(p) for size, p in zip(sizes, self.padding, strict=True)]
        padded = samples_last.new_full((channels, *wide, samples), filler)
        inside = [slice(p[0], p[0] + size) for size, p in zip(sizes, self.padding, strict=True)]
        padded[:, *inside] = samples_last
        return padded


def unrolled(
    inputs: Shaped[Tensor, "samples channels ..."], sweep: Sweep, zero: int
) -> Shaped[Tensor, "channels ..."]:
    """Unroll the inputs of a convolution.

    Args:
        inputs: What comes in, in whatever order in memory.
        sweep: How the kernel moves.
        zero: The number that stands for zero.

    Returns:
        ``channels x kernel x places x samples``, contiguous.

    Example:
        >>> import torch
        >>> sweep = Sweep((2,), (1,), ((0, 1),), (1,))
        >>> unrolled(torch.tensor([[[1, 2, 3]]]), sweep, zero=0).view(2, 3).tolist()
        [[1, 2, 3], [2, 3, 0]]
    """
    samples_last = inputs.movedim(0, -1)
    channels, *sizes, samples = samples_last.shape
    places = sweep.places(tuple(sizes))
    padded = sweep.padded(samples_last, zero)
    if all(size == 1 for size in (*sweep.kernel, *sweep.stride)):
        return padded.view(channels, *sweep.kernel, *places, samples)
    columns = inputs.new_empty(channels, *sweep.kernel, *places, samples)
    for tap in product(*map(range, sweep.kernel)):
        columns[:, *tap].copy_(padded[:, *sweep.stops(tap, places)])
    return columns


def for_each(sizes: Any, dims: int) -> tuple[int, ...]:
    """A size for each dimension of space: one that is given alone is that of all."""
    listed = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    return tuple(listed * dims if len(listed) == 1 else listed)
