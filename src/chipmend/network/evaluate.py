"""Run a network over samples and score what it says, leaving it as it was found."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from chipmend.errors import MetricError
from chipmend.network.samples import Samples, batches

EVALUATION_BATCH = 250

Metric = Callable[[Tensor, Tensor], Tensor]
"""Scores of a batch from its outputs and targets: one number per sample, the higher the better."""


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """One for every sample whose greatest output is its target's, else zero.

    Example:
        >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])).tolist()
        [1.0, 0.0]
    """
    return (outputs.argmax(dim=1) == targets).float()


def scores(
    model: nn.Module, samples: Samples, metric: Metric, *, batch: int = EVALUATION_BATCH
) -> Float64[np.ndarray, " samples"]:
    """Score a network on every sample.

    Args:
        model: The network; its modes and statistics are left as they were.
        samples: What to run it on.
        metric: What to score by.
        batch: Samples at a time.

    Returns:
        One score per sample, in the samples' order.

    Raises:
        MetricError: The metric gives something other than one finite number per sample.
    """
    with evaluating(model), torch.inference_mode():
        found = [
            checked_scores(metric(model(x), y), len(x))
            for x, y in batches(samples, batch, device_of(model))
        ]
    return torch.cat(found).cpu().numpy()


def differentiable(model: nn.Module) -> nn.Module:
    """A copy of a network, all of whose numbers that can have gradients do."""
    network = copy.deepcopy(model)
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    return network


def device_of(model: nn.Module) -> torch.device:
    """The device that a network's weights are on."""
    return next(model.parameters()).device


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into eval mode, and every module back into its own mode afterwards."""
    with keeping_modes(model):
        model.eval()
        yield


@contextmanager
def keeping_modes(model: nn.Module) -> Iterator[None]:
    """Put every module of a network back into its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def checked_scores(found: object, samples: int) -> Tensor:
    """What a metric gave, as float64 numbers.

    Raises:
        MetricError: Something other than one finite number per sample.
    """
    if not isinstance(found, Tensor) or found.shape != (samples,):
        said = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise MetricError(
            f"the metric gave {said} for a batch of {samples} samples",
            hint="give a tensor with one score per sample; the mean is taken afterwards",
        )
    values = found.detach().to(torch.float64)
    if not torch.isfinite(values).all():
        raise MetricError(
            "the metric gave a score that is not a finite number",
            hint="check the network's outputs and the metric for division by zero",
        )
    return values
