"""What a design costs: area in transistors, cycles, and a proxy of power.

Not counted, being alike in all designs: memories themselves, what requantizes, and the list of
important neurons, which comes from outside with the weights. Nor is the way of the dot-product
unit's sums into the memory behind the array, nor that of its operands out of the buffers: a lane
has registers for what it multiplies, and a column of lanes one for its sum, a comparator and a
multiplexer, and they are taken to find the memories free. Cycles are those of layers; products of
activations are left out, which makes slowdowns look larger than they are.

References:
    [Xu2021] Xu et al., "HyCA: a hybrid computing architecture for fault-tolerant deep learning",
        arXiv 2106.04772: important or faulty outputs are computed again by a dot-product unit.
"""

import math
from dataclasses import dataclass

from chipmend.protect.circuit.areas import area
from chipmend.protect.design.parameters import Design
from chipmend.protect.design.protection import Protection
from chipmend.protect.design.subject import Subject

OF_A_BIT = 6
"""Transistors of a bit of static memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Areas in transistors.

    Args:
        array: All PEs, protection included.
        ends: What extends signs at the ends of columns.
        unit: The dot-product unit.
        buffers: Codes in the buffers, and what makes and checks them.
    """

    array: float
    ends: float
    unit: float
    buffers: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.array + self.ends + self.unit + self.buffers


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a design costs.

    Args:
        area: Its area.
        overhead: By how much that is more than of the plan's array unprotected, in transistors.
        cycles: Cycles for one sample.
        slowdown: By what share that is more than on the plan's array unprotected.
        power: A proxy: transistors times the cycles that they work, over those of that array.
        load: Share of the time that the dot-product unit works.
    """

    area: Area
    overhead: float
    cycles: int
    slowdown: float
    power: float
    load: float


def costs(protection: Protection, reference: Protection) -> Costs:
    """What a design costs on a network.

    Args:
        protection: The design on its network.
        reference: What it is compared with: the plan's array without any protection.
    """
    design, subject, before = protection.design, protection.subject, reference.subject.cycles
    found, bare = areas(protection), areas(reference).total
    chosen = protection.again
    units = [unit_cycles(design, int(chosen[la.name].sum()) * la.passes) for la in subject.layers]
    cycles = sum(max(la.cycles, unit) for la, unit in zip(subject.layers, units, strict=True))
    working = sum(units)
    active = (found.total - found.unit) * subject.cycles + found.unit * working
    return Costs(
        area=found,
        overhead=found.total - bare,
        cycles=cycles,
        slowdown=cycles / before - 1,
        power=active / (bare * before),
        load=working / cycles if design.lanes else 0.0,
    )


def areas(protection: Protection) -> Area:
    """The area of a design, from the table of fitted areas."""
    design, subject = protection.design, protection.subject
    ends = design.cols * _end(protection) if design.sign_extension else 0.0
    unit = 0.0
    if design.lanes:
        columns = math.ceil(design.lanes / design.rows)
        of_column = area("dppu_end", BITS=design.accumulator_bits)
        of_column += _end(protection) if design.sign_extension else 0.0
        unit = (
            design.lanes * _element(protection, "lane", protection.important) + columns * of_column
        )
    pes = design.rows * design.cols
    return Area(
        array=pes * _element(protection, "pe", protection.ordinary),
        ends=ends,
        unit=unit,
        buffers=_buffers(design, subject),
    )


def parameters(bits: int, protected: range, *, weight_bits: int, cone: bool) -> dict[str, int]:
    """The parameters that the Verilog of a PE or of a lane has.

    Args:
        bits: Bits of its sums.
        protected: Which of them are protected.
        weight_bits: Bits of a weight.
        cone: Whether all is protected that those bits hang on.
    """
    return {
        "WEIGHT_BITS": weight_bits,
        "BITS": bits,
        "FIRST": protected.start,
        "LAST": protected.stop,
        "CONE": int(cone),
    }


def unit_cycles(design: Design, pieces: int) -> int:
    """Cycles that the dot-product unit takes for pieces of sums, which go round in its columns."""
    if not pieces or not design.lanes:
        return 0
    columns = math.ceil(design.lanes / design.rows)
    turns = design.rows * columns // design.lanes
    return math.ceil(pieces / columns) * turns + design.rows


def _element(protection: Protection, part: str, protected: range) -> float:
    """The area of a PE, or of a lane, with some bits protected."""
    cone = protection.cone
    given = parameters(
        protection.design.accumulator_bits,
        protected,
        weight_bits=protection.subject.array.memory.bits,
        cone=cone,
    )
    return area(f"{part}_cone" if cone else part, **given)


def _end(protection: Protection) -> float:
    bits = protection.design.accumulator_bits
    return area("column_end", BITS=bits, NARROWEST=min(protection.subject.narrowest, bits - 1))


def _buffers(design: Design, subject: Subject) -> float:
    """Bits of codes, and what makes and checks them: for what enters rows, columns and lanes."""
    if design.buffers == "bare":
        return 0.0
    of_eight = OF_A_BIT * (subject.weights + subject.activations)  # an eighth more bits, either way
    entering = (design.rows, design.cols, design.lanes, design.lanes)
    if design.buffers == "parity":
        return of_eight + sum(entering) * area("parity")
    words = sum(math.ceil(each / 8) for each in entering)
    return of_eight + words * area("ecc")
