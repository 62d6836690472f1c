"""A chip to the last bit: its array with all faults live, and the proof against Verilog."""

from chipmend.simulate.chip import on_chip
from chipmend.simulate.faulty_array import FaultyArray

__all__ = ["FaultyArray", "on_chip"]
