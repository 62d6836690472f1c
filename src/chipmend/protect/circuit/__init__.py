"""Protected processing elements as hardware: their Verilog, their areas, and what they mask."""

from chipmend.protect.circuit.areas import area, table
from chipmend.protect.circuit.yosys import Synthesized, found_yosys, synthesized

__all__ = ["Synthesized", "area", "found_yosys", "synthesized", "table"]
