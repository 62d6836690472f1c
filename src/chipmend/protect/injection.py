"""How much the loss answers to flipped bits of single neurons, by flipping them.

One bit flips once on the way of one sum, for every sample at a pass and a row of its own; the
rest of the network is computed anew. What the flip does to the partial sum that is there, and to
what leaves the column, is what the array does, to the last bit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from chipmend.hardware.array import Array
from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.units import Values
from chipmend.protect.hits import move
from chipmend.protect.layers import ByNeuron, ProtectedLayer
from chipmend.protect.slopes import Batch, Loss, losses
from chipmend.seeds import chip_seed
from chipmend.simulate.operands import OfLayer

Neuron = tuple[int, int]
"""An output and a place."""


def injected(
    network: IntegerNetwork,
    layer: ProtectedLayer,
    neurons: Sequence[Neuron],
    batches: Iterable[Batch],
    loss: Loss,
    *,
    array: Array,
    seed: int,
) -> Float[Tensor, "neurons bits samples"]:
    """Flip bits of neurons, and see what becomes of the loss.

    Args:
        network: The network, on sound arithmetic.
        layer: The layer that the neurons are of.
        neurons: The neurons.
        batches: Samples.
        loss: The mean loss of outputs and targets.
        array: The array that they are computed on; its sums wrap around.
        seed: Chooses where on its way a sum is hit.

    Returns:
        By how much the loss of each sample changes, in absolute terms, if a bit flips once, the
        lowest bit first.
    """
    found = []
    for number, (inputs, targets) in enumerate(batches):
        hit = _HitLayer.of(network, layer, inputs, targets, loss, array)
        rng = np.random.Generator(np.random.PCG64(chip_seed(seed, layer.name, f"hit {number}")))
        found.append(torch.stack([hit.changes(neuron, rng) for neuron in neurons]))
    return torch.cat(found, 2)


@dataclass(frozen=True, eq=False)
class _HitLayer:
    """A layer that is hit, the samples of one batch, and what they come to otherwise.

    Args:
        network: The network.
        layer: The layer.
        array: The array.
        operands: What the layer multiplies.
        accumulators: What it comes to.
        results: What becomes of that.
        behind: What is known behind it.
        targets: The samples' targets.
        loss: The mean loss.
        clean: Their losses.
    """

    network: IntegerNetwork
    layer: ProtectedLayer
    array: Array
    operands: OfLayer
    accumulators: ByNeuron
    results: ByNeuron
    behind: Values
    targets: Tensor
    loss: Loss
    clean: Float[Tensor, " samples"]

    @classmethod
    def of(
        cls,
        network: IntegerNetwork,
        layer: ProtectedLayer,
        inputs: Tensor,
        targets: Tensor,
        loss: Loss,
        array: Array,
    ) -> "_HitLayer":
        """Compute what one batch comes to if nothing is hit."""
        values = network.begun(inputs)
        with torch.inference_mode():
            network.go_on_(values, 0, layer.at)
            entering = layer.inputs(values)
            network.go_on_(values, layer.at, layer.at + 1)
            accumulators = layer.accumulators(entering)
            operands = OfLayer.of(layer.layer, entering, array)
            results, behind = layer.results(accumulators), values.copy()
            network.go_on_(values, layer.at + 1)
            clean = losses(loss, values.real(network.lowering.graph.output), targets)
        return cls(
            network, layer, array, operands, accumulators, results, behind, targets, loss, clean
        )

    def changes(self, neuron: Neuron, rng: np.random.Generator) -> Float[Tensor, "bits samples"]:
        """The change of each sample's loss by each bit of a neuron."""
        found = [self._changed(neuron, moves) for moves in self._moves(neuron, rng)]
        return torch.stack(found)

    def _moves(self, neuron: Neuron, rng: np.random.Generator) -> Int64[Tensor, "bits samples"]:
        """By how much a sum is off at the end when a bit flips somewhere on its way."""
        (output, place), (_, places, samples) = neuron, self.accumulators.shape
        bits = self.array.accumulators.bits
        columns = self.layer.columns_of(place, places, samples)
        passes = torch.from_numpy(rng.integers(len(self.operands.passes.slices), size=samples))
        rows = torch.from_numpy(rng.integers(self.array.rows, size=(bits, 1, samples)))
        products = self.operands.products(torch.full_like(columns, output), columns, passes)
        sums = products.cumsum(0)
        there = sums.expand(bits, -1, -1).gather(1, rows)[:, 0]
        return move(there, sums[-1], torch.arange(bits)[:, None], bits)

    def _changed(self, neuron: Neuron, moves: Int64[Tensor, " samples"]) -> Tensor:
        """The change of each sample's loss if a sum is off by so much."""
        moved = self.accumulators[neuron].long() + moves
        hit = self.layer.results_of(moved, neuron[0])
        if torch.equal(hit, self.results[neuron]):
            return torch.zeros_like(self.clean)
        with torch.inference_mode():
            results = self.results.clone()
            results[neuron] = hit
            values, stage = self.behind.copy(), self.layer.stage
            name, whole = stage.result, stage.integer
            like = values.whole(name) if whole else values.real(name)
            values.drop(name)
            values.put(name, self.layer.as_pytorch_has_it(results, like), whole=whole)
            self.network.go_on_(values, self.layer.at + 1)
            outputs = values.real(self.network.lowering.graph.output)
            return (losses(self.loss, outputs, self.targets) - self.clean).abs()
