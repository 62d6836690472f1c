"""Stuck bits of many chips as bytes, one chip's after another's; a chip's are read when asked for.

The bytes may lie in a file that is mapped into memory: 1,000 chips of 8 Mbit take gigabytes. So
each chip has a checksum of its own, which is looked at together with its bits.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64, UInt8

from chipmend.errors import LotError
from chipmend.faults.stuck import StuckBits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StuckOfLot:
    """Stuck bits of the chips of a lot.

    Args:
        words: Words of each chip's memory.
        bits: Bits of a word.
        held: Bytes of all chips; nothing else than this is large.
        spans: Where each chip's bytes begin and end; a chip without stuck bits has none.
        digests: SHA-256 of each chip's bytes.
    """

    words: int
    bits: int
    held: UInt8[np.ndarray, " bytes"]
    spans: Int64[np.ndarray, "chips 2"]
    digests: UInt8[np.ndarray, "chips 32"]

    def of_chip(self, at: int, id_: str) -> StuckBits | None:
        """Stuck bits of one chip, by its number; none if it has none.

        Raises:
            LotError: They are not what was written.
        """
        first, end = self.spans[at].tolist()
        if first == end:
            return None
        held = self.held[first:end].tobytes()
        if hashlib.sha256(held).digest() != self.digests[at].tobytes():
            raise LotError(
                f"the stuck bits of chip {id_} were altered: their checksum does not match",
                hint="copy the lot file again from where it came",
            )
        return StuckBits.from_bytes(held, self.words, self.bits)

    def of_chips(self, kept: Int64[np.ndarray, " kept"]) -> "StuckOfLot":
        """The same of some chips, in the given order."""
        return StuckOfLot(
            words=self.words,
            bits=self.bits,
            held=self.held,
            spans=self.spans[kept],
            digests=self.digests[kept],
        )

    def packed(self) -> "StuckOfLot":
        """The same with the bytes of its own chips alone, in their order."""
        lengths = self.spans[:, 1] - self.spans[:, 0]
        ends = np.cumsum(lengths)
        spans = np.stack([ends - lengths, ends], axis=1)
        if len(self.held) == lengths.sum() and (spans == self.spans).all():
            return self
        parts = [self.held[first:end] for first, end in self.spans.tolist()]
        return StuckOfLot(
            words=self.words,
            bits=self.bits,
            held=np.concatenate(parts),
            spans=spans,
            digests=self.digests,
        )


@dataclass(slots=True)
class StuckDraft:
    """Stuck bits of a lot while its chips come in."""

    size: tuple[int, int] | None = None
    held: bytearray = field(default_factory=bytearray)
    ends: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)

    def add(self, stuck: StuckBits | None, id_: str) -> None:
        """Take in the next chip.

        Raises:
            LotError: Its memory is not of the size that those before it have.
        """
        packed = b""
        if stuck is not None:
            packed, size = stuck.to_bytes(), (stuck.words, stuck.bits)
            if (self.size or size) != size:
                raise LotError(
                    f"chip {id_} has a weight memory of {size[0]:,} words of {size[1]} bits, "
                    f"one before it {self.size[0]:,} of {self.size[1]}",  # pyright: ignore[reportOptionalSubscript]
                    hint="make a lot of its own for every size of memory",
                )
            self.size = size
        self.held += packed
        self.ends.append(len(self.held))
        self.digests.append(hashlib.sha256(packed).digest())

    def done(self) -> StuckOfLot | None:
        """All that came in; none if no chip has stuck bits."""
        if self.size is None:
            return None
        words, bits = self.size
        spans = np.array([[0, *self.ends[:-1]], self.ends]).T
        return StuckOfLot(
            words=words,
            bits=bits,
            held=np.frombuffer(self.held, np.uint8),
            spans=spans,
            digests=np.frombuffer(b"".join(self.digests), np.uint8).reshape(-1, 32),
        )
