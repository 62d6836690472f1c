"""The chip as manufactured: fault maps, lots of chips, and the files they come in."""

from chipmend.faults.generate import Clustered, Lines, Spatial, Uniform, fault_map, make_chips
from chipmend.faults.lot_file import read_lot, write_lot
from chipmend.faults.lots import Lot
from chipmend.faults.maps import Chip, FaultMap, Provenance, check_fits, fused
from chipmend.faults.picture import ascii_picture, png_picture
from chipmend.faults.readers import read_csv, write_csv

__all__ = [
    "Chip",
    "Clustered",
    "FaultMap",
    "Lines",
    "Lot",
    "Provenance",
    "Spatial",
    "Uniform",
    "ascii_picture",
    "check_fits",
    "fault_map",
    "fused",
    "make_chips",
    "png_picture",
    "read_csv",
    "read_lot",
    "write_csv",
    "write_lot",
]
