"""What a smaller array is worth, compared with the array as designed.

Either by the cycles of a network's matrix products, or, where no network is given, by the number of
PEs: the limit for products much larger than the array.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from jaxtyping import Int64

from chipmend.errors import NetworkError
from chipmend.hardware.array import Array, check_is_array
from chipmend.hardware.cycles import GemmSize, cycles_on


class Worth(Protocol):
    """Compares what is left of an array with the whole array."""

    @property
    def array(self) -> Array:
        """The array as designed."""
        ...

    def left(self, rows: int, cols: int) -> float:
        """What ``rows x cols`` PEs of it are worth: 1 for all, 0 for none."""
        ...


@dataclass(frozen=True)
class Throughput:
    """The throughput of a network: cycles on the whole array over cycles on what is left.

    Sound lines may be left out too where that is faster, as small products fill and drain a smaller
    array sooner. The whole array has the same freedom, so no array is worth more for being broken.

    Args:
        array: The array as designed, and its placement.
        sizes: The network's matrix products, as ``chipmend.network.gemm_sizes`` measures them.

    Raises:
        ArrayError: The array is none.
        NetworkError: No matrix product.

    Example:
        Sixteen tiles instead of four, each 20 instead of 24 cycles long:

        >>> from chipmend.hardware import WeightShape
        >>> sizes = (GemmSize(14, WeightShape(outputs=8, inputs=8)),)
        >>> Throughput(Array(rows=4, cols=4), sizes).left(2, 4)
        0.6
    """

    array: Array
    sizes: tuple[GemmSize, ...]

    def __post_init__(self) -> None:
        check_is_array(self.array)
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if not self.sizes:
            raise NetworkError(
                "the throughput of no matrix product",
                hint="give the sizes that chipmend.gemm_sizes measures",
            )

    def left(self, rows: int, cols: int) -> float:
        """Throughput on ``rows x cols`` PEs, as a share of that on the whole array."""
        if rows < 1 or cols < 1:
            return 0.0
        return int(self._fewest[-1, -1]) / int(self._fewest[rows - 1, cols - 1])

    @cached_property
    def _fewest(self) -> Int64[np.ndarray, "rows cols"]:
        """Cycles on each smaller array, or on a part of it if that takes fewer."""
        rows = np.arange(1, self.array.rows + 1)[:, None]
        cols = np.arange(1, self.array.cols + 1)[None]
        cycles = sum(cycles_on(size, self.array.placement, rows, cols) for size in self.sizes)
        return np.minimum.accumulate(np.minimum.accumulate(cycles, axis=0), axis=1)


@dataclass(frozen=True, slots=True)
class PeShare:
    """The share of the PEs that are left.

    Args:
        array: The array as designed.

    Raises:
        ArrayError: The array is none.

    Example:
        >>> PeShare(Array(rows=4, cols=4)).left(3, 2)
        0.375
    """

    array: Array

    def __post_init__(self) -> None:
        check_is_array(self.array)

    def left(self, rows: int, cols: int) -> float:
        """``rows x cols`` over the size of the array."""
        return rows * cols / (self.array.rows * self.array.cols)
