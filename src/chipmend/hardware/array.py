"""The systolic array as designed: its size, and how a network's weights are laid on it."""

from dataclasses import dataclass
from typing import Literal

from chipmend.errors import ArrayError

Placement = Literal["im2col", "channel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """A weight-stationary array of ``rows x cols`` processing elements (PEs).

    Args:
        rows: PEs down; inputs enter along the rows.
        cols: PEs across; partial sums flow down the columns.
        placement: ``im2col`` lays every weight of a kernel on a PE of its own, ``channel`` lays a
            whole kernel on one PE.

    Raises:
        ArrayError: No rows or no columns.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    rows: int
    cols: int
    placement: Placement = "im2col"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise ArrayError(
                f"an array of {self.rows} x {self.cols} has no PE",
                hint="give at least one row and one column",
            )
