"""Cycles that a weight-stationary array takes for matrix products.

A product ``Y[m, n] = X[m, k] W[k, n]`` is computed tile by tile. For each tile the weights are
shifted in from the top, one row of PEs a cycle; then ``m`` rows of inputs stream through, each PE a
cycle later than its neighbours above and to the left, until the last sum leaves the last column.
Memory keeps up; loading and computing do not overlap.

References:
    [Samajdar2018] Samajdar, Zhu, Whatmough, Mattina, Krishna, "SCALE-Sim: systolic CNN accelerator
        simulator", arXiv 1811.02883 (weight-stationary: 2 rows + cols + m - 2 cycles per fold).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Int64

from chipmend.errors import NetworkError
from chipmend.hardware.array import Array, Placement
from chipmend.hardware.placement import WeightShape

Count = TypeVar("Count", int, Int64[np.ndarray, "..."])


@dataclass(frozen=True, slots=True)
class GemmSize:
    """The sizes of one matrix product that a network asks for.

    Args:
        m: Rows of its left operand: each is one dot product for every output.
        shape: The weight that the array holds.

    Raises:
        NetworkError: No row at all.
    """

    m: int
    shape: WeightShape

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds that it takes."""
        return self.m * self.shape.weights

    def __post_init__(self) -> None:
        if self.m < 1:
            raise NetworkError(
                f"a matrix product of {self.m} rows", hint="run at least one sample through"
            )


def gemm_cycles(size: GemmSize, array: Array) -> int:
    """Cycles of one matrix product.

    Grouped and depthwise layers are the dense product with a block-diagonal ``W``, tiles that hold
    nothing but zeros included. Under ``channel`` placement ``k`` counts input channels, and each
    tile is gone through once for every tap of the kernel.

    Args:
        size: The product's sizes.
        array: The array and its placement.

    Returns:
        ``ceil(k / rows) ceil(n / cols) (2 rows + cols + m - 2)``, and under ``channel`` that times
        the taps.

    Example:
        Two tiles of 4 + (10 + 4 + 3 - 2) cycles:

        >>> linear = WeightShape(outputs=3, inputs=7)
        >>> gemm_cycles(GemmSize(10, linear), Array(rows=4, cols=3))
        38
    """
    return cycles_on(size, array.placement, array.rows, array.cols)


def network_cycles(sizes: Sequence[GemmSize], array: Array) -> int:
    """Cycles of the matrix products of a network, one after another.

    Args:
        sizes: Their sizes, as ``chipmend.network.gemm_sizes`` measures them.
        array: The array and its placement.
    """
    return sum(gemm_cycles(size, array) for size in sizes)


def cycles_on(size: GemmSize, placement: Placement, rows: Count, cols: Count) -> Count:
    """Cycles of one matrix product on arrays of one size or of many at once.

    Args:
        size: The product's sizes.
        placement: Of its weight.
        rows: PEs down, at least one.
        cols: PEs across, at least one.

    Returns:
        Cycles for each pair of rows and columns.
    """
    shape = size.shape
    channels, taps = shape.inputs * shape.groups, shape.kernel
    k, passes = (channels, taps) if placement == "channel" else (channels * taps, 1)
    tiles = -(-k // rows) * -(-shape.outputs // cols)  # rounded up
    return tiles * passes * (2 * rows + cols + size.m - 2)
