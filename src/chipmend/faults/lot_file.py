"""The lot file: a lot as an uncompressed ``.npz`` with a format version and a checksum.

Nothing in it is ever run (no pickle), the same lot always gives the same bytes, and a file that was
cut or altered is refused. docs/reference/fault-files.md describes every entry.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from chipmend.errors import ChipmendError, LotError
from chipmend.faults.lots import Card, Lot, check_ids
from chipmend.faults.maps import Chip, FaultMap, Provenance
from chipmend.files import written_whole

FORMAT = "chipmend lot"
VERSION = 1
_ENTRIES = ("contents", "packed", "dead_rows", "dead_cols")
_COLUMNS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "lot": (str,),
    "wafer": (str,),
    "x": (int, type(None)),
    "y": (int, type(None)),
    "version": (int,),
    "fatal": (str,),
    "provenance": (int,),
}
_AGAIN = "copy the file again from where it came, or make or import the lot anew"


def write_lot(chips: Sequence[Chip], path: str | Path) -> Path:
    """Write a lot file, whole or not at all.

    Args:
        chips: The lot; a list of chips is packed first.
        path: Where to; an older file is replaced.

    Returns:
        The path.

    Raises:
        LotError: The lot is empty, an id is given twice, or arrays are of several sizes.
        StoreError: The file cannot be written.
    """
    if not len(chips):
        raise LotError(f"a lot of zero chips, not written to {path}", hint="keep at least one chip")
    lot = chips if isinstance(chips, Lot) else Lot.of(chips)
    entries: dict[str, Any] = {
        "contents": _bytes_of(_contents(lot)),
        "packed": np.ascontiguousarray(lot.packed),
        "dead_rows": np.ascontiguousarray(lot.dead_rows, dtype="<i4"),
        "dead_cols": np.ascontiguousarray(lot.dead_cols, dtype="<i4"),
    }
    header = {"format": FORMAT, "version": VERSION, "sha256": _checksum(entries)}
    with written_whole(Path(path)) as stream:
        np.savez(stream, header=_bytes_of(header), **entries)
    return Path(path)


def read_lot(path: str | Path) -> Lot:
    """Read a lot file.

    Args:
        path: The file.

    Returns:
        The lot that was written.

    Raises:
        LotError: The file is missing, no lot file, of a newer version, cut or altered.
    """
    path = Path(path)
    _check_kind(path)
    try:
        return _lot(_checked_entries(path))
    except LotError:
        raise
    except Exception as error:  # a damaged archive makes zipfile, numpy and json raise anything
        raise LotError(
            f"{path} is damaged, cut off or no lot file ({type(error).__name__}: {error})",
            hint=_AGAIN,
        ) from error


def _check_kind(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise LotError(
            f"cannot read the lot {path}: {error.strerror or error}",
            hint="check the path; `chipmend chips make` or `chips import` writes a lot",
        ) from error
    if not start:
        raise LotError(f"{path} is an empty file", hint=_AGAIN)
    if start != b"PK\x03\x04"[: len(start)]:
        raise LotError(
            f"{path} is not a lot file", hint="a CSV of faults is imported by `chips import` first"
        )


def _checked_entries(path: Path) -> dict[str, np.ndarray]:
    # numpy leaves a file open that is no zip: so we open it
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        if "header" not in archive:
            raise LotError(f"{path} is not a lot file: it has no header", hint=_AGAIN)
        if sum(info.file_size for info in archive.zip.infolist()) > path.stat().st_size:
            raise LotError(f"{path} claims more than its own size", hint=_AGAIN)
        header = json.loads(archive["header"].tobytes())
        _check_header(header, path)
        if set(archive.files) != {"header", *_ENTRIES}:
            raise LotError(f"{path} holds other entries than a lot file", hint=_AGAIN)
        entries = {name: archive[name] for name in _ENTRIES}
    if header["sha256"] != _checksum(entries):
        raise LotError(f"{path} was altered: its checksum does not match", hint=_AGAIN)
    return entries


def _check_header(header: Mapping[str, Any], path: Path) -> None:
    if header["format"] != FORMAT:
        raise LotError(f"{path} is not a lot file but {header['format']!r}", hint=_AGAIN)
    if header["version"] > VERSION:
        raise LotError(
            f"{path} has lot format {header['version']}, this chipmend reads up to {VERSION}",
            hint="read it with the chipmend that wrote it, or upgrade",
        )


def _checksum(entries: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(f"{FORMAT} {VERSION}".encode())
    for name in _ENTRIES:
        entry = entries[name]
        digest.update(f"\n{name} {entry.dtype.str} {entry.shape}\n".encode())
        digest.update(np.ascontiguousarray(entry).reshape(-1).data)
    return digest.hexdigest()


def _contents(lot: Lot) -> dict[str, Any]:
    tests = {test: at for at, test in enumerate(dict.fromkeys(c.provenance for c in lot.cards))}
    columns = {name: [getattr(card, name) for card in lot.cards] for name in _COLUMNS}
    columns["provenance"] = [tests[card.provenance] for card in lot.cards]
    return {
        "rows": lot.rows,
        "cols": lot.cols,
        "chips": columns,
        "provenances": [astuple(test) for test in tests],
    }


def _lot(entries: Mapping[str, np.ndarray]) -> Lot:
    contents = json.loads(entries["contents"].tobytes())
    tests = dict(enumerate(Provenance(*fields) for fields in contents["provenances"]))
    chips = {name: _column(contents["chips"][name], kinds) for name, kinds in _COLUMNS.items()}
    cards = tuple(
        Card(**dict(zip(_COLUMNS, fields, strict=False)), provenance=tests[test])
        for *fields, test in zip(*chips.values(), strict=True)
    )
    lot = Lot(
        rows=contents["rows"],
        cols=contents["cols"],
        cards=cards,
        **{name: entries[name] for name in ("packed", "dead_rows", "dead_cols")},
    )
    _check_lot(lot)
    return lot


def _column(values: list[Any], kinds: tuple[type, ...]) -> list[Any]:
    if not all(isinstance(value, kinds) for value in values):
        raise TypeError(f"a column of chips holds something else than {kinds}")
    return values


def _check_lot(lot: Lot) -> None:
    """Refuse what no writer of ours makes, however good its checksum: chips are read lazily."""
    packed = (len(lot), -(-lot.rows * lot.cols // 8))
    sound = (
        len(lot) > 0
        and (lot.packed.shape, lot.packed.dtype) == (packed, np.uint8)
        and _sound_table(lot.dead_rows, (len(lot), lot.rows, lot.cols))
        and _sound_table(lot.dead_cols, (len(lot), lot.cols))
    )
    if not sound:
        raise ValueError("its maps do not fit its own counts of chips, rows and columns")
    try:
        check_ids([card.id for card in lot.cards])
        for card in lot.cards:
            _check_card(card)
    except ChipmendError as error:
        raise ValueError(error.message) from error


def _check_card(card: Card) -> None:
    healthy = np.zeros((1, 1), bool)
    faults = FaultMap(rows=1, cols=1, faulty_pes=healthy, fatal=card.fatal, version=card.version)
    Chip(card.id, faults, card.lot, card.wafer, card.x, card.y)


def _sound_table(table: np.ndarray, ends: tuple[int, ...]) -> bool:
    if table.dtype != np.int32 or table.ndim != 2 or len(table) != len(ends):
        return False
    inside = (table >= 0).all() and (table < np.array(ends)[:, None]).all()
    return bool(inside and (np.diff(table[0]) >= 0).all())


def _bytes_of(value: dict[str, Any]) -> UInt8[np.ndarray, "bytes"]:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return np.frombuffer(text.encode(), dtype=np.uint8)
