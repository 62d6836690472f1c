"""Faults as CSV: one line per fault, for testers and spreadsheets.

Every chip has at least one line, a healthy one the class ``none``. Nothing is guessed: what cannot
be read is reported with its line, all problems at once. docs/reference/fault-files.md has the table
of columns and classes.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from chipmend.errors import ChipmendError, LotError
from chipmend.faults.lots import Lot
from chipmend.faults.maps import Chip, FaultMap
from chipmend.faults.readers.csv_rows import (
    CHIP_COLUMNS,
    COLUMNS,
    ChipRows,
    Problems,
    Row,
    check_header,
    row_of,
)
from chipmend.files import written_whole
from chipmend.hardware.array import Array


def read_csv(path: str | Path, array: Array | tuple[int, int]) -> Lot:
    """Read the faults of a lot.

    Args:
        path: The CSV, in UTF-8.
        array: The array that was tested, or its ``(rows, cols)``; where bits of its weight memory
            are stuck, the memory has to state its words.

    Returns:
        The chips in the order of their first lines.

    Raises:
        LotError: The file cannot be read or has mistakes; names up to 20 of them by line.
        ArrayError: The array has no PE.
    """
    path = Path(path)
    if not isinstance(array, Array):
        array = Array(rows=array[0], cols=array[1])
    problems = Problems(path)
    drafts, states_source = _drafts(_text(path), array, problems)
    problems.check()
    if not drafts:
        raise LotError(
            f"{path} has no chips below its header",
            hint="give every chip a line; a chip without faults has class none",
        )
    source = "" if states_source else "".join(filter(str.isprintable, path.name)).strip()
    return Lot.of(_chips(drafts, source, path))


def write_csv(lot: Lot, path: str | Path) -> Path:
    """Write the faults of a lot, whole or not at all; ``read_csv`` gives the same lot back.

    Args:
        lot: The lot.
        path: Where to; an older file is replaced.

    Returns:
        The path.

    Raises:
        StoreError: The file cannot be written.
    """
    with written_whole(Path(path)) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*COLUMNS, *CHIP_COLUMNS])
        for chip in lot:
            said_once = _chip_cells(chip)
            for cells in _fault_cells(chip.faults):
                writer.writerow([chip.id, *cells, *said_once])
                said_once = [""] * len(CHIP_COLUMNS)
        text.detach()
    return Path(path)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LotError(
            f"cannot read the faults in {path}: {error.strerror or error}", hint="check the path"
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LotError(
            f"{path}, line {line}: not UTF-8", hint="save the file as CSV in UTF-8"
        ) from error


def _drafts(text: str, array: Array, problems: Problems) -> tuple[dict[str, ChipRows], bool]:
    """Gather the lines of every chip, and tell whether the file states the source of its maps."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    chips: dict[str, ChipRows] = {}
    header: list[str] = []
    try:
        header = check_header(next(reader, []), problems.path)
        for cells in reader:
            row = row_of(header, cells, reader.line_num, problems)
            if row is not None:
                _add(row, chips, array, problems)
            if problems.full:
                break
        if not text.endswith(("\n", "\r")):
            problems.add(
                reader.line_num,
                "the file breaks off in this line (if it is whole, end it with a line break)",
            )
    except csv.Error as error:
        problems.add(reader.line_num, f"cannot be read as CSV ({error})")
    for chip in chips.values():
        chip.check()
    return chips, "source" in header


def _add(row: Row, chips: dict[str, ChipRows], array: Array, problems: Problems) -> None:
    id_ = row.cells.get("chip")
    if id_ is None:
        problems.add(row.line, "no chip is named")
        return
    if id_ not in chips:
        chips[id_] = ChipRows(row.line, array, problems)
    chips[id_].add(row)


def _chips(drafts: dict[str, ChipRows], source: str, path: Path) -> Iterator[Chip]:
    for id_, draft in drafts.items():
        try:
            yield draft.chip(id_, source)
        except ChipmendError as error:
            raise LotError(
                f"{path}, line {draft.line}: {error.message}", hint=error.hint
            ) from error


def _fault_cells(faults: FaultMap) -> Iterator[list[object]]:
    """Give class, row, col, word, bit and value of every fault."""
    if faults.fatal:
        yield ["fatal", "", "", "", "", faults.fatal]
    for row, from_col in faults.dead_rows:
        yield ["dead_row", row, from_col, "", "", ""]
    for col in faults.dead_cols:
        yield ["dead_col", "", col, "", "", ""]
    pes = np.argwhere(faults.faulty_pes).tolist()
    for row, col in pes:
        yield ["pe", row, col, "", "", ""]
    for word, bit, value in [] if faults.stuck is None else faults.stuck.listed():
        yield ["stuck_bit", "", "", word, bit, value]
    for row, col, site, bit, value in [] if faults.macs is None else faults.macs.listed():
        yield [f"{site}_bit", row, col, "", bit, value]
    spoiled = (faults.fatal, faults.dead_rows, faults.dead_cols, pes, faults.stuck, faults.macs)
    if not any(spoiled):
        yield ["none", "", "", "", "", ""]


def _chip_cells(chip: Chip) -> list[object]:
    test = chip.faults.provenance
    cells = [chip.lot, chip.wafer, chip.x, chip.y, chip.faults.version]
    cells += [test.source, test.tester, test.date, test.tester_seconds]
    return ["" if cell is None else cell for cell in cells]
