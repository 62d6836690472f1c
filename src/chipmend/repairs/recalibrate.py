"""Estimate batch-norm statistics anew: after pruning or training on, the stored ones are stale.

No labels and no gradients: one forward pass over a few thousand training inputs. Each norm takes
the mean over equal batches of the batch mean and of the unbiased batch variance.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.samples import Samples

BATCH = 256


def recalibrate_(model: nn.Module, samples: Samples, indices: Tensor) -> int:
    """Re-estimate the statistics of every batch norm, in place.

    Args:
        model: The network; everything but the statistics is left as it was, the modes too.
        samples: What to calibrate on; targets are not looked at.
        indices: Which of the samples.

    Returns:
        Samples that went through the network: none if it has no such norm.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return 0
    with evaluating(model), _accumulating(norms), torch.inference_mode():
        for chunk in indices.tensor_split(max(1, len(indices) // BATCH)):
            model(samples.batch(chunk)[0].to(device_of(model)))
    return len(indices)


@contextmanager
def _accumulating(norms: list[_BatchNorm]) -> Iterator[None]:
    """Reset the norms, and have them average over all batches that come."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
