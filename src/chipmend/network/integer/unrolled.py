"""The left operand of a layer's matrix product: inputs down, one column for each dot product.

Samples lie innermost in memory, so that unrolling a convolution copies long runs, and the rows of a
tile of the array are one piece.
"""

from itertools import product

from jaxtyping import Shaped
from torch import Tensor

from chipmend.network.window import Window


def unrolled(
    inputs: Shaped[Tensor, "samples channels ..."], window: Window, zero: int
) -> Shaped[Tensor, "channels ..."]:
    """Unroll the inputs of a convolution.

    Args:
        inputs: What comes in, in whatever order in memory.
        window: How the kernel moves.
        zero: The number that stands for zero.

    Returns:
        ``channels x kernel x places x samples``, contiguous.

    Example:
        >>> import torch
        >>> window = Window((2,), (1,), ((0, 1),), (1,))
        >>> unrolled(torch.tensor([[[1, 2, 3]]]), window, zero=0).view(2, 3).tolist()
        [[1, 2, 3], [2, 3, 0]]
    """
    samples_last = inputs.movedim(0, -1)
    channels, *sizes, samples = samples_last.shape
    places = window.places(tuple(sizes))
    padded = window.padded(samples_last, zero)
    if all(size == 1 for size in (*window.kernel, *window.stride)):
        return padded.view(channels, *window.kernel, *places, samples)
    columns = inputs.new_empty(channels, *window.kernel, *places, samples)
    for tap in product(*map(range, window.kernel)):
        columns[:, *tap].copy_(padded[:, *window.stops(tap, places)])
    return columns
