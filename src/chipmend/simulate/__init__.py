"""A chip to the last bit: its array with all faults live, its weight memory, and the proof of both."""

from chipmend.simulate.faulty_array import FaultyArray

__all__ = ["FaultyArray"]
