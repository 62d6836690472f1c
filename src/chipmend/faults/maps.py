"""Fault maps and chips: what is broken on one die, and how we know.

A fault map keeps the classes of faults apart, since they are repaired and binned differently; the
PEs that must not be used are the union of those that hit PEs.

References:
    [Zhang2018] Zhang, Gu, Basu, Garg, "Analyzing and mitigating the impact of permanent faults on
        a systolic array based neural network accelerator", VTS 2018.
    [Hanif2023] Hanif, Shafique, "eFAT: improving the effectiveness of fault-aware training for
        mitigating permanent faults in DNN hardware accelerators", arXiv 2304.12949 (fused maps).
"""

import hashlib
import json
import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool

from chipmend.errors import ChipmendError, FaultMapError, LotError
from chipmend.faults.macs import StuckMacs, check_inside
from chipmend.faults.stuck import StuckBits
from chipmend.hardware.array import Array, check_is_array
from chipmend.hardware.memory import WeightMemory


@dataclass(frozen=True, slots=True)
class Provenance:
    """The test that a fault map came from.

    Args:
        source: Name of the test, the file or the generator.
        tester: The machine that ran it.
        date: When it ran.
        tester_seconds: Time on the tester.

    Raises:
        FaultMapError: A text that does not fit on one line, or a time that is none.
    """

    source: str
    tester: str = ""
    date: str = ""
    tester_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("source", "tester", "date"):
            _check_text(FaultMapError, name, getattr(self, name))
        seconds = self.tester_seconds
        if seconds is None:
            return
        if not (isinstance(seconds, float | int) and 0 <= seconds < math.inf):
            raise FaultMapError(
                f"tester_seconds is {seconds}", hint="give seconds, 0 or more, or leave them out"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaultMap:
    """What is broken on one die, class by class.

    Args:
        rows: PEs down.
        cols: PEs across.
        faulty_pes: ``rows x cols``, true where a PE is faulty and bypassed.
        dead_rows: ``(row, from_col)``: activation forwarding of the row is broken at ``from_col``,
            so every PE of the row from there on is unusable.
        dead_cols: Columns whose partial-sum chain is broken: none of their PEs is usable.
        stuck: Stuck bits of the weight memory; none if it was found healthy, or not tested.
        macs: Stuck bits in the datapaths of PEs; none if there are none. Those of a PE that is
            faulty or on a dead line as well are bypassed with it, the others are live.
        fatal: Why the die cannot be repaired at all; empty if it can.
        version: Number of the test result, counted from 1.
        provenance: The test that the map came from.

    Raises:
        FaultMapError: The faults do not lie on the array, or the version is below 1.

    Example:
        >>> faulty = np.array([[False, True], [False, False]])
        >>> FaultMap(rows=2, cols=2, faulty_pes=faulty, dead_rows=((1, 1),)).unusable.tolist()
        [[False, True], [False, True]]
    """

    rows: int
    cols: int
    faulty_pes: Bool[np.ndarray, "rows cols"]
    dead_rows: tuple[tuple[int, int], ...] = ()
    dead_cols: tuple[int, ...] = ()
    stuck: StuckBits | None = None
    macs: StuckMacs | None = None
    fatal: str = ""
    version: int = 1
    provenance: Provenance = field(default_factory=lambda: Provenance("not stated"))

    def __post_init__(self) -> None:
        for name in ("rows", "cols", "version"):
            object.__setattr__(self, name, _whole(FaultMapError, name, getattr(self, name)))
        object.__setattr__(self, "dead_rows", _first_breaks(self.dead_rows))
        object.__setattr__(self, "dead_cols", _columns(self.dead_cols))
        _check_pes(self)
        _check_lines(self)
        if not isinstance(self.stuck, StuckBits | None):
            raise FaultMapError(f"stuck is {self.stuck!r}", hint="give StuckBits, or leave it out")
        if self.stuck is not None and not self.stuck.count:
            object.__setattr__(self, "stuck", None)
        if not isinstance(self.macs, StuckMacs | None):
            raise FaultMapError(f"macs is {self.macs!r}", hint="give StuckMacs, or leave it out")
        if self.macs is not None:
            check_inside(self.macs, self.rows, self.cols)
            if not len(self.macs):
                object.__setattr__(self, "macs", None)
        _check_text(FaultMapError, "the reason for fatal", self.fatal)
        if self.version < 1:
            raise FaultMapError(
                f"fault map version {self.version}", hint="count the tests of a chip from 1"
            )
        faulty = np.array(self.faulty_pes)
        faulty.flags.writeable = False
        object.__setattr__(self, "faulty_pes", faulty)

    @classmethod
    def of_pes(cls, faulty_pes: Bool[np.ndarray, "rows cols"], **more: Any) -> "FaultMap":
        """A map of faulty PEs, of an array that is as large as what is given.

        Args:
            faulty_pes: True where a PE is faulty.
            **more: What else is broken, as the class takes it.
        """
        rows, cols = faulty_pes.shape
        return cls(rows=rows, cols=cols, faulty_pes=faulty_pes, **more)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FaultMap):
            return NotImplemented
        ours, theirs = ((m.digest(), m.version, m.provenance) for m in (self, other))
        return ours == theirs

    def __hash__(self) -> int:
        return hash(self.digest())

    @property
    def unusable(self) -> Bool[np.ndarray, "rows cols"]:
        """``rows x cols``: PEs that must not be used, whatever the class of the fault."""
        unusable = self.faulty_pes.copy()
        for row, from_col in self.dead_rows:
            unusable[row, from_col:] = True
        unusable[:, list(self.dead_cols)] = True
        return unusable

    @property
    def live(self) -> StuckMacs | None:
        """Stuck bits in datapaths that nothing bypasses; none if there are none."""
        kept = None if self.macs is None else self.macs.where(~self.unusable)
        return kept if kept else None

    @property
    def needs_codes(self) -> bool:
        """Whether something is broken that only networks of whole numbers meet."""
        return self.stuck is not None or self.live is not None

    @property
    def rate(self) -> float:
        """Share of the PEs that are unusable (base: per PE)."""
        return int(np.count_nonzero(self.unusable)) / (self.rows * self.cols)

    def digest(self) -> str:
        """Hex digest of the faults and their classes; version and provenance do not count."""
        classes = json.dumps([self.rows, self.cols, self.dead_rows, self.dead_cols, self.fatal])
        pes = np.packbits(self.faulty_pes).tobytes()
        parts = [part.digest().encode() for part in (self.stuck, self.macs) if part is not None]
        if self.macs is not None:
            parts.append(b"macs")  # told apart from stuck bits of the memory alone
        return hashlib.sha256(classes.encode() + b"\0" + pes + b"".join(parts)).hexdigest()


