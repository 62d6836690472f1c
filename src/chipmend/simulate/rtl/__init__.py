"""The array as hardware: synthesizable Verilog, and Icarus Verilog to run it."""

from chipmend.simulate.rtl.icarus import Icarus, found_icarus

__all__ = ["Icarus", "found_icarus"]
