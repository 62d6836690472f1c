"""The chip as designed."""

from chipmend.hardware.array import Array, Placement
from chipmend.hardware.cycles import GemmSize, gemm_cycles, network_cycles
from chipmend.hardware.mac import SITES, Accumulators, Site
from chipmend.hardware.memory import Coding, Filled, WeightMemory, read_back
from chipmend.hardware.placement import WeightShape, pe_of_weights, weights_on
from chipmend.hardware.throughput import PeShare, Throughput, Worth

__all__ = [
    "SITES",
    "Accumulators",
    "Array",
    "Coding",
    "Filled",
    "GemmSize",
    "PeShare",
    "Placement",
    "Site",
    "Throughput",
    "WeightMemory",
    "WeightShape",
    "Worth",
    "gemm_cycles",
    "network_cycles",
    "pe_of_weights",
    "read_back",
    "weights_on",
]
