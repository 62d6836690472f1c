"""Permanent faults that a design happens to mask: it was made against transient ones."""

import math
from dataclasses import dataclass

from chipmend.protect.design.costs import unit_cycles
from chipmend.protect.design.protection import Protection


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """What of permanent faults is masked.

    Args:
        stuck_bits: Of single stuck bits in the adders and registers of PEs, the share that never
            shows, wherever it is: it is outvoted, or above all sums.
        columns: So many columns with a faulty PE, or as many as it has, may be done without: the
            dot-product unit computes what they would have, instead of what important neurons do,
            within the slowdown that is allowed.
    """

    stuck_bits: float
    columns: int


def masked(protection: Protection, most_cycles: int) -> Masked:
    """What of permanent faults a design masks.

    Args:
        protection: The design on its network.
        most_cycles: How many cycles a sample may take.
    """
    design = protection.design
    protected = set(protection.ordinary)
    if design.sign_extension:
        protected |= set(range(protection.subject.widest, design.accumulator_bits))
    columns = 0
    while columns < design.cols and _cycles(protection, columns + 1) <= most_cycles:
        columns += 1
    return Masked(stuck_bits=len(protected) / design.accumulator_bits, columns=columns)


def _cycles(protection: Protection, columns: int) -> float:
    """Cycles of a sample if the unit computes what whole columns would have, and nothing else.

    The columns are those that most outputs are on.
    """
    design, subject = protection.design, protection.subject
    if not design.lanes:
        return math.inf
    total = 0
    for layer in subject.layers:
        outputs, places, _ = layer.change.shape
        tiles, rest = divmod(outputs, design.cols)
        lost = (columns * tiles + min(columns, rest)) * places * layer.passes
        total += max(layer.cycles, unit_cycles(design, lost))
    return total