@dataclass(frozen=True, slots=True)
class Chip:
    """A die with an identity and its fault map.

    Args:
        id: Name of the chip, unique in its lot.
        faults: What is broken.
        lot: The production lot.
        wafer: The wafer.
        x: Column of the die on the wafer.
        y: Row of the die on the wafer.

    Raises:
        LotError: No id, or a text that does not fit on one line.
    """

    id: str
    faults: FaultMap
    lot: str = ""
    wafer: str = ""
    x: int | None = None
    y: int | None = None

    def __post_init__(self) -> None:
        if self.id == "":
            raise LotError("a chip has no id", hint="give every chip an id of its own")
        for name in ("id", "lot", "wafer"):
            _check_text(LotError, f"chip {name}", getattr(self, name))
        for name in ("x", "y"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole(LotError, name, getattr(self, name)))


class Lain(Protocol):
    """What is told of where a die lay, as of a chip."""

    @property
    def lot(self) -> str:
        """The production lot."""
        ...

    @property
    def wafer(self) -> str:
        """The wafer."""
        ...

    @property
    def x(self) -> int | None:
        """Column of the die on the wafer."""
        ...

    @property
    def y(self) -> int | None:
        """Row of the die on the wafer."""
        ...


def told_apart(one: Lain, other: Lain) -> bool:
    """Whether two dies lay in different places, as far as that is told of both.

    Example:
        >>> healthy = FaultMap.of_pes(np.zeros((2, 2), bool))
        >>> here, there = (Chip("a", healthy, wafer="1", x=x) for x in (0, 1))
        >>> told_apart(here, there), told_apart(here, Chip("a", healthy))
        (True, False)
    """
    return any(a != b for a, b in _places(one, other) if not _UNTOLD.intersection((a, b)))


