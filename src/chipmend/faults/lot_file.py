"""The lot file: a lot as an uncompressed ``.npz`` with a format version and a checksum.

Nothing in it is ever run (no pickle), the same lot always gives the same bytes, and a file that was
cut or altered is refused. Stuck bits stay in the file until a chip is asked for.
docs/reference/fault-files.md describes every entry.
"""

import hashlib
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from chipmend.errors import ChipmendError, LotError
from chipmend.faults.lots import Card, Lot, check_ids
from chipmend.faults.macs import FIELDS, StuckMacs
from chipmend.faults.maps import Chip, FaultMap, Provenance
from chipmend.faults.stuck_of_lot import StuckOfLot
from chipmend.files import written_whole
from chipmend.hardware.mac import SITES
from chipmend.hardware.memory import WeightMemory

FORMAT = "chipmend lot"
VERSION = 3
"""The newest; a lot is written as the oldest version that has entries for its kinds of fault."""
_ENTRIES = ("contents", "packed", "dead_rows", "dead_cols")
_STUCK_ENTRIES = ("stuck_spans", "stuck_digests")
_MAC_ENTRIES = ("macs",)
_LARGE = "stuck"
"""The entry that stays in the file; its checksums are ``stuck_digests``."""
_LOCAL_HEADER = 30
"""Bytes ahead of a zip member's name."""
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
    large: dict[str, Any] = {}
    if lot.stuck is not None:
        stuck = lot.stuck.packed()
        entries |= {"stuck_spans": stuck.spans.astype("<i8"), "stuck_digests": stuck.digests}
        large = {_LARGE: stuck.held}
    version = 2 if large else 1
    if lot.macs.size:
        entries["macs"] = np.ascontiguousarray(lot.macs, dtype="<i4")
        version = 3
    header = {"format": FORMAT, "version": version, "sha256": _checksum(entries, version)}
    with written_whole(Path(path)) as stream:
        np.savez(stream, header=_bytes_of(header), **entries, **large)
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
        small, large = _entries_of(header["version"], _LARGE in archive.files)
        if set(archive.files) != {"header", *small, *large}:
            raise LotError(f"{path} holds other entries than a lot file", hint=_AGAIN)
        entries = {name: archive[name] for name in small}
        mapped = {name: _mapped(path, archive.zip, f"{name}.npy") for name in large}
    if header["sha256"] != _checksum(entries, header["version"]):
        raise LotError(f"{path} was altered: its checksum does not match", hint=_AGAIN)
    return entries | mapped


def _entries_of(version: int, stuck: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Entries that are read, and those that stay in the file."""
    has_stuck = version == 2 or (version > 2 and stuck)
    small = (*_ENTRIES, *(_STUCK_ENTRIES if has_stuck else ()))
    return (*small, *(_MAC_ENTRIES if version > 2 else ())), (_LARGE,) if has_stuck else ()


def _mapped(path: Path, archive: zipfile.ZipFile, member: str) -> UInt8[np.ndarray, " bytes"]:
    """Bytes that stay in the file until they are read."""
    info = archive.getinfo(member)
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        shape, _, kind = np.lib.format.read_array_header_1_0(stream)
        ahead = stream.tell()
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<26x2H", file.read(_LOCAL_HEADER))
    first = info.header_offset + _LOCAL_HEADER + name + extra + ahead
    plain = info.compress_type == zipfile.ZIP_STORED and info.file_size == ahead + shape[0]
    if version != (1, 0) or len(shape) != 1 or kind != np.uint8 or not plain:
        raise LotError(f"{path} holds stuck bits that are no plain bytes", hint=_AGAIN)
    return np.memmap(path, np.uint8, "r", first, shape)


def _check_header(header: Mapping[str, Any], path: Path) -> None:
    if header["format"] != FORMAT:
        raise LotError(f"{path} is not a lot file but {header['format']!r}", hint=_AGAIN)
    if header["version"] > VERSION:
        raise LotError(
            f"{path} has lot format {header['version']}, this chipmend reads up to {VERSION}",
            hint="read it with the chipmend that wrote it, or upgrade",
        )


def _checksum(entries: Mapping[str, np.ndarray], version: int) -> str:
    digest = hashlib.sha256(f"{FORMAT} {version}".encode())
    for name, entry in entries.items():
        digest.update(f"\n{name} {entry.dtype.str} {entry.shape}\n".encode())
        digest.update(np.ascontiguousarray(entry).reshape(-1).data)
    return digest.hexdigest()


def _contents(lot: Lot) -> dict[str, Any]:
    tests = {test: at for at, test in enumerate(dict.fromkeys(c.provenance for c in lot.cards))}
    columns = {name: [getattr(card, name) for card in lot.cards] for name in _COLUMNS}
    columns["provenance"] = [tests[card.provenance] for card in lot.cards]
    contents: dict[str, Any] = {
        "rows": lot.rows,
        "cols": lot.cols,
        "chips": columns,
        "provenances": [astuple(test) for test in tests],
    }
    if lot.stuck is not None:
        contents["memory"] = {"words": lot.stuck.words, "bits": lot.stuck.bits}
    return contents


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
        packed=entries["packed"],
        dead_rows=entries["dead_rows"],
        dead_cols=entries["dead_cols"],
        macs=entries.get("macs", np.empty((1 + FIELDS, 0), np.int32)),
        stuck=_stuck(contents, entries),
    )
    _check_lot(lot)
    return lot


def _stuck(contents: Mapping[str, Any], entries: Mapping[str, np.ndarray]) -> StuckOfLot | None:
    if _LARGE not in entries:
        return None
    return StuckOfLot(
        words=contents["memory"]["words"],
        bits=contents["memory"]["bits"],
        held=entries[_LARGE],
        spans=entries["stuck_spans"],
        digests=entries["stuck_digests"],
    )


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
        and _sound_table(lot.macs, (len(lot), lot.rows, lot.cols, len(SITES), 2**31 - 1, 2))
        and (lot.stuck is None or _sound_stuck(lot.stuck, len(lot)))
    )
    if not sound:
        raise ValueError("its maps do not fit its own counts of chips, rows and columns")
    try:
        check_ids([card.id for card in lot.cards])
        for card in lot.cards:
            _check_card(card)
        for chip in np.unique(lot.macs[0]):
            StuckMacs(lot.macs[1:, lot.macs[0] == chip].T)
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


def _sound_stuck(stuck: StuckOfLot, chips: int) -> bool:
    WeightMemory(words=stuck.words, bits=stuck.bits)
    kinds = (stuck.spans.dtype, stuck.digests.dtype) == (np.int64, np.uint8)
    if not kinds or (stuck.spans.shape, stuck.digests.shape) != ((chips, 2), (chips, 32)):
        return False
    first, end = stuck.spans.T
    return bool((first >= 0).all() and (first <= end).all() and (end <= len(stuck.held)).all())


def _bytes_of(value: dict[str, Any]) -> UInt8[np.ndarray, "bytes"]:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return np.frombuffer(text.encode(), dtype=np.uint8)
