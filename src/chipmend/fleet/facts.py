"""A chip of a lot as reports show it: who it is, and what is broken on it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from chipmend.faults.maps import Chip, FaultMap
from chipmend.faults.picture import png_picture
from chipmend.fleet.jobs import rate_among
from chipmend.hardware.memory import Filled
from chipmend.repairs.prune import effective_rate

PICTURES = 12
"""Chips of a lot whose fault maps reports show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipFacts:
    """A chip as reports show it.

    Args:
        chip: Identity.
        fault_rate: Share of PEs that must not be used (base: per PE).
        effective_rate: Share of the network's weights on them (base: per weight).
        faulty_pes: Faulty PEs.
        dead_rows: Dead rows.
        dead_cols: Dead columns.
        fatal: Why the die is unrepairable, if it is.
        version: Version of the fault map.
        picture: The fault map as a PNG in base64; empty where no picture is kept.
        stuck_bits: Stuck bits of the weight memory.
        effective_bit_rate: Share of the bits of the network's weights that are stuck.
        stuck_mac_bits: Stuck bits in datapaths that nothing bypasses.
        missed_rate: Share of PEs that are broken and not in the map, where that is known.
        lot: The production lot.
        wafer: The wafer.
        x: Column of the die on the wafer.
        y: Row of the die on the wafer.
        tester_seconds: Time on the tester.
    """

    chip: str
    fault_rate: float
    effective_rate: float
    faulty_pes: int
    dead_rows: int
    dead_cols: int
    fatal: str
    version: int
    picture: str = ""
    stuck_bits: int = 0
    effective_bit_rate: float = 0.0
    stuck_mac_bits: int = 0
    missed_rate: float | None = None
    lot: str = ""
    wafer: str = ""
    x: int | None = None
    y: int | None = None
    tester_seconds: float | None = None


def facts_of(
    chips: Sequence[Chip],
    per_pe: Int64[np.ndarray, "rows cols"],
    filled: Filled | None,
    broken: Mapping[str, FaultMap],
) -> list[ChipFacts]:
    """Chips as reports show them, the first of them with pictures.

    Args:
        chips: The lot.
        per_pe: Weights of the network on each PE.
        filled: Where they lie in the weight memory; none if no chip has stuck bits.
        broken: What is broken on chips indeed, by their identities, where the maps do not say.
    """
    return [
        _facts(chip, per_pe, filled, broken.get(chip.id), pictured=place < PICTURES)
        for place, chip in enumerate(chips)
    ]


def _facts(
    chip: Chip,
    per_pe: Int64[np.ndarray, "rows cols"],
    filled: Filled | None,
    broken: FaultMap | None,
    *,
    pictured: bool,
) -> ChipFacts:
    faults = chip.faults
    picture = png_picture(faults) if pictured else b""
    return ChipFacts(
        chip=chip.id,
        fault_rate=faults.rate,
        effective_rate=effective_rate(per_pe, faults.unusable),
        faulty_pes=int(faults.faulty_pes.sum()),
        dead_rows=len(faults.dead_rows),
        dead_cols=len(faults.dead_cols),
        fatal=faults.fatal,
        version=faults.version,
        picture=base64.b64encode(picture).decode(),
        stuck_bits=faults.stuck.count if faults.stuck else 0,
        effective_bit_rate=rate_among(filled, faults.stuck),
        stuck_mac_bits=len(faults.live or ()),
        missed_rate=None if broken is None else _missed_rate(faults, broken),
        lot=chip.lot,
        wafer=chip.wafer,
        x=chip.x,
        y=chip.y,
        tester_seconds=faults.provenance.tester_seconds,
    )


def _missed_rate(found: FaultMap, broken: FaultMap) -> float:
    """Share of the PEs that are broken and were not found to be."""
    return float((broken.unusable & ~found.unusable).mean())
