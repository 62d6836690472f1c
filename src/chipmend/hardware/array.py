"""The systolic array as designed: its size, its memory, and how weights are laid on it."""

import operator
from dataclasses import dataclass, field
from typing import Literal, get_args

from chipmend.errors import ArrayError
from chipmend.hardware.mac import ACTIVATION_BITS, Accumulators, Site
from chipmend.hardware.memory import WeightMemory

Placement = Literal["im2col", "channel"]
MOST_PES = 2**24
"""Far above any array that was built; more is taken for a slip of the pen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """A weight-stationary array of ``rows x cols`` processing elements (PEs).

    Args:
        rows: PEs down; inputs enter along the rows.
        cols: PEs across; partial sums flow down the columns.
        placement: ``im2col`` lays every weight of a kernel on a PE of its own, ``channel`` lays a
            whole kernel on one PE.
        memory: Where weights are kept until a PE takes them.
        accumulators: How sums are kept.

    Raises:
        ArrayError: No rows or no columns, too many of them, an unknown placement, or a memory or
            accumulators that are none.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    rows: int
    cols: int
    placement: Placement = "im2col"
    memory: WeightMemory = field(default_factory=WeightMemory)
    accumulators: Accumulators = field(default_factory=Accumulators)

    def __post_init__(self) -> None:
        for name in ("rows", "cols"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        if self.placement not in get_args(Placement):
            raise ArrayError(
                f"there is no placement {self.placement!r}",
                hint=f"give {' or '.join(get_args(Placement))}",
            )
        if not isinstance(self.memory, WeightMemory):
            raise ArrayError(
                f"{self.memory!r} is no weight memory", hint="give WeightMemory(words=65536)"
            )
        if not isinstance(self.accumulators, Accumulators):
            raise ArrayError(
                f"{self.accumulators!r} are no accumulators", hint="give Accumulators(bits=24)"
            )
        if self.rows < 1 or self.cols < 1:
            raise ArrayError(
                f"an array of {self.rows} x {self.cols} has no PE",
                hint="give at least one row and one column",
            )
        if self.rows * self.cols > MOST_PES:
            raise ArrayError(
                f"an array of {self.rows} x {self.cols} has {self.rows * self.cols:,} PEs",
                hint=f"give at most {MOST_PES:,}",
            )

    def bits_at(self, site: Site) -> int:
        """Bits of a PE's datapath at a site: all numbers there are in two's complement."""
        match site:
            case "weight":
                return self.memory.bits
            case "product":
                return self.memory.bits + ACTIVATION_BITS
            case "accumulator":
                return self.accumulators.bits


def check_is_array(array: object) -> None:
    """Refuse what is no array.

    Raises:
        ArrayError: Says what it is.
    """
    if not isinstance(array, Array):
        raise ArrayError(f"{array!r} is no array", hint="give Array(rows=64, cols=64)")


def _whole(name: str, count: object) -> int:
    try:
        return operator.index(count)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise ArrayError(f"{name} is {count!r}", hint="give a whole number") from None
