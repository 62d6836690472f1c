"""Max pooling of whole numbers, in whatever order they lie in memory, as a maximum of pieces."""

from itertools import product
from typing import Any

import torch
from torch import Tensor

from chipmend.network.window import Window, for_each

POOLS = {f"max_pool{dims}d.default": dims for dims in (1, 2, 3)}


def max_pooled(inputs: Tensor, dims: int, given: dict[str, Any]) -> Tensor:
    """Pool numbers of 8 bits.

    Args:
        inputs: ``samples x channels x sizes``.
        dims: How many sizes.
        given: The operator's arguments, as PyTorch names them; without ``ceil_mode``.
    """
    kernel = for_each(given["kernel_size"], dims)
    stride = given["stride"] or list(kernel)
    window = Window.of(kernel, {**given, "stride": stride})
    samples_last = inputs.movedim(0, -1)
    places = window.places(tuple(samples_last.shape[1:-1]))
    padded = window.padded(samples_last, torch.iinfo(inputs.dtype).min)
    found = None
    for tap in product(*map(range, kernel)):
        piece = padded[:, *window.stops(tap, places)]
        found = piece if found is None else torch.maximum(found, piece)
    assert found is not None
    return found.movedim(-1, 0)