def told_alike(one: Lain, other: Lain) -> bool:
    """Whether two dies lay in one place, all of it told of both."""
    return all(a == b and a not in _UNTOLD for a, b in _places(one, other))


_UNTOLD = frozenset(("", None))


def _places(one: Lain, other: Lain) -> Iterator[tuple[Any, Any]]:
    return zip(
        (one.lot, one.wafer, one.x, one.y), (other.lot, other.wafer, other.x, other.y), strict=True
    )


def fused(*maps: FaultMap) -> FaultMap:
    """Unite the faults of several chips, so that what avoids them all runs on every one of them.

    Args:
        *maps: Fault maps of arrays of one size.

    Returns:
        A map in which everything is broken that is broken in any of them.

    Raises:
        FaultMapError: No map, maps of several sizes, or several with stuck bits among them, which
            each chip's codes have to be chosen for.

    Example:
        >>> a = FaultMap(rows=1, cols=2, faulty_pes=np.array([[True, False]]))
        >>> b = FaultMap(rows=1, cols=2, faulty_pes=np.array([[False, False]]), dead_cols=(1,))
        >>> fused(a, b).unusable.tolist()
        [[True, True]]
    """
    sizes = sorted({(m.rows, m.cols) for m in maps})
    if len(sizes) != 1:
        found = ", ".join(f"{rows} x {cols}" for rows, cols in sizes) or "none"
        raise FaultMapError(
            f"fault maps of one size are needed, found {found}", hint="fuse chips of one array"
        )
    if len(maps) > 1 and any(m.stuck is not None or m.live is not None for m in maps):
        raise FaultMapError(
            "maps with stuck bits of the weight memory, or of datapaths that are not bypassed, "
            "cannot be fused",
            hint="repair each of these chips on its own",
        )
    return FaultMap(
        rows=sizes[0][0],
        cols=sizes[0][1],
        faulty_pes=np.logical_or.reduce([m.faulty_pes for m in maps]),
        dead_rows=tuple(line for m in maps for line in m.dead_rows),
        dead_cols=tuple(col for m in maps for col in m.dead_cols),
        stuck=next((m.stuck for m in maps), None),
        macs=maps[0].macs if len(maps) == 1 else None,
        fatal="; ".join(dict.fromkeys(m.fatal for m in maps if m.fatal)),
        provenance=Provenance(f"fused from {len(maps)} maps"),
    )


def check_fits(chips: Iterable[Chip], array: Array) -> None:
    """Refuse chips whose fault maps are for an array or a weight memory of another size.

    Args:
        chips: The chips.
        array: The array that a network shall be repaired for.

    Raises:
        ArrayError: The array is none.
        LotError: Something among the chips is none.
        FaultMapError: Names the first chip that does not fit.
    """
    check_is_array(array)
    for chip in chips:
        if not isinstance(chip, Chip):
            raise LotError(
                f"{chip!r} is no chip", hint="give chips, as read_chips or make_chips gives them"
            )
        check_map_fits(chip.faults, array, f"chip {chip.id}")


