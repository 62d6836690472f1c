"""What becomes of a change that is too small to matter: it moves what is rounded behind it.

A change of a single step moves every sum behind it by a fraction of a step, and each is rounded to
another number with about that probability; what is behind moves the more numbers of its own.
However small the slope, the loss changes by what all that comes to, about alike for all neurons of
a layer. That is measured: for each sample, a number that the loss answers to is moved by a step.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chipmend.protect.replay import Replay

TIMES = 3
"""For each sample, so many numbers are moved."""


def rounding(replay: Replay, slope: Tensor, rng: np.random.Generator) -> Float[Tensor, " samples"]:
    """By how much rounding changes the loss if anything moves in a layer.

    Args:
        replay: The layer, with some samples.
        slope: What the loss answers to its results with, in PyTorch's order.
        rng: Draws what is moved.

    Returns:
        The mean absolute change of each sample's loss; 0 where the layer ends the network.
    """
    if (grid := replay.layer.end.grid) is None:
        return torch.zeros_like(replay.clean)
    answered = replay.layer.from_pytorch(slope) != 0
    places, samples = answered.shape[1:]
    candidates = answered.flatten(0, 1).T
    candidates[~candidates.any(1)] = True
    found, sample = torch.zeros_like(replay.clean), torch.arange(samples)
    for _ in range(TIMES):
        luck = torch.from_numpy(rng.random(candidates.shape)) * candidates
        which = luck.argmax(1)
        at = which // places, which % places, sample
        there, results = replay.results[at].int(), replay.results.clone()
        results[at] = torch.where(there < grid.most, there + 1, there - 1).to(results.dtype)
        found += replay.changes(results)
    return found / TIMES
