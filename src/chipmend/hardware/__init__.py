"""The chip as designed."""

from chipmend.hardware.array import Array, Placement
from chipmend.hardware.placement import WeightShape, pe_of_weights, weights_on

__all__ = ["Array", "Placement", "WeightShape", "pe_of_weights", "weights_on"]
