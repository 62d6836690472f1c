"""Stuck bits in the datapaths of PEs that are not bypassed: everything that passes is spoiled.

Where a PE can be bypassed it is simply left out. Without a bypass, or where the bypass itself is
broken, a bit of its weight register, of its multiplier's output or of its accumulator's output
reads 0 or 1 whatever is computed [Zhang2018].

References:
    [Zhang2018] Zhang, Gu, Basu, Garg, "Analyzing and mitigating the impact of permanent faults on
        a systolic array based neural network accelerator", VTS 2018.
"""

import hashlib
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64

from chipmend.errors import FaultMapError
from chipmend.hardware.array import Array
from chipmend.hardware.mac import SITES, Site

StuckBit = tuple[int, int, Site, int, int]
"""Row and column of the PE, the site, the bit (0 is the least significant), what it is stuck at."""
FIELDS = 5
_MOST_BIT = 31


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StuckMacs:
    """Stuck bits of the datapaths of an array's PEs; ``StuckMacs.of`` makes one of a list.

    Args:
        table: One row for each bit: row and column of the PE, number of the site (as in
            ``hardware.SITES``), bit, value; ascending, none twice.

    Raises:
        FaultMapError: A site, a bit or a value that there is not, or a bit stuck at both values.

    Example:
        >>> StuckMacs.of([(3, 0, "accumulator", 22, 1)])
        StuckMacs(1 bit of 1 PE)
    """

    table: Int32[np.ndarray, "bits fields"]

    def __post_init__(self) -> None:
        table = np.array(self.table, dtype=np.int32).reshape(-1, FIELDS)
        table.flags.writeable = False
        object.__setattr__(self, "table", table)
        _check(table)

    @classmethod
    def of(cls, bits: Iterable[StuckBit]) -> "StuckMacs":
        """Gather bits in any order; the same one may be listed twice.

        Raises:
            FaultMapError: As the class.
        """
        rows = [_numbered(bit) for bit in bits]
        return cls(np.array(sorted(set(rows)), dtype=np.int64).reshape(-1, FIELDS))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StuckMacs):
            return NotImplemented
        return np.array_equal(self.table, other.table)

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        bits, pes = len(self.table), len(np.unique(self.table[:, :2], axis=0))
        return f"StuckMacs({_counted(bits, 'bit')} of {_counted(pes, 'PE')})"

    def __len__(self) -> int:
        return len(self.table)

    def listed(self) -> list[StuckBit]:
        """The bits one by one, in order."""
        return [(r, c, SITES[site], bit, value) for r, c, site, bit, value in self.table.tolist()]

    def where(self, kept: Bool[np.ndarray, "rows cols"]) -> "StuckMacs":
        """The bits of some PEs alone."""
        rows, cols = self.table[:, 0], self.table[:, 1]
        return StuckMacs(self.table[kept[rows, cols]])

    def patterns(
        self, site: Site, rows: int, cols: int
    ) -> tuple[Int64[np.ndarray, "rows cols"], Int64[np.ndarray, "rows cols"]]:
        """Bits stuck at 1 and bits stuck at 0 at one site, as a pattern for every PE."""
        ones, zeros = np.zeros((2, rows, cols), np.int64)
        here = self.table[self.table[:, 2] == SITES.index(site)]
        for patterns, value in ((ones, 1), (zeros, 0)):
            some = here[here[:, 4] == value]
            np.bitwise_or.at(patterns, (some[:, 0], some[:, 1]), 1 << some[:, 3].astype(np.int64))
        return ones, zeros

    def check_fits(self, array: Array, whose: str) -> None:
        """Refuse bits that the PEs of an array do not have.

        Args:
            array: The array.
            whose: Whose bits these are, for the error.

        Raises:
            FaultMapError: Names the first of them.
        """
        widths = np.array([array.bits_at(site) for site in SITES])
        over = self.table[self.table[:, 3] >= widths[self.table[:, 2]]]
        if len(over):
            row, col, site, bit, _ = over[0].tolist()
            raise FaultMapError(
                f"{whose}: bit {bit} of the {SITES[site]} of PE ({row}, {col}) is stuck, which has "
                f"{widths[site]} bits",
                hint="bits count from 0; give the array the accumulators and the memory it was "
                "tested with",
            )

    def digest(self) -> str:
        """Hex digest of the bits."""
        return hashlib.sha256(self.table.astype("<i4").tobytes()).hexdigest()


def _numbered(bit: StuckBit) -> tuple[int, ...]:
    try:
        row, col, site, place, value = bit
        if site not in SITES:
            raise FaultMapError(f"a datapath has no site {site!r}", hint=f"give {', '.join(SITES)}")
        at, stuck = (tuple(map(operator.index, pair)) for pair in ((row, col), (place, value)))
        return *at, SITES.index(site), *stuck
    except (TypeError, ValueError) as error:
        if isinstance(error, FaultMapError):
            raise
        raise FaultMapError(
            f"{bit!r} is no stuck bit of a datapath",
            hint="give row, column, site, bit and value, as (3, 0, 'accumulator', 22, 1)",
        ) from error


def _check(table: Int32[np.ndarray, "bits fields"]) -> None:
    if not len(table):
        return
    ends = np.array([2**31, 2**31, len(SITES), _MOST_BIT + 1, 2])
    outside = table[((table < 0) | (table >= ends)).any(1)]
    if len(outside):
        raise FaultMapError(
            f"no bit of a datapath: {outside[0].tolist()}",
            hint=f"give row, column, site (0 to {len(SITES) - 1}), bit (0 to {_MOST_BIT}), value",
        )
    order = np.lexsort(table.T[::-1])
    if (order != np.arange(len(table))).any() or (np.diff(table, axis=0) == 0).all(1).any():
        raise FaultMapError(
            "stuck bits of datapaths that do not ascend",
            hint="list each once: StuckMacs.of([...])",
        )
    twice = (np.diff(table[:, :4], axis=0) == 0).all(1)
    if twice.any():
        row, col, site, bit, _ = table[:-1][twice][0].tolist()
        raise FaultMapError(
            f"bit {bit} of the {SITES[site]} of PE ({row}, {col}) is stuck at 0 and at 1",
            hint="a bit is stuck at one value; leave the wrong one out",
        )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def check_inside(macs: StuckMacs, rows: int, cols: int) -> None:
    """Refuse bits of PEs that lie outside of an array.

    Raises:
        FaultMapError: Names the first of them.
    """
    outside: Sequence[list[int]] = macs.table[
        (macs.table[:, 0] >= rows) | (macs.table[:, 1] >= cols)
    ].tolist()
    if outside:
        row, col, *_ = outside[0]
        raise FaultMapError(
            f"a stuck bit of PE ({row}, {col}) lies outside the array of {rows} x {cols}",
            hint="rows and columns count from 0",
        )
