"""A network computed anew from one of its layers on, whose results are others than they were."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.units import Values
from chipmend.protect.layers import ByNeuron, ProtectedLayer
from chipmend.protect.slopes import Batch, Loss, losses


@dataclass(frozen=True, eq=False)
class Replay:
    """A layer, and what one batch of samples comes to.

    Args:
        network: The network.
        layer: The layer.
        inputs: What enters the layer, in whole numbers.
        accumulators: What it comes to.
        results: What becomes of that.
        targets: The samples' targets.
        loss: The mean loss.
        clean: The samples' losses.
    """

    network: IntegerNetwork
    layer: ProtectedLayer
    inputs: Tensor
    accumulators: ByNeuron
    results: ByNeuron
    targets: Tensor
    loss: Loss
    clean: Float[Tensor, " samples"]
    _behind: Values

    @classmethod
    def of(
        cls, network: IntegerNetwork, layer: ProtectedLayer, batch: Batch, loss: Loss
    ) -> "Replay":
        """Compute what a batch comes to.

        Args:
            network: The network.
            layer: The layer.
            batch: The samples.
            loss: The mean loss of outputs and targets.
        """
        (samples, targets), at = batch, layer.at
        with torch.inference_mode():
            values = network.begun(samples)
            network.go_on_(values, 0, at)
            inputs = layer.inputs(values)
            network.go_on_(values, at, at + 1)
            accumulators = layer.accumulators(inputs)
            results, behind = layer.results(accumulators), values.copy()
            network.go_on_(values, at + 1)
            clean = losses(loss, values.real(network.lowering.graph.output), targets)
        return cls(
            network, layer, inputs, accumulators, results, targets, loss, clean, _behind=behind
        )

    def changes(self, results: ByNeuron) -> Float[Tensor, " samples"]:
        """By how much each sample's loss changes, in absolute terms, if the results are others."""
        with torch.inference_mode():
            values, stage = self._behind.copy(), self.layer.stage
            name, whole = stage.result, stage.integer
            like = values.whole(name) if whole else values.real(name)
            values.drop(name)
            values.put(name, self.layer.as_pytorch_has_it(results, like), whole=whole)
            self.network.go_on_(values, self.layer.at + 1)
            outputs = values.real(self.network.lowering.graph.output)
            return (losses(self.loss, outputs, self.targets) - self.clean).abs()
