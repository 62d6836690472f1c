"""The chip as manufactured: fault maps, lots of chips, and the files they come in."""

from chipmend.faults.bypass import Bypassed, bypass_mixed, bypass_rows_or_cols
from chipmend.faults.generate import Clustered, Lines, Spatial, Uniform, fault_map, make_chips
from chipmend.faults.lot_file import read_lot, write_lot
from chipmend.faults.lots import Lot
from chipmend.faults.macs import StuckMacs
from chipmend.faults.macs_at import MacsAt, stuck_macs
from chipmend.faults.maps import Chip, FaultMap, Provenance, check_fits, fused
from chipmend.faults.picture import ascii_picture, png_picture
from chipmend.faults.readers import read_csv, write_csv
from chipmend.faults.screening import Margin, Screening
from chipmend.faults.spares import Covered, RegionalSpares, spares_cover
from chipmend.faults.stuck import StuckBits
from chipmend.faults.stuck_at import BitLines, Cells, Scattered, StuckAt, WordLines, stuck_bits

__all__ = [
    "BitLines",
    "Bypassed",
    "Cells",
    "Chip",
    "Clustered",
    "Covered",
    "FaultMap",
    "Lines",
    "Lot",
    "MacsAt",
    "Margin",
    "Provenance",
    "RegionalSpares",
    "Scattered",
    "Screening",
    "Spatial",
    "StuckAt",
    "StuckBits",
    "StuckMacs",
    "Uniform",
    "WordLines",
    "ascii_picture",
    "bypass_mixed",
    "bypass_rows_or_cols",
    "check_fits",
    "fault_map",
    "fused",
    "make_chips",
    "png_picture",
    "read_csv",
    "read_lot",
    "spares_cover",
    "stuck_bits",
    "stuck_macs",
    "write_csv",
    "write_lot",
]
