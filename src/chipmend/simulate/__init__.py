"""A chip to the last bit: its array, all faults live or bits flipping, and the proof by Verilog."""

from chipmend.simulate.chip import on_chip
from chipmend.simulate.faulty_array import FaultyArray
from chipmend.simulate.flips import BitErrors, Guard
from chipmend.simulate.upsets import UpsetArray

__all__ = ["BitErrors", "FaultyArray", "Guard", "UpsetArray", "on_chip"]
