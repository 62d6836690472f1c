"""How a kernel moves over its input: where it stops, and what each of its taps meets there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Window:
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
    def of(cls, kernel: tuple[int, ...], given: Mapping[str, Any]) -> "Window":
        """The window of a convolution.

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

    def places(self, sizes: Sequence[int]) -> tuple[int, ...]:
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


def for_each(sizes: Any, dims: int) -> tuple[int, ...]:
    """A size for each dimension of space: one that is given alone is that of all."""
    listed = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    return tuple(listed * dims if len(listed) == 1 else listed)
