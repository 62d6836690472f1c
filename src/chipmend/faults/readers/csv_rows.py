"""The lines of a CSV of faults: what each must say, and what they add up to for one chip."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chipmend.errors import LotError
from chipmend.faults.macs import StuckMacs
from chipmend.faults.maps import Chip, FaultMap, Provenance
from chipmend.faults.stuck import StuckBits
from chipmend.hardware.array import Array
from chipmend.hardware.mac import SITES, Site
from chipmend.hardware.memory import WeightMemory

COLUMNS = ("chip", "class", "row", "col", "word", "bit", "value")
"""Columns that every file has."""
CHIP_COLUMNS = (
    *("lot", "wafer", "x", "y", "version"),
    *("source", "tester", "date", "tester_seconds"),
)
"""Columns that a file may have: about the chip, said on one of its lines or on several alike."""
NEEDED = {
    "pe": ("row", "col"),
    "dead_row": ("row",),
    "dead_col": ("col",),
    "stuck_bit": ("word", "bit", "value"),
    **{f"{site}_bit": ("row", "col", "bit", "value") for site in SITES},
    "fatal": ("value",),
}
"""Columns that a line of each class fills; ``none`` fills no column."""
ALLOWED = {**NEEDED, "dead_row": ("row", "col"), "none": ()}
"""Columns that a line of each class may fill."""
MOST_PROBLEMS = 20
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Row:
    """A line with as many fields as the header.

    Args:
        line: Its number in the file.
        cells: Text of every column that is filled, without blanks around it.
    """

    line: int
    cells: Mapping[str, str]


class Problems:
    """What is wrong with a file, line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: list[str] = []

    @property
    def full(self) -> bool:
        """Whether there are enough problems to stop reading."""
        return len(self._found) >= MOST_PROBLEMS

    def add(self, line: int, what: str) -> None:
        """Note a problem, unless there are enough."""
        if not self.full:
            self._found.append(f"  line {line}: {what}")

    def check(self) -> None:
        """Raise everything that was found, as one ``LotError``."""
        if self._found:
            more = ["  (only the first problems are shown)"] if self.full else []
            raise LotError(
                "\n".join([f"{self.path} cannot be read:", *self._found, *more]),
                hint="correct these lines; docs/reference/fault-files.md describes the columns",
            )


def check_header(cells: Sequence[str], path: Path) -> list[str]:
    """Give the names of the columns, or say which are missing, unknown or there twice."""
    names = [cell.strip() for cell in cells]
    if not any(names):
        raise LotError(f"{path} is empty", hint=f"start with the line {','.join(COLUMNS)}")
    if len(names) == 1 and re.search("[;\\t]", names[0]):
        raise LotError(
            f"{path} has no commas in its first line",
            hint=f"separate columns by commas: {','.join(COLUMNS)}",
        )
    missing = [name for name in COLUMNS if name not in names]
    unknown = [name for name in names if name not in (*COLUMNS, *CHIP_COLUMNS)]
    twice = sorted({name for name in names if names.count(name) > 1})
    faults = [
        f"{what}: {', '.join(map(repr, found))}"
        for what, found in (("missing", missing), ("unknown", unknown), ("twice", twice))
        if found
    ]
    if faults:
        raise LotError(
            f"{path}, line 1: columns {'; '.join(faults)}",
            hint=f"columns are {', '.join(COLUMNS)}, which may be empty, "
            f"and, if wanted, {', '.join(CHIP_COLUMNS)}",
        )
    return names


