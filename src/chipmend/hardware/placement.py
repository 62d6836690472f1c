"""Which PE every weight of a layer lands on.

The array sees a layer as a matrix product ``Y[m, n] = X[m, k] W[k, n]``: ``k`` runs down the rows,
``n`` across the columns, and both wrap around tile by tile. Grouped and depthwise layers are the
dense product with a block-diagonal ``W``, so ``k`` and ``n`` count over all groups.

References:
    [Zhang2018] Zhang, Gu, Basu, Garg, "Analyzing and mitigating the impact of permanent faults on
        a systolic array based neural network accelerator", VTS 2018.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from chipmend.errors import FaultMapError
from chipmend.hardware.array import Array


@dataclass(frozen=True, slots=True)
class WeightShape:
    """The sizes of a layer's weight that placement depends on.

    Args:
        outputs: Output channels or features, over all groups.
        inputs: Input channels or features of one group.
        kernel: Taps of one kernel: the product of its sizes, 1 for a linear layer.
        groups: Groups of channels.
    """

    outputs: int
    inputs: int
    kernel: int = 1
    groups: int = 1

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.outputs * self.inputs * self.kernel


def pe_of_weights(
    shape: WeightShape, array: Array
) -> tuple[Int64[np.ndarray, "outputs taps"], Int64[np.ndarray, "outputs #taps"]]:
    """Give the PE of every weight.

    Under ``im2col`` a weight's ``k`` is its flattened (input channel, ky, kx), channel first;
    under ``channel`` it is its input channel, so that a whole kernel shares a PE.

    Args:
        shape: The layer's weight.
        array: The array and its placement.

    Returns:
        Row and column of the PE of each weight, ``outputs x (inputs * kernel)``, in the row-major
        order of the stored weight; read-only. The column is the same for all weights of an output.

    Example:
        A convolution of 2 channels with kernels of 1 x 2, on an array of 3 x 2:

        >>> shape = WeightShape(outputs=3, inputs=2, kernel=2)
        >>> rows, cols = pe_of_weights(shape, Array(rows=3, cols=2))
        >>> rows.tolist()
        [[0, 1, 2, 0], [0, 1, 2, 0], [0, 1, 2, 0]]
        >>> cols.tolist()
        [[0], [1], [0]]

        The same layer, a whole kernel per PE:

        >>> pe_of_weights(shape, Array(rows=3, cols=2, placement="channel"))[0][0].tolist()
        [0, 0, 1, 1]

        Depthwise, three channels: the inputs of group ``g`` begin at ``k = g * taps``:

        >>> depthwise = WeightShape(outputs=3, inputs=1, kernel=2, groups=3)
        >>> pe_of_weights(depthwise, Array(rows=3, cols=2))[0].tolist()
        [[0, 1], [2, 0], [1, 2]]
    """
    output = np.arange(shape.outputs)[:, None]
    group = output[:1] if shape.groups == 1 else output // (shape.outputs // shape.groups)
    channel = group * shape.inputs + np.arange(shape.inputs).repeat(shape.kernel)
    tap = np.tile(np.arange(shape.kernel), shape.inputs)
    down = channel if array.placement == "channel" else channel * shape.kernel + tap
    taps = (shape.outputs, shape.inputs * shape.kernel)
    return np.broadcast_to(down % array.rows, taps), output % array.cols


def weights_on(
    faulty: Bool[np.ndarray, "rows cols"], shape: WeightShape, array: Array
) -> Bool[np.ndarray, "outputs taps"]:
    """Mark the weights of a layer that land on faulty PEs.

    Args:
        faulty: True where the PE must not be used.
        shape: The layer's weight.
        array: The array and its placement.

    Returns:
        ``outputs x (inputs * kernel)``, in the row-major order of the stored weight.

    Raises:
        FaultMapError: The map is of another size than the array.

    Example:
        >>> faulty = np.array([[True, False], [False, False]])
        >>> shape = WeightShape(outputs=2, inputs=3)
        >>> weights_on(faulty, shape, Array(rows=2, cols=2)).astype(int).tolist()
        [[1, 0, 1], [0, 0, 0]]
    """
    if faulty.shape != (array.rows, array.cols):
        raise FaultMapError(
            f"a fault map of {faulty.shape[0]} x {faulty.shape[1]} does not describe an array of "
            f"{array.rows} x {array.cols}",
            hint="check the array's size in the plan against the test data",
        )
    return faulty[pe_of_weights(shape, array)]
