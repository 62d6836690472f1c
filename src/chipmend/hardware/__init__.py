"""The chip as designed."""

from chipmend.hardware.array import Array, Placement
from chipmend.hardware.cycles import GemmSize, gemm_cycles, network_cycles
from chipmend.hardware.placement import WeightShape, pe_of_weights, weights_on
from chipmend.hardware.throughput import PeShare, Throughput, Worth

__all__ = [
    "Array",
    "GemmSize",
    "PeShare",
    "Placement",
    "Throughput",
    "WeightShape",
    "Worth",
    "gemm_cycles",
    "network_cycles",
    "pe_of_weights",
    "weights_on",
]
