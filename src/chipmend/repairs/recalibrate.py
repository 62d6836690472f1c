"""Estimate norm statistics anew: after pruning or training on, the stored ones are stale.

No labels and no gradients: one forward pass over a few thousand training inputs. Each batch or
instance norm takes the mean over equal batches of the mean and of the unbiased variance.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from chipmend.errors import RepairError
from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.samples import Samples

BATCH = 256


def reestimate_(model: nn.Module, samples: Samples, indices: Tensor) -> int:
    """Re-estimate the statistics of every batch and instance norm, in place.

    Args:
        model: The network; everything but the statistics is left as it was, the modes too. A norm
            that no input reaches in eval mode keeps its statistics.
        samples: What to estimate on, like the training data; targets are not looked at.
        indices: Which of the samples.

    Returns:
        Samples that went through the network: none if it has no such norm.

    Raises:
        RepairError: Statistics are not finite numbers.
    """
    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    if not norms:
        return 0
    with evaluating(model), _accumulating(norms), torch.inference_mode():
        for chunk in indices.tensor_split(max(1, len(indices) // BATCH)):
            model(samples.batch(chunk)[0].to(device_of(model)))
    held = (buffer for norm in norms for buffer in norm.buffers(recurse=False))
    if not all(bool(torch.isfinite(buffer).all()) for buffer in held):
        raise RepairError(
            "norm statistics that are not finite numbers",
            hint="clean the calibration inputs, or the training split if they are taken from it",
        )
    return len(indices)


@contextmanager
def _accumulating(norms: list[_NormBase]) -> Iterator[None]:
    """Have norms average over all batches that come, each batch counting the same."""
    kept = [(norm.momentum, {k: v.clone() for k, v in norm.named_buffers()}) for norm in norms]
    calls = Counter[nn.Module]()

    def count(norm: Any, _: object) -> None:
        calls[norm] += 1
        norm.momentum = 1 / calls[norm]

    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.training = True  # not train(), which frozen norms override
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm, (momentum, statistics) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            if not calls[norm]:
                norm.load_state_dict(statistics, strict=False)
