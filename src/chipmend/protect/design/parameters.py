"""What can be chosen about protection: one design, and the space of all that are looked at."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

from chipmend.errors import PlanError
from chipmend.hardware.array import Array
from chipmend.hardware.mac import LEAST_BITS

Spread = Literal["network", "layer"]
Buffers = Literal["bare", "parity", "ecc"]
MOST_BITS, MOST_SIDE, LEAST_RANGE = 32, 4096, 0.05


class Quantization(NamedTuple):
    """How a network is brought to integers.

    Args:
        shifts: How many shifts requantization may choose from; 0 for factors of any kind.
        activation_range: How far activations reach, as a share of how far they do by default.
    """

    shifts: int = 0
    activation_range: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Protection of a network on an array.

    Bits are protected from the highest down that sums need: the highest of the accumulator, or,
    where signs are extended at the ends of columns, the highest that any sum of the network has.

    Args:
        rows: PEs down.
        cols: PEs across.
        accumulator_bits: Bits of a PE's sum.
        sign_extension: Whether, at the end of every column, the sign is extended from the width
            that the weights above need: flips above that are gone.
        bare_bits: So many of the highest bits that sums need are left bare, since few sums have
            them; only where signs are extended.
        ordinary_bits: Bits that are protected in every PE.
        important: Share of the array's work that the dot-product unit does again, for the neurons
            that matter most.
        spread: Whether the neurons are chosen over the whole network, or the same share of every
            layer.
        important_bits: Bits that are protected in the lanes of that unit.
        lanes: Its lanes; each multiplies and adds once a cycle. They are a column that goes
            through a sum as long as one of the array in whole turns, or several such columns: other
            numbers are brought up to the next that is.
        shifts: How many shifts requantization may choose from; 0 for factors of any kind.
        activation_range: How far activations reach, as a share of how far they do by default: what
            flips make larger is cut off there.
        buffers: How weights and activations in their buffers are protected: by parity and reading
            again, or by a code that corrects one bit of 64.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    rows: int
    cols: int
    accumulator_bits: int
    sign_extension: bool = False
    bare_bits: int = 0
    ordinary_bits: int = 0
    important: float = 0.0
    spread: Spread = "network"
    important_bits: int = 0
    lanes: int = 0
    shifts: int = 0
    activation_range: float = 1.0
    buffers: Buffers = "bare"

    @property
    def quantization(self) -> Quantization:
        """How the network is brought to integers."""
        return Quantization(self.shifts, self.activation_range)

    def on(self, array: Array) -> Array:
        """An array as this design has it, alike in what protection does not change."""
        sums = replace(array.accumulators, bits=self.accumulator_bits)
        return replace(array, rows=self.rows, cols=self.cols, accumulators=sums)

    def plain(self) -> "Design":
        """The same with what has no effect left at its default: two that do the same are equal."""
        found = self
        if not (found.important and found.lanes):
            found = replace(found, important=0.0, lanes=0, important_bits=0, spread="network")
        if not (found.sign_extension and found.ordinary_bits + found.important_bits):
            found = replace(found, bare_bits=0)
        return replace(found, lanes=_in_columns(found.lanes, found.rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All designs that are looked at: of every parameter, the values that it may take.

    Args:
        sizes: Rows and columns of the array; none for those of the plan.
        accumulator_bits: Bits of a PE's sum; none for those of the plan.
        sign_extension: Whether signs are extended at the ends of columns.
        bare_bits: How many of the highest bits that sums need are left bare.
        ordinary_bits: The fewest and the most bits that are protected in every PE.
        important: Shares of the array's work that are done again, from 0 up to 1.
        spread: Over what the neurons are chosen.
        important_bits: Bits that are protected in the lanes; more than there are stand for all.
        lanes: Lanes of the dot-product unit, as a design has them.
        shifts: How many shifts requantization may choose from; 0 for factors of any kind.
        activation_range: How far activations reach, as shares of how far they do by default.
        buffers: How buffers are protected.

    Raises:
        PlanError: A parameter without a value, or one out of its range.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    sizes: tuple[tuple[int, int], ...] = ()
    accumulator_bits: tuple[int, ...] = ()
    sign_extension: tuple[bool, ...] = (False, True)
    bare_bits: tuple[int, ...] = (0, 1, 2)
    ordinary_bits: tuple[int, int] = (0, MOST_BITS)
    important: tuple[float, ...] = (0.0, 0.0005, 0.002, 0.005, 0.01, 0.02)
    spread: tuple[Spread, ...] = ("network", "layer")
    important_bits: tuple[int, ...] = (8, MOST_BITS)
    lanes: tuple[int, ...] = (4, 8, 16, 32)
    shifts: tuple[int, ...] = (0,)
    activation_range: tuple[float, ...] = (1.0, 0.7, 0.5)
    buffers: tuple[Buffers, ...] = ("bare",)

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if not values and field.name not in ("sizes", "accumulator_bits"):
                raise PlanError(f"space.{field.name} is empty", hint="give at least one value")
        self._check("important", self.important, 0, 1)
        self._check("ordinary_bits", self.ordinary_bits, 0, MOST_BITS)
        self._check("important_bits", self.important_bits, 0, MOST_BITS)
        self._check("accumulator_bits", self.accumulator_bits, LEAST_BITS, MOST_BITS)
        self._check("bare_bits", self.bare_bits, 0, 8)
        self._check("lanes", self.lanes, 1, 4096)
        self._check("shifts", self.shifts, 0, 16)
        self._check("activation_range", self.activation_range, LEAST_RANGE, 1)
        self._check("sizes", tuple(itertools.chain.from_iterable(self.sizes)), 1, MOST_SIDE)
        if self.ordinary_bits[0] > self.ordinary_bits[1]:
            raise PlanError(
                f"space.ordinary_bits goes from {self.ordinary_bits[0]} to {self.ordinary_bits[1]}",
                hint="give the fewest first, then the most",
            )

    def _check(self, name: str, values: tuple[float, ...], least: float, most: float) -> None:
        for value in values:
            if not (math.isfinite(value) and least <= value <= most):
                raise PlanError(
                    f"space.{name} has {value}", hint=f"give values from {least} to {most}"
                )

    @property
    def quantizations(self) -> list[Quantization]:
        """All ways in which the network is brought to integers."""
        return list(
            itertools.starmap(Quantization, itertools.product(self.shifts, self.activation_range))
        )

    def designs(self, array: Array) -> list[Design]:
        """All designs, each once.

        Args:
            array: The array of the plan.
        """
        return list(dict.fromkeys(self._all(array)))

    def at(self, array: Array, point: list[float]) -> Design:
        """The design at a point of the unit cube, whose axes are the parameters.

        Args:
            array: The array of the plan.
            point: From 0 up to 1 along every parameter.
        """
        values = zip(point, self._values(array), strict=True)
        return _design(*(each[min(int(x * len(each)), len(each) - 1)] for x, each in values))

    def _all(self, array: Array) -> Iterator[Design]:
        for chosen in itertools.product(*self._values(array)):
            yield _design(*chosen)

    def _values(self, array: Array) -> tuple[tuple, ...]:
        widths = self.accumulator_bits or (array.accumulators.bits,)
        most = min(self.ordinary_bits[1], max(widths))
        return (
            self.sizes or ((array.rows, array.cols),),
            widths,
            self.sign_extension,
            self.bare_bits,
            tuple(range(min(self.ordinary_bits[0], most), most + 1)),
            self.important,
            self.spread,
            self.important_bits,
            self.lanes,
            self.shifts,
            self.activation_range,
            self.buffers,
        )


DIMENSIONS = len(fields(Space))


def _in_columns(lanes: int, rows: int) -> int:
    """The next number of lanes that divides a column of the array, or makes whole columns.

    Example:
        >>> [_in_columns(lanes, 12) for lanes in (0, 4, 5, 7, 13)]
        [0, 4, 6, 12, 24]
    """
    if lanes >= rows:
        return -(-lanes // rows) * rows
    return (
        next((each for each in range(lanes, rows) if each and rows % each == 0), rows)
        if lanes
        else 0
    )


def _design(
    size: tuple[int, int],
    accumulator_bits: int,
    sign_extension: bool,
    bare_bits: int,
    ordinary_bits: int,
    important: float,
    spread: Spread,
    important_bits: int,
    lanes: int,
    shifts: int,
    activation_range: float,
    buffers: Buffers,
) -> Design:
    return Design(
        rows=size[0],
        cols=size[1],
        accumulator_bits=accumulator_bits,
        sign_extension=sign_extension,
        bare_bits=bare_bits,
        ordinary_bits=min(ordinary_bits, accumulator_bits),
        important=important,
        spread=spread,
        important_bits=min(important_bits, accumulator_bits),
        lanes=lanes,
        shifts=shifts,
        activation_range=activation_range,
        buffers=buffers,
    ).plain()
