"""Distillation: learn what a task's network says of an input rather than the input's label.

References:
    [Hinton2015] Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils._pytree import tree_leaves

from chipmend.errors import RepairError
from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.samples import Samples
from chipmend.network.task import Loss, Task
from chipmend.steps import Distill, Labels


def lessons(task: Task, teacher: Labels | Distill) -> tuple[Samples, Loss]:
    """What is learnt from a teacher: samples, and the loss that says how well.

    Args:
        task: The network that repairs start from, and its data.
        teacher: The labels, or that network.
    """
    if isinstance(teacher, Labels):
        return task.train, task.loss
    taught = TaughtSamples(task.train, task.model)
    classes = task.loss is cross_entropy or isinstance(task.loss, nn.CrossEntropyLoss)
    return taught, divergence(teacher.temperature) if classes else squared_error


@dataclass(frozen=True, eq=False)
class TaughtSamples:
    """Samples whose targets are the outputs of a network.

    Args:
        samples: Where the inputs come from.
        teacher: The network.
    """

    samples: Samples
    teacher: nn.Module

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Int64[Tensor, " samples"]) -> tuple[Tensor, Any]:
        """Inputs at ``indices``, and what the teacher says of them."""
        inputs = self.samples.batch(indices)[0]
        with evaluating(self.teacher), torch.no_grad():
            return inputs, self.teacher(inputs.to(device_of(self.teacher)))


def divergence(temperature: float) -> Loss:
    """Mean divergence of a network's class probabilities from its teacher's [Hinton2015].

    Args:
        temperature: Divides the outputs of both; the gradients keep their size.

    Returns:
        A loss of ``samples x classes`` outputs of the network and of its teacher.
    """

    def loss(outputs: Tensor, taught: Tensor) -> Tensor:
        log_given, log_wanted = ((o / temperature).log_softmax(1) for o in (outputs, taught))
        apart = (log_wanted.exp() * (log_wanted - log_given)).sum(1).mean()
        return temperature**2 * apart

    return loss


def squared_error(outputs: Any, taught: Any) -> Tensor:
    """Mean squared error of a network's outputs, however nested; the mean over tensors.

    Raises:
        RepairError: None of the outputs is a tensor of numbers.
    """
    errors = [
        mse_loss(given, wanted)
        for given, wanted in zip(tree_leaves(outputs), tree_leaves(taught), strict=True)
        if isinstance(given, Tensor) and given.is_floating_point()
    ]
    if not errors:
        raise RepairError(
            f"retrain: a {type(outputs).__name__} tells a network nothing that it could learn",
            hint='retrain with labels: teacher = { kind = "labels" }',
        )
    return torch.stack(errors).mean()
