"""What a PE computes with: a weight register, a multiplier, and an accumulator on the column's way.

A weight of at most 8 bits meets an activation of 8 bits, signed or not; the product has as many
bits as both together, which hold every such product. It is added to the partial sum that comes down
the column. Sums start at 0 in every tile and are added up by healthy accumulators outside of the
array, or else they re-enter at the top, tile after tile.
"""

import operator
from dataclasses import dataclass
from typing import Literal, get_args

from chipmend.errors import ArrayError

Site = Literal["weight", "product", "accumulator"]
"""Where bits of a datapath can be stuck: weight register, multiplier output, accumulator output."""
SITES: tuple[Site, ...] = get_args(Site)
Overflow = Literal["wrap", "saturate"]
Tiles = Literal["outside", "reentry"]
ACTIVATION_BITS = 8
LEAST_BITS, MOST_BITS = 16, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulators:
    """How sums are kept.

    Args:
        bits: Bits of the accumulator of every PE, 16 to 32.
        overflow: Whether a sum that does not fit wraps around or stays at the nearest that does.
        tiles: Whether the sums of tiles are added up ``outside`` of the array, or a tile's sums
            come in again at the top of the next one (``reentry``).
        outside_bits: Bits of the accumulators outside of the array, which are healthy, 16 to 32.

    Raises:
        ArrayError: A number of bits that is none, or an unknown way.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    bits: int = 32
    overflow: Overflow = "wrap"
    tiles: Tiles = "outside"
    outside_bits: int = 32

    def __post_init__(self) -> None:
        for name in ("bits", "outside_bits"):
            object.__setattr__(self, name, _bits(name, getattr(self, name)))
        for name, known in (("overflow", get_args(Overflow)), ("tiles", get_args(Tiles))):
            if getattr(self, name) not in known:
                raise ArrayError(
                    f"accumulators: {name} is {getattr(self, name)!r}",
                    hint=f"give {' or '.join(known)}",
                )


def _bits(name: str, bits: object) -> int:
    try:
        whole = operator.index(bits)  # pyright: ignore[reportArgumentType]
    except TypeError:
        whole = 0
    if not LEAST_BITS <= whole <= MOST_BITS:
        raise ArrayError(
            f"accumulators: {name} is {bits!r}",
            hint=f"give a whole number from {LEAST_BITS} to {MOST_BITS}",
        )
    return whole
