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
from chipmend.protect.hits import move
from chipmend.protect.layers import ProtectedLayer
from chipmend.protect.replay import Replay
from chipmend.protect.slopes import Batch, Loss
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
    each: int | None = None,
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
        each: How many bits of each neuron are flipped for a sample, all by default. Which they are
            goes round from sample to sample.

    Returns:
        By how much the loss of each sample changes, in absolute terms, if a bit flips once, the
        lowest bit first; no number for bits that were not flipped.
    """
    found, each = [], each or array.accumulators.bits
    for number, batch in enumerate(batches):
        replay = Replay.of(network, layer, batch, loss)
        hit = _Injection(replay, OfLayer.of(layer.layer, replay.inputs, array), array)
        rng = np.random.Generator(np.random.PCG64(chip_seed(seed, layer.name, f"hit {number}")))
        found.append(torch.stack([hit.changes(neuron, each, rng) for neuron in neurons]))
    return torch.cat(found, 2)


@dataclass(frozen=True, eq=False)
class _Injection:
    """A layer that is hit, with one batch of samples.

    Args:
        replay: What the batch comes to otherwise.
        operands: What the layer multiplies.
        array: The array.
    """

    replay: Replay
    operands: OfLayer
    array: Array

    def changes(
        self, neuron: Neuron, each: int, rng: np.random.Generator
    ) -> Float[Tensor, "bits samples"]:
        """The change of each sample's loss by some bits of a neuron."""
        moves = self._moves(neuron, rng)
        bits, samples = moves.shape
        found, sample = torch.full((bits, samples), torch.nan), torch.arange(samples)
        for turn in range(each):
            bit = (sample + turn * bits // each) % bits
            found[bit, sample] = self._changed(neuron, moves[bit, sample])
        return found

    def _moves(self, neuron: Neuron, rng: np.random.Generator) -> Int64[Tensor, "bits samples"]:
        """By how much a sum is off at the end when a bit flips somewhere on its way."""
        (output, place), (_, places, samples) = neuron, self.replay.accumulators.shape
        bits = self.array.accumulators.bits
        columns = self.replay.layer.columns_of(place, places, samples)
        passes = torch.from_numpy(rng.integers(len(self.operands.passes.slices), size=samples))
        rows = torch.from_numpy(rng.integers(self.array.rows, size=(bits, 1, samples)))
        products = self.operands.products(torch.full_like(columns, output), columns, passes)
        sums = products.cumsum(0)
        there = sums.expand(bits, -1, -1).gather(1, rows)[:, 0]
        return move(there, sums[-1], torch.arange(bits)[:, None], bits)

    def _changed(
        self, neuron: Neuron, moves: Int64[Tensor, " samples"]
    ) -> Float[Tensor, " samples"]:
        """The change of each sample's loss if a sum is off by so much."""
        replay = self.replay
        hit = replay.layer.results_of(replay.accumulators[neuron].long() + moves, neuron[0])
        if torch.equal(hit, replay.results[neuron]):
            return torch.zeros_like(replay.clean)
        results = replay.results.clone()
        results[neuron] = hit
        return replay.changes(results)
