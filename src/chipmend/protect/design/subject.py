"""The network that is to be protected, on one array: its layers, their sums and who matters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int64

from chipmend.hardware.array import Array
from chipmend.hardware.cycles import GemmSize, gemm_cycles
from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.stages import Kind
from chipmend.protect.vulnerability.estimate import Vulnerability
from chipmend.protect.vulnerability.layers import ProtectedLayer, layers_of
from chipmend.simulate.passes import Passes
from chipmend.simulate.reach import bounds, widths


@dataclass(frozen=True, eq=False)
class SubjectLayer:
    """A layer of the network.

    Args:
        name: Name of its weight.
        change: By how much the loss changes if a bit of a neuron flips once.
        widths: Bits that the sums of each output in each pass need.
        cycles: Cycles of the array for one sample.
        rows: Rows of PEs.
    """

    name: str
    change: Float64[np.ndarray, "outputs places bits"]
    widths: Int64[np.ndarray, "outputs passes"]
    cycles: int
    rows: int

    @property
    def passes(self) -> int:
        """Passes of the array; pieces that each sum has."""
        return self.widths.shape[1]

    @property
    def work(self) -> int:
        """Pieces of all sums of one sample."""
        return self.passes * self.change.shape[0] * self.change.shape[1]

    @cached_property
    def kept(self) -> Float64[np.ndarray, "outputs bits"]:
        """Of each bit the share of pieces whose sums have it."""
        bits = np.arange(self.change.shape[2])
        return (bits < self.widths[:, :, None]).mean(1)

    @cached_property
    def harm(self) -> Float64[np.ndarray, "outputs places bits"]:
        """The expected change of a sample's loss, per rate of flips, with no protection at all."""
        return self.change * (self.passes * self.rows)

    @cached_property
    def harm_of_kept(self) -> Float64[np.ndarray, "outputs places bits"]:
        """The same of what is left where signs are extended."""
        return self.harm * self.kept[:, None]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network on an array.

    Args:
        network: The network in integers, on sound arithmetic.
        array: The array.
        layers: Its layers.
        pairs: Bits that products of activations need, by place.
    """

    network: IntegerNetwork
    array: Array
    layers: tuple[SubjectLayer, ...]
    pairs: Mapping[str, int]

    @classmethod
    def of(
        cls, network: IntegerNetwork, array: Array, found: Mapping[str, Vulnerability]
    ) -> "Subject":
        """A network of which it is known what matters.

        Args:
            network: The network in integers, on sound arithmetic.
            array: The array; its sums wrap around.
            found: How vulnerable the neurons of each layer are.
        """
        layers = tuple(_layer(each, array, found[each.name]) for each in layers_of(network))
        return cls(network, array, layers, _pairs(network, array))

    @cached_property
    def widest(self) -> int:
        """Bits that the widest sum of any pass has."""
        return max([*(int(layer.widths.max()) for layer in self.layers), *self.pairs.values()])

    @property
    def narrowest(self) -> int:
        """Bits that the narrowest one has."""
        return min(int(layer.widths.min()) for layer in self.layers)

    @property
    def work(self) -> int:
        """Pieces of all sums of one sample that have weights in them."""
        return sum(layer.work for layer in self.layers)

    @property
    def cycles(self) -> int:
        """Cycles of the array for one sample."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def activations(self) -> int:
        """How many activations buffers hold: twice those of the layer that has most."""
        return 2 * max(layer.change[..., 0].size for layer in self.layers)

    @cached_property
    def weights(self) -> int:
        """How many weights there are."""
        return sum(codes.numbers.numel() for codes in self.network.codes.values())


def _pairs(network: IntegerNetwork, array: Array) -> dict[str, int]:
    """Bits that products of activations need, if all rows of PEs are in use."""
    found = {}
    for stage in network.lowering.stages:
        if stage.kind is Kind.PAIR:
            left, right = (network.grids[name] for name in stage.tensors)
            extremes = torch.tensor([[float(right.least)], [float(right.most)]])
            reach = bounds(extremes.expand(2, array.rows), left, [slice(0, array.rows)])
            found[stage.operation.place] = int(widths(reach).max())
    return found


def _layer(layer: ProtectedLayer, array: Array, found: Vulnerability) -> SubjectLayer:
    passes = Passes(layer.layer.shape, array)
    reach = bounds(passes.weights(layer.layer.dense()), layer.layer.grid, passes.slices)
    size = GemmSize(found.change.shape[1], layer.layer.shape)
    return SubjectLayer(
        layer.name,
        found.change.double().numpy(),
        widths(reach),
        gemm_cycles(size, array),
        array.rows,
    )
