"""The layers of an integer network by their neurons: accumulators, and what becomes of them.

A *neuron* is one output of a layer at one place: what one dot product gives.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int32, Int64, Shaped
from torch import Tensor

from chipmend.network.integer.ends import End, of_product
from chipmend.network.integer.layers import Layer, Product, soundly
from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.stages import Kind, Stage
from chipmend.network.integer.units import Values

ByNeuron = Shaped[Tensor, "outputs places samples"]


@dataclass(frozen=True, eq=False)
class ProtectedLayer:
    """One layer of an integer network.

    Args:
        at: The number of its stage.
        stage: Its stage: the product and what is fused with it.
        layer: The layer in whole numbers.
        end: What becomes of its accumulators.
    """

    at: int
    stage: Stage
    layer: Layer
    end: End

    @property
    def name(self) -> str:
        """Name of its weight."""
        return self.layer.name

    def inputs(self, values: Values) -> Tensor:
        """What comes in, in whole numbers."""
        return values.whole(self.stage.tensors[0])

    def accumulators(self, inputs: Tensor) -> Int32[Tensor, "outputs places samples"]:
        """Its accumulators, of sound arithmetic."""
        return self.by_neuron(self._product(inputs), len(inputs))

    def results(self, accumulators: ByNeuron) -> ByNeuron:
        """What becomes of accumulators: whole numbers of the next grid, or real ones at the end."""
        return self.end.narrowed(accumulators.flatten(1)).view(accumulators.shape)

    def results_of(
        self, accumulators: Shaped[Tensor, " samples"], output: int
    ) -> Shaped[Tensor, " samples"]:
        """The same of one output alone."""
        return self.end.of_channel(output).narrowed(accumulators[None])[0]

    def columns_of(self, place: int, places: int, samples: int) -> Int64[Tensor, " samples"]:
        """The columns of the product's left operand that a place has, for each sample.

        Args:
            place: The place.
            places: How many there are.
            samples: How many samples.
        """
        each = torch.arange(samples)
        return each * places + place if self.layer.window is None else place * samples + each

    def worth(self) -> float:
        """What one of its results is worth in real units."""
        return 1.0 if self.end.grid is None else self.end.grid.step

    def by_neuron(self, found: Shaped[Tensor, "outputs m"], samples: int) -> ByNeuron:
        """What a product gives, neuron by neuron."""
        if self.layer.window is None:
            return found.view(len(found), samples, -1).transpose(1, 2)
        return found.view(len(found), -1, samples)

    def as_pytorch_has_it(self, found: ByNeuron, like: Tensor) -> Tensor:
        """Numbers of neurons in PyTorch's order.

        Args:
            found: The numbers.
            like: Something of the right sizes.
        """
        if self.layer.window is None:
            return found.permute(2, 1, 0).reshape(like.shape)
        return found.permute(2, 0, 1).reshape(like.shape)

    def from_pytorch(self, found: Tensor) -> ByNeuron:
        """Numbers in PyTorch's order, neuron by neuron."""
        if self.layer.window is None:
            return found.reshape(len(found), -1, found.shape[-1]).permute(2, 1, 0)
        return found.flatten(2).permute(1, 2, 0)

    @cached_property
    def _product(self) -> Product:
        return soundly(self.layer)


def layers_of(network: IntegerNetwork) -> list[ProtectedLayer]:
    """The layers of a network that have weights on the array, in order."""
    return [
        ProtectedLayer(
            at,
            stage,
            Layer(
                stage.operation,
                network.codes[stage.operation.given["weight"].name].numbers,
                network.grids[stage.tensors[0]],
            ),
            of_product(stage, network.grids, network.held, network.codes),
        )
        for at, stage in enumerate(network.lowering.stages)
        if stage.kind is Kind.PRODUCT
    ]
