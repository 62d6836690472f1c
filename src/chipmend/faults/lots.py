"""A lot: many chips of one array, kept small.

The maps of faulty PEs are kept as bits, dead lines in tables with one entry each, so that 10,000
chips of 256 x 256 PEs take 80 MB; stuck bits of the weight memory as bytes, perhaps of a file. A
chip is unpacked when it is asked for.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8

from chipmend.errors import LotError
from chipmend.faults.macs import FIELDS, StuckMacs
from chipmend.faults.maps import Chip, FaultMap, Provenance
from chipmend.faults.stuck_of_lot import StuckDraft, StuckOfLot


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a lot keeps of a chip beside its faults: see ``Chip`` and ``FaultMap``.

    Args:
        id: Name of the chip.
        lot: The production lot.
        wafer: The wafer.
        x: Column of the die on the wafer.
        y: Row of the die on the wafer.
        version: Version of the fault map.
        fatal: Why the die cannot be repaired.
        provenance: The test that the map came from.
    """

    id: str
    lot: str
    wafer: str
    x: int | None
    y: int | None
    version: int
    fatal: str
    provenance: Provenance

    @classmethod
    def of(cls, chip: Chip) -> "Card":
        """Note down a chip."""
        return cls(
            id=chip.id,
            lot=chip.lot,
            wafer=chip.wafer,
            x=chip.x,
            y=chip.y,
            version=chip.faults.version,
            fatal=chip.faults.fatal,
            provenance=chip.faults.provenance,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Lot(Sequence[Chip]):
    """Chips of one array size; ``Lot.of`` makes one.

    Args:
        rows: PEs down.
        cols: PEs across.
        cards: Everything about the chips but their faults.
        packed: ``chips x bytes``, the faulty PEs of each chip in row-major order, the first PE in
            the highest bit.
        dead_rows: Per entry the number of the chip (ascending), the row, its first dead column.
        dead_cols: Per entry the number of the chip (ascending), the column.
        macs: Per entry the number of the chip (ascending), and a stuck bit of a datapath as
            ``StuckMacs`` has it.
        stuck: Stuck bits of the weight memories; none if no chip has any.

    Example:
        >>> healthy = FaultMap(rows=2, cols=2, faulty_pes=np.zeros((2, 2), dtype=bool))
        >>> lot = Lot.of([Chip("a", healthy), Chip("b", healthy)])
        >>> lot
        Lot(2 chips of 2 x 2 PEs)
        >>> [chip.id for chip in lot[1:]]
        ['b']
    """

    rows: int
    cols: int
    cards: tuple[Card, ...]
    packed: UInt8[np.ndarray, "chips bytes"]
    dead_rows: Int32[np.ndarray, "3 entries"]
    dead_cols: Int32[np.ndarray, "2 entries"]
    macs: Int32[np.ndarray, "6 entries"]
    stuck: StuckOfLot | None = None

    @classmethod
    def of(cls, chips: Iterable[Chip]) -> "Lot":
        """Pack chips, one after the other, so that they never lie unpacked all at once.

        Args:
            chips: At least one chip, all of one array size.

        Returns:
            The lot, in the same order.

        Raises:
            LotError: No chip, an id given twice, or arrays or weight memories of several sizes.
        """
        draft = _Draft()
        for chip in chips:
            draft.add(chip)
        draft.check()
        return cls(
            rows=draft.size[0],
            cols=draft.size[1],
            cards=tuple(draft.cards),
            packed=np.stack(draft.packed),
            dead_rows=np.array(draft.dead_rows, dtype=np.int32).reshape(-1, 3).T.copy(),
            dead_cols=np.array(draft.dead_cols, dtype=np.int32).reshape(-1, 2).T.copy(),
            macs=np.concatenate([np.empty((1 + FIELDS, 0), np.int32), *draft.macs], axis=1),
            stuck=draft.stuck.done(),
        )

    def __len__(self) -> int:
        return len(self.cards)

    def __repr__(self) -> str:
        return f"Lot({len(self)} chips of {self.rows} x {self.cols} PEs)"

    @overload
    def __getitem__(self, index: int) -> Chip: ...
    @overload
    def __getitem__(self, index: slice) -> "Lot": ...
    def __getitem__(self, index: int | slice) -> "Chip | Lot":
        if isinstance(index, slice):
            return self._selected(np.arange(len(self))[index])
        return self._chip(range(len(self))[index])

    def __iter__(self) -> Iterator[Chip]:
        return map(self._chip, range(len(self)))

    @property
    def rates(self) -> Float64[np.ndarray, "chips"]:
        """Share of unusable PEs of every chip (base: per PE)."""
        return np.array([chip.faults.rate for chip in self])

    def _chip(self, at: int) -> Chip:
        card = self.cards[at]
        pes = np.unpackbits(self.packed[at], count=self.rows * self.cols)
        faults = FaultMap(
            rows=self.rows,
            cols=self.cols,
            faulty_pes=pes.view(bool).reshape(self.rows, self.cols),
            dead_rows=tuple((row, col) for row, col in _entries(self.dead_rows, at)),
            dead_cols=tuple(col for (col,) in _entries(self.dead_cols, at)),
            stuck=None if self.stuck is None else self.stuck.of_chip(at, card.id),
            macs=StuckMacs(np.array(_entries(self.macs, at))),
            fatal=card.fatal,
            version=card.version,
            provenance=card.provenance,
        )
        return Chip(card.id, faults, card.lot, card.wafer, card.x, card.y)

    def _selected(self, kept: Int64[np.ndarray, "kept"]) -> "Lot":
        return Lot(
            rows=self.rows,
            cols=self.cols,
            cards=tuple(self.cards[at] for at in kept),
            packed=self.packed[kept],
            dead_rows=_renumbered(self.dead_rows, kept, len(self)),
            dead_cols=_renumbered(self.dead_cols, kept, len(self)),
            macs=_renumbered(self.macs, kept, len(self)),
            stuck=None if self.stuck is None else self.stuck.of_chips(kept),
        )


class _Draft:
    """A lot while its chips come in."""

    def __init__(self) -> None:
        self.size = (0, 0)
        self.cards: list[Card] = []
        self.packed: list[UInt8[np.ndarray, "bytes"]] = []
        self.dead_rows: list[tuple[int, int, int]] = []
        self.dead_cols: list[tuple[int, int]] = []
        self.macs: list[Int32[np.ndarray, "6 bits"]] = []
        self.stuck = StuckDraft()

    def add(self, chip: Chip) -> None:
        faults, at = chip.faults, len(self.cards)
        if at == 0:
            self.size = (faults.rows, faults.cols)
        if self.size != (faults.rows, faults.cols):
            raise LotError(
                f"chip {chip.id} has an array of {faults.rows} x {faults.cols}, "
                f"chip {self.cards[0].id} one of {self.size[0]} x {self.size[1]}",
                hint="make a lot of its own for every array size",
            )
        self.cards.append(Card.of(chip))
        self.packed.append(np.packbits(faults.faulty_pes))
        self.dead_rows += [(at, row, col) for row, col in faults.dead_rows]
        self.dead_cols += [(at, col) for col in faults.dead_cols]
        if faults.macs is not None:
            self.macs.append(np.insert(faults.macs.table.T, 0, at, axis=0))
        self.stuck.add(faults.stuck, chip.id)

    def check(self) -> None:
        if not self.cards:
            raise LotError("a lot of zero chips", hint="give at least one chip")
        check_ids([card.id for card in self.cards])


def check_ids(ids: Sequence[str]) -> None:
    """Refuse chips that share an id.

    Raises:
        LotError: Names the ids that are given more than once.
    """
    twice = [id_ for id_, count in Counter(ids).items() if count > 1]
    if twice:
        named = ", ".join(twice[:5]) + (f" and {len(twice) - 5} more" if len(twice) > 5 else "")
        raise LotError(
            f"chip ids given more than once: {named}", hint="give every chip an id of its own"
        )


def _entries(table: Int32[np.ndarray, "fields entries"], at: int) -> list[list[int]]:
    first, end = np.searchsorted(table[0], [at, at + 1])
    return table[1:, first:end].T.tolist()


def _renumbered(
    table: Int32[np.ndarray, "fields entries"], kept: Int64[np.ndarray, "kept"], chips: int
) -> Int32[np.ndarray, "fields kept_entries"]:
    place = np.full(chips, -1, dtype=np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    number = place[table[0]]
    order = np.argsort(number, kind="stable")
    order = order[number[order] >= 0]
    return np.vstack([number[order], table[1:, order]])