def row_of(header: list[str], cells: list[str], line: int, problems: Problems) -> Row | None:
    """Read one line; an empty line gives nothing, and so does one with a wrong number of fields."""
    if not cells:
        return None
    if len(cells) != len(header):
        problems.add(line, f"has {len(cells)} fields, the header has {len(header)}")
        return None
    return Row(
        line, {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    )


class ChipRows:
    """What the lines of one chip say together.

    Args:
        line: The chip's first line.
        array: The array, and the memory that stuck bits are of.
        problems: Where to note what is wrong.
    """

    def __init__(self, line: int, array: Array, problems: Problems) -> None:
        self.line, self._array, self._problems = line, array, problems
        self._pes: list[tuple[int, int]] = []
        self._dead_rows: list[tuple[int, int]] = []
        self._dead_cols: list[int] = []
        self._stuck: dict[tuple[int, int], tuple[bool, int]] = {}
        self._macs: dict[tuple[int, int, Site, int], tuple[int, int]] = {}
        self._reasons: dict[str, int] = {}
        self._healthy = False
        self._said: dict[str, tuple[int, str]] = {}

    def add(self, row: Row) -> None:
        """Take in one more line."""
        for name in CHIP_COLUMNS:
            if name in row.cells:
                self._say(name, row.cells[name], row.line)
        kind = row.cells.get("class", "")
        if kind not in ALLOWED:
            self._problems.add(row.line, _unknown(kind))
        elif self._filled(kind, row):
            self._take(kind, row)

    def check(self) -> None:
        """Note what no single line gets wrong: contradictions, and what is said about the chip."""
        faults = (
            *(self._pes, self._dead_rows, self._dead_cols),
            *(self._stuck, self._macs, self._reasons),
        )
        if self._healthy and any(faults):
            self._problems.add(self.line, "the chip has class none and faults as well")
        if len(self._reasons) > 1:
            lines = " and ".join(map(str, self._reasons.values()))
            self._problems.add(self.line, f"the chip is fatal for different reasons, lines {lines}")
        for name in ("x", "y", "version"):
            if name in self._said:
                line, text = self._said[name]
                if self._integer(name, text, line) is not None and name == "version":
                    self._check_version(line, int(text))
        if "tester_seconds" in self._said:
            self._check_seconds(*self._said["tester_seconds"])

    def chip(self, id_: str, source: str) -> Chip:
        """Make the chip, once nothing is wrong; ``source`` is for a file without that column."""
        faulty = np.zeros((self._array.rows, self._array.cols), dtype=bool)
        rows, cols = zip(*self._pes, strict=True) if self._pes else ((), ())
        faulty[list(rows), list(cols)] = True
        said = {name: text for name, (_, text) in self._said.items()}
        seconds = said.get("tester_seconds")
        test = Provenance(
            said.get("source", source),
            said.get("tester", ""),
            said.get("date", ""),
            None if seconds is None else float(seconds),
        )
        faults = FaultMap(
            rows=self._array.rows,
            cols=self._array.cols,
            faulty_pes=faulty,
            dead_rows=tuple(self._dead_rows),
            dead_cols=tuple(self._dead_cols),
            stuck=self._stuck_bits(),
            macs=StuckMacs.of((*at, value) for at, (value, _) in self._macs.items()),
            fatal=next(iter(self._reasons), ""),
            version=int(said.get("version", 1)),
            provenance=test,
        )
        x, y = (int(said[name]) if name in said else None for name in ("x", "y"))
        return Chip(id_, faults, said.get("lot", ""), said.get("wafer", ""), x, y)

    def _say(self, name: str, text: str, line: int) -> None:
        before, said = self._said.setdefault(name, (line, text))
        if text != said:
            self._problems.add(line, f"{name} is {text!r}, on line {before} it is {said!r}")

    def _filled(self, kind: str, row: Row) -> bool:
        missing = [name for name in NEEDED.get(kind, ()) if name not in row.cells]
        excess = [n for n in COLUMNS[2:] if n in row.cells and n not in ALLOWED[kind]]
        if missing:
            self._problems.add(row.line, f"class {kind} needs {' and '.join(missing)}")
        if excess:
            self._problems.add(row.line, f"class {kind} has no {' and no '.join(excess)}")
        return not (missing or excess)

    def _take(self, kind: str, row: Row) -> None:
        if kind == "stuck_bit":
            self._take_bit(row)
            return
        at_row, at_col = self._place(row, "row", 0), self._place(row, "col", 1)
        if at_row is None or at_col is None:
            return
        for site in SITES:
            if kind == f"{site}_bit":
                self._take_bit_of_mac(row, at_row, at_col, site)
                return
        match kind:
            case "pe":
                self._pes.append((at_row, at_col))
            case "dead_row":
                self._dead_rows.append((at_row, at_col))
            case "dead_col":
                self._dead_cols.append(at_col)
            case "fatal":
                self._reasons.setdefault(row.cells["value"], row.line)
            case _:
                self._healthy = True

    def _take_bit(self, row: Row) -> None:
        word, bit, value = (
            self._integer(name, row.cells[name], row.line) for name in ("word", "bit", "value")
        )
        if word is None or bit is None or value is None:
            return
        if self._array.memory.words is None:
            raise LotError(
                f"{self._problems.path}, line {row.line}: a stuck bit of a weight memory whose "
                "size is not stated",
                hint="give its words, with --words or WeightMemory(words=65536)",
            )
        if wrong := _not_in_memory(word, bit, value, self._array.memory):
            self._problems.add(row.line, wrong)
            return
        said, line = self._stuck.setdefault((word, bit), (bool(value), row.line))
        if said != bool(value):
            self._problems.add(
                row.line,
                f"bit {bit} of word {word} is stuck at {value}, on line {line} at {said:d}",
            )

    def _take_bit_of_mac(self, row: Row, at_row: int, at_col: int, site: Site) -> None:
        bit, value = (self._integer(name, row.cells[name], row.line) for name in ("bit", "value"))
        if bit is None or value is None:
            return
        width = self._array.bits_at(site)
        if not 0 <= bit < width:
            what = f"bit {bit} lies outside the {site}, which has {width} bits (counted from 0)"
            self._problems.add(row.line, what)
            return
        if value not in (0, 1):
            self._problems.add(row.line, f"value is {value}; a bit is stuck at 0 or 1")
            return
        said, line = self._macs.setdefault((at_row, at_col, site, bit), (value, row.line))
        if said != value:
            self._problems.add(
                row.line,
                f"bit {bit} of the {site} of PE ({at_row}, {at_col}) is stuck at {value}, on line "
                f"{line} at {said}",
            )

    def _stuck_bits(self) -> StuckBits | None:
        if not self._stuck:
            return None
        memory = self._array.memory
        assert memory.words is not None
        word, bit = np.array(list(self._stuck)).T
        value = np.array([value for value, _ in self._stuck.values()])
        return StuckBits.of_bits(memory.words, memory.bits, word, bit, value)

    def _place(self, row: Row, name: str, axis: int) -> int | None:
        """Give a row or column within the array; 0 where the line has none."""
        rows, cols = self._array.rows, self._array.cols
        place = self._integer(name, row.cells.get(name, "0"), row.line)
        if place is None or 0 <= place < (rows, cols)[axis]:
            return place
        self._problems.add(
            row.line, f"{name} {place} lies outside the array of {rows} x {cols} (counted from 0)"
        )
        return None

    def _integer(self, name: str, text: str, line: int) -> int | None:
        if _INTEGER.fullmatch(text):
            return int(text)
        self._problems.add(line, f"{name} is {text!r}, not a whole number")
        return None

    def _check_version(self, line: int, version: int) -> None:
        if version < 1:
            self._problems.add(line, f"version {version}; tests of a chip count from 1")

    def _check_seconds(self, line: int, text: str) -> None:
        try:
            fine = 0 <= float(text) < math.inf
        except ValueError:
            fine = False
        if not fine:
            self._problems.add(line, f"tester_seconds is {text!r}, not a number of seconds")


def _not_in_memory(word: int, bit: int, value: int, memory: WeightMemory) -> str:
    """What is wrong with a stuck bit; nothing, if it lies in the memory."""
    assert memory.words is not None
    if not 0 <= word < memory.words:
        return f"word {word} lies outside the memory of {memory.words:,} words (counted from 0)"
    if not 0 <= bit < memory.bits:
        return f"bit {bit} lies outside a word of {memory.bits} bits (counted from 0)"
    return "" if value in (0, 1) else f"value is {value}; a bit is stuck at 0 or 1"


def _unknown(kind: str) -> str:
    known = f"this reader knows {', '.join((*NEEDED, 'none'))}"
    close = difflib.get_close_matches(kind.lower(), ALLOWED, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown class {kind!r}{meant}; {known}"
