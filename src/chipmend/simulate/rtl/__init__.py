"""The array as hardware: synthesizable Verilog, and Icarus Verilog to run it."""

from chipmend.simulate.rtl.icarus import Icarus
from chipmend.simulate.rtl.tools import found_icarus, simulated

__all__ = ["Icarus", "found_icarus", "simulated"]
