"""Yield: which share of a lot ships, by how strict the constraint is and what a chip may cost."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from chipmend.fleet.ledger import SHIPPED, ChipRecord

Curve = tuple[tuple[float, float], ...]
"""What it is by, ascending, and the share of the lot's chips."""


def yield_over_accuracy(records: Sequence[ChipRecord]) -> Curve:
    """The share of a lot that ships with networks of some test accuracy, or a better one.

    Decisions are those for the constraint of the run: another one would have led to others.

    Args:
        records: One for every chip of the lot, all of one policy.

    Returns:
        Each accuracy that a network has which ships, and the share of chips that have it or more.

    Example:
        >>> yield_over_accuracy([])
        ()
    """
    found = sorted(r.accuracy for r in records if r.bin in SHIPPED and r.accuracy is not None)
    return tuple(
        (accuracy, (len(found) - bisect_left(found, accuracy)) / len(records))
        for accuracy in sorted(set(found))
    )


def yield_over_ee(records: Sequence[ChipRecord]) -> Curve:
    """The share of a lot that ships and meets the constraint at some cost per chip, or a lower one.

    Args:
        records: One for every chip of the lot, all of one policy.

    Returns:
        Each cost in epoch-equivalents of a chip that meets it, and the share of chips at most so
        dear.
    """
    found = sorted(record.ee for record in records if record.bin in SHIPPED and record.met)
    return tuple((ee, bisect_right(found, ee) / len(records)) for ee in sorted(set(found)))