def check_map_fits(faults: FaultMap, array: Array, whose: str) -> None:
    """Refuse a fault map for an array or a weight memory of another size.

    Args:
        faults: The map.
        array: The array.
        whose: Whose map it is, for the error.

    Raises:
        FaultMapError: Says what does not fit.
    """
    if (faults.rows, faults.cols) != (array.rows, array.cols):
        raise FaultMapError(
            f"the fault map of {whose} is for an array of {faults.rows} x {faults.cols}, the "
            f"plan's array is {array.rows} x {array.cols}",
            hint="give the array that the chips were tested with, or other chips",
        )
    _check_memory(faults, array.memory, whose)
    if faults.macs is not None:
        faults.macs.check_fits(array, whose)


def check_needs_no_codes(chips: Iterable[Chip]) -> None:
    """Refuse chips with faults that nothing is done about where weights are not codes.

    Raises:
        FaultMapError: Names the first of them.
    """
    for chip in chips:
        faults = chip.faults
        if faults.needs_codes:
            raise FaultMapError(
                f"{_stuck_in_words(faults)} of chip {chip.id} are stuck, and no step chooses codes",
                hint="put quantize into the recipe",
            )


def _stuck_in_words(faults: FaultMap) -> str:
    if faults.stuck is not None:
        return f"{faults.stuck.count:,} bits of the weight memory"
    return f"{len(faults.live or ()):,} bits of datapaths that nothing bypasses"


def _check_memory(faults: FaultMap, memory: WeightMemory, whose: str) -> None:
    stuck = faults.stuck
    if stuck is None:
        return
    if stuck.bits != memory.bits or stuck.words != (memory.words or stuck.words):
        words = "any number" if memory.words is None else f"{memory.words:,}"
        raise FaultMapError(
            f"the fault map of {whose} is for a weight memory of {stuck.words:,} words of "
            f"{stuck.bits} bits, the plan's has {words} of {memory.bits}",
            hint="give the memory that the chips were tested with, or other chips",
        )


def _check_pes(faults: FaultMap) -> None:
    shape, pes = (faults.rows, faults.cols), faults.faulty_pes
    if not isinstance(pes, np.ndarray):
        raise FaultMapError(
            f"faulty_pes is a {type(pes).__name__}", hint="give a NumPy array of bools"
        )
    if min(shape) < 1 or pes.shape != shape or pes.dtype != bool:
        raise FaultMapError(
            f"faulty_pes has shape {pes.shape} and type {pes.dtype}, for an array of "
            f"{shape[0]} x {shape[1]}",
            hint="give a bool per PE; check the row and column counts in the test data",
        )


def _check_lines(faults: FaultMap) -> None:
    rows = [row for row, _ in faults.dead_rows if not 0 <= row < faults.rows]
    cols = [col for _, col in faults.dead_rows if not 0 <= col < faults.cols]
    cols += [col for col in faults.dead_cols if not 0 <= col < faults.cols]
    if rows or cols:
        raise FaultMapError(
            f"rows {rows} and columns {cols} lie outside the array of "
            f"{faults.rows} x {faults.cols}",
            hint="rows and columns count from 0",
        )


def _first_breaks(dead_rows: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    first: dict[int, int] = {}
    try:
        pairs = [(operator.index(row), operator.index(col)) for row, col in dead_rows]
    except (TypeError, ValueError) as error:
        raise FaultMapError(
            f"dead_rows is {dead_rows!r}", hint="give a pair (row, from_col) of whole numbers each"
        ) from error
    for row, from_col in pairs:
        first[row] = min(from_col, first.get(row, from_col))
    return tuple(sorted(first.items()))


def _columns(dead_cols: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({_whole(FaultMapError, "a dead column", col) for col in dead_cols}))


def _whole(kind: type[ChipmendError], what: str, number: object) -> int:
    """A whole number of Python's own, also where numpy or pandas made it."""
    try:
        return operator.index(number)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise kind(f"{what} is {number!r}", hint="give a whole number") from None


def _check_text(kind: type[ChipmendError], what: str, text: str) -> None:
    if not isinstance(text, str) or text != text.strip() or not text.isprintable():
        raise kind(
            f"{what} is {text!r}", hint="use one line of visible characters, no blanks at its ends"
        )
