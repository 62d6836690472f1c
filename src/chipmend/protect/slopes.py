"""What the loss answers to each value of an integer network with, to first order.

Gradients are taken at the integer network's own activations, which are put in place of real ones on
the way (straight-through).
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.stages import Kind

Loss = Callable[[Tensor, Tensor], Tensor]
"""The mean loss of outputs and targets."""
Batch = tuple[Tensor, Tensor]


def losses(loss: Loss, outputs: Tensor, targets: Tensor) -> Float[Tensor, " samples"]:
    """The loss of each sample by itself."""
    return torch.vmap(lambda output, target: loss(output[None], target[None]))(outputs, targets)


def activations(
    network: IntegerNetwork, inputs: Tensor
) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
    """What the stages of a network give.

    Args:
        network: The network.
        inputs: Samples.

    Returns:
        Values in real units by name, and of each layer what enters it, in whole numbers, by the
        number of its stage.
    """
    exact, entering, values = dict[str, Tensor](), dict[int, Tensor](), network.begun(inputs)
    with torch.no_grad():
        for at, stage in enumerate(network.lowering.stages):
            if stage.kind is Kind.PRODUCT:
                entering[at] = values.whole(stage.tensors[0])
            network.go_on_(values, at, at + 1)
            found = values.copy().real(stage.result)
            if isinstance(found, Tensor) and found.is_floating_point():
                exact[stage.result] = found
    return exact, entering


def slopes(
    network: IntegerNetwork,
    exact: Mapping[str, Tensor],
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
) -> dict[str, Tensor]:
    """The gradient of each sample's loss to each value.

    Args:
        network: The network.
        exact: What its stages give.
        inputs: Samples.
        targets: Their targets.
        loss: The mean loss.
    """
    weights = {name: codes.weight() for name, codes in network.codes.items()}
    passed = dict[str, Tensor]()

    def through(name: str, value: Tensor) -> Tensor | None:
        if name not in exact:
            return None
        instead = value + (exact[name] - value).detach() if value.requires_grad else exact[name]
        passed[name] = instead if instead.requires_grad else instead.detach().requires_grad_()
        return passed[name]

    with torch.enable_grad():
        outputs = network.lowering.graph.run({**network.held, **weights}, inputs, through)
        total = loss(outputs, targets) * len(inputs)
        found = torch.autograd.grad(total, list(passed.values()), allow_unused=True)
    pairs = zip(passed.items(), found, strict=True)
    return {name: torch.zeros_like(at) if g is None else g for (name, at), g in pairs}
