"""Match norms: a channel keeps the mean and the spread that it has in the clean network.

A batch or instance norm maps its input by stored statistics. When repair has changed a channel's
mean and variance, the statistics are moved so that the channel comes out with the clean mean and
variance. Nothing is learnt from the calibration data but the change.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from chipmend.network.precision import at_least_single

IN_CACHE = 2**18
"""Numbers of single precision that are gone through at a time: 1 MiB."""
LEAST_SPREAD = 1e-3
"""Share of the clean variance below which a channel is taken to be lost, and is not amplified."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and variance of each channel over calibration inputs."""

    mean: Float[Tensor, " channels"]
    variance: Float[Tensor, " channels"]


def statistics(inputs: Float[Tensor, "samples channels *space"]) -> Statistics:
    """Mean and variance of each channel of a norm's inputs.

    A few samples at a time, so that they stay in the processor's cache: ``torch.var_mean`` over
    samples and space takes several times as long.
    """
    whole = at_least_single(inputs).reshape(*inputs.shape[:2], -1)
    mean = whole.mean(2).mean(0)
    squares = torch.zeros_like(mean)
    for part in whole.split(max(1, IN_CACHE // whole[0].numel())):
        squares += (part - mean[:, None]).square_().sum(2).sum(0)
    return Statistics(mean, squares / (len(whole) * whole.shape[2]))


def match_(
    norm: _NormBase, stored: Statistics, clean: Statistics, now: Statistics, trust: float = 1.0
) -> None:
    """Move a norm's statistics so that its outputs have their clean mean and variance.

    Args:
        norm: The norm, changed in place.
        stored: What the clean network's norm has stored.
        clean: Its inputs in the clean network.
        now: Its inputs now.
        trust: Share of the way to go.
    """
    floor = LEAST_SPREAD * norm.eps  # below it neither variance counts beside eps
    scale = (now.variance + floor) / (clean.variance + floor)
    scale.masked_fill_(scale < LEAST_SPREAD, 1.0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance = (stored.variance + norm.eps) * scale - norm.eps
    mean = now.mean - (clean.mean - stored.mean) * scale.sqrt()
    held = stored_statistics(norm)
    norm.running_var.copy_(held.variance.lerp(variance, trust))
    norm.running_mean.copy_(held.mean.lerp(mean, trust))


def unlikeness(norm: _NormBase, met: Statistics) -> float:
    """How unlike its training data the inputs are that a norm has met.

    The divergence of normal laws, from what the norm has stored to what it has met, mean over
    the channels; 0 where nothing was stored since the norm was made.

    Args:
        norm: A norm of the clean network.
        met: Its inputs in the clean network.
    """
    stored = stored_statistics(norm)
    if not stored.mean.any() and (stored.variance == 1).all():
        return 0.0
    spread = stored.variance + norm.eps
    ratio = (met.variance + norm.eps) / spread
    apart = (met.mean - stored.mean).square() / spread
    return float((ratio - 1 - ratio.log() + apart).mean()) / 2


def stored_statistics(norm: _NormBase) -> Statistics:
    """A copy of what a norm has stored."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    return Statistics(at_least_single(mean), at_least_single(variance))


@contextmanager
def meeting_norms(
    model: nn.Module, meet: Callable[[str, _NormBase, Statistics], object]
) -> Iterator[None]:
    """While inside, hand over the statistics of what comes into each norm, just before.

    A norm that is used several times is met the first time only.

    Args:
        model: The network.
        meet: Called with the norm's path, the norm, and the statistics of its inputs.
    """
    left = {
        norm: path
        for path, norm in model.named_modules()
        if isinstance(norm, _NormBase) and norm.track_running_stats
    }

    def first(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        if norm in left and isinstance(norm, _NormBase):
            meet(left.pop(norm), norm, statistics(args[0]))

    hooks = [norm.register_forward_pre_hook(first) for norm in left]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
