"""Random stuck bits in datapaths: each PE that is hit has one, at a random site and place."""

import math
import operator
from dataclasses import dataclass

import numpy as np

from chipmend.errors import LotError
from chipmend.faults.macs import StuckMacs
from chipmend.hardware.array import Array
from chipmend.hardware.mac import SITES, Site
from chipmend.seeds import chip_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class MacsAt:
    """How stuck bits of datapaths are drawn: PEs that cannot be bypassed have one bit each.

    Args:
        rate: Expected share of the PEs that are hit (base: per PE).
        count: How many PEs are hit; instead of a rate.
        sites: Sites that bits are drawn from, each alike.
        bits: The lowest and the highest bit; by default all that a site has.
        at_1: Share of the bits that is stuck at 1.

    Raises:
        LotError: A share, a site or a range that is none, or neither or both of rate and count.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    rate: float | None = None
    count: int | None = None
    sites: tuple[Site, ...] = ("accumulator",)
    bits: tuple[int, int] | None = None
    at_1: float = 0.5

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.count is None):
            raise LotError(
                f"stuck MACs: a rate of {self.rate} and a count of {self.count}",
                hint="give one of the two",
            )
        for what, share in (("a rate", self.rate), ("a share stuck at 1", self.at_1)):
            if share is not None and not (isinstance(share, int | float) and 0 <= share <= 1):
                raise LotError(f"stuck MACs: {what} of {share!r}", hint="give a fraction, 0 to 1")
        if self.count is not None and (not isinstance(self.count, int) or self.count < 0):
            raise LotError(f"{self.count!r} stuck MACs", hint="give a whole number, 0 or more")
        if not self.sites or not set(self.sites) <= set(SITES):
            raise LotError(
                f"stuck MACs: sites {self.sites!r}", hint=f"give one or more of {', '.join(SITES)}"
            )
        _check_range(self.bits)


def stuck_macs(
    array: Array, drawn: MacsAt, *, seed: int, chip: str, nested: bool = False
) -> StuckMacs:
    """Draw the stuck bits of one chip's datapaths.

    Args:
        array: The array.
        drawn: How they are drawn.
        seed: The seed of the run.
        chip: Identity of the chip.
        nested: Draw such that, with the same seed and chip, what is stuck at a lower rate or count
            is stuck at a higher one too, at the same bit and value; otherwise they are independent.

    Returns:
        The bits; the same for the same arguments, whatever was drawn before.

    Raises:
        LotError: More PEs than there are, or a range of bits that a site does not have.

    Example:
        >>> array = Array(rows=64, cols=64)
        >>> len(stuck_macs(array, MacsAt(count=4), seed=0, chip="a"))
        4
    """
    pes = array.rows * array.cols
    if drawn.count is not None and drawn.count > pes:
        raise LotError(f"{drawn.count} stuck MACs of {pes:,} PEs", hint="give fewer")
    ends = [_ends(array, site, drawn.bits) for site in drawn.sites]
    amount = drawn.count if drawn.rate is None else drawn.rate
    purpose = "stuck MACs" + ("" if nested else f" {amount!r}")
    rng = np.random.Generator(np.random.PCG64(chip_seed(seed, chip, purpose)))
    order, site, place, value = (rng.random(pes) for _ in range(4))
    if drawn.rate is not None:
        hit = np.flatnonzero(order < drawn.rate)
    else:
        hit = np.argsort(order, kind="stable")[: drawn.count]
    listed = []
    for pe in hit.tolist():
        which = math.floor(site[pe] * len(drawn.sites))
        low, high = ends[which]
        bit = low + math.floor(place[pe] * (high - low + 1))
        at = (pe // array.cols, pe % array.cols)
        listed.append((*at, drawn.sites[which], bit, int(value[pe] < drawn.at_1)))
    return StuckMacs.of(listed)


def _ends(array: Array, site: Site, bits: tuple[int, int] | None) -> tuple[int, int]:
    width = array.bits_at(site)
    low, high = bits or (0, width - 1)
    if high >= width:
        raise LotError(
            f"stuck MACs: bits {low} to {high} of the {site}, which has {width}",
            hint="bits count from 0; give others, or an array with more",
        )
    return low, high


def _check_range(bits: object) -> None:
    if bits is None:
        return
    try:
        low, high = map(operator.index, bits)  # pyright: ignore[reportArgumentType,reportCallIssue]
        fine = 0 <= low <= high
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise LotError(
            f"stuck MACs: bits {bits!r}", hint="give the lowest and the highest, as (18, 22)"
        )
