"""Stuck bits of a chip's weight memory: cells that read 0 or 1 whatever is stored in them.

Only words with a stuck bit are kept, each with two patterns: its bits that are stuck at 1, and its
bits that are stuck at 0. As bytes they are either such a list or, where many words are hit, the
patterns of all words.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from chipmend.errors import FaultMapError
from chipmend.hardware.memory import Filled, WeightMemory

_LIST, _ALL = 0, 1
_BYTES_OF_AN_ENTRY = 6
"""A word's address in 4 bytes, and its two patterns."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StuckBits:
    """Which bits of a memory are stuck, and at what.

    Args:
        words: Words of the memory.
        bits: Bits of a word; bit 0 is the least significant.
        at: Addresses of the words with a stuck bit, ascending.
        ones: Their bits that are stuck at 1, as a pattern each.
        zeros: Their bits that are stuck at 0.

    Raises:
        FaultMapError: A word or a bit that the memory does not have, a word listed twice or without
            a stuck bit, or a bit that is stuck at both values.

    Example:
        >>> at, ones, zeros = np.array([5]), np.array([0b10], np.uint8), np.array([0b1], np.uint8)
        >>> StuckBits(words=100, at=at, ones=ones, zeros=zeros)
        StuckBits(2 of 800 bits)
    """

    words: int
    bits: int = 8
    at: Int64[np.ndarray, " hit"]
    ones: UInt8[np.ndarray, " hit"]
    zeros: UInt8[np.ndarray, " hit"]

    def __post_init__(self) -> None:
        WeightMemory(words=self.words, bits=self.bits)  # checks both
        for name, kind in (("at", np.int64), ("ones", np.uint8), ("zeros", np.uint8)):
            held = np.array(getattr(self, name), dtype=kind)
            held.flags.writeable = False
            object.__setattr__(self, name, held)
        _check(self)

    @classmethod
    def of_bits(
        cls,
        words: int,
        bits: int,
        word: Int64[np.ndarray, " stuck"],
        bit: Int64[np.ndarray, " stuck"],
        value: Bool[np.ndarray, " stuck"],
    ) -> "StuckBits":
        """Gather single bits, in any order; the same one may be listed twice.

        Args:
            words: Words of the memory.
            bits: Bits of a word.
            word: The word of each bit.
            bit: Which bit of the word it is.
            value: What it is stuck at.

        Returns:
            The bits.

        Raises:
            FaultMapError: As the class; bits outside of a word among it.
        """
        word, bit = np.asarray(word, dtype=np.int64), np.asarray(bit, dtype=np.int64)
        value = np.asarray(value, dtype=bool)
        if outside := sorted({int(b) for b in bit if not 0 <= b < bits}):
            raise FaultMapError(
                f"bits {outside} lie outside a word of {bits} bits",
                hint="bits count from 0, the least significant",
            )
        at, place = np.unique(word, return_inverse=True)
        ones, zeros = np.zeros((2, len(at)), np.uint8)
        pattern = np.left_shift(1, bit).astype(np.uint8)
        np.bitwise_or.at(ones, place[value], pattern[value])
        np.bitwise_or.at(zeros, place[~value], pattern[~value])
        return cls(words=words, bits=bits, at=at, ones=ones, zeros=zeros)

    @classmethod
    def of_patterns(
        cls, ones: UInt8[np.ndarray, " words"], zeros: UInt8[np.ndarray, " words"], bits: int = 8
    ) -> "StuckBits":
        """Take the patterns of all words.

        Raises:
            FaultMapError: As the class.
        """
        at = np.flatnonzero(ones | zeros)
        return cls(words=len(ones), bits=bits, at=at, ones=ones[at], zeros=zeros[at])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StuckBits):
            return NotImplemented
        return self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return f"StuckBits({self.count:,} of {self.words * self.bits:,} bits)"

    @property
    def count(self) -> int:
        """How many bits are stuck."""
        return int(np.bitwise_count(self.ones | self.zeros).sum(dtype=np.int64))

    @property
    def rate(self) -> float:
        """Share of the bits that are stuck (base: per bit)."""
        return self.count / (self.words * self.bits)

    def rate_among(self, filled: Filled) -> float:
        """Share of the bits of a network's weights that are stuck (base: per bit).

        Args:
            filled: Where the weights lie; bits of words that hold none do not count.
        """
        hit = np.bitwise_count(self.ones | self.zeros) * filled.uses(self.at)
        return int(hit.sum(dtype=np.int64)) / (sum(filled.sizes.values()) * self.bits)

    @property
    def share_at_1(self) -> float:
        """Share of the stuck bits that are stuck at 1; 0 if none is stuck."""
        return int(np.bitwise_count(self.ones).sum(dtype=np.int64)) / max(1, self.count)

    def listed(self) -> list[tuple[int, int, int]]:
        """Word, bit and value of each stuck bit, in order."""
        value = np.stack([self.zeros, self.ones], axis=1)
        found = np.unpackbits(value[:, :, None], axis=2, bitorder="little")  # hit x value x bit
        place, bit, value = np.nonzero(found.transpose(0, 2, 1))
        return list(zip(self.at[place].tolist(), bit.tolist(), value.tolist(), strict=True))

    def patterns(self) -> tuple[UInt8[np.ndarray, " words"], UInt8[np.ndarray, " words"]]:
        """Bits stuck at 1 and bits stuck at 0, of all words."""
        ones, zeros = np.zeros((2, self.words), np.uint8)
        ones[self.at], zeros[self.at] = self.ones, self.zeros
        return ones, zeros

    def to_bytes(self) -> bytes:
        """All but ``words`` and ``bits`` as bytes, in the shorter of the two forms."""
        if _BYTES_OF_AN_ENTRY * len(self.at) < 2 * self.words:
            return bytes([_LIST]) + b"".join(
                held.tobytes() for held in (self.at.astype("<u4"), self.ones, self.zeros)
            )
        return bytes([_ALL]) + b"".join(held.tobytes() for held in self.patterns())

    @classmethod
    def from_bytes(cls, held: bytes, words: int, bits: int) -> "StuckBits":
        """Read what ``to_bytes`` gave.

        Raises:
            FaultMapError: It is nothing of the kind.
        """
        form, body = held[0] if held else None, held[1:]
        if form == _ALL and len(body) == 2 * words:
            ones, zeros = np.frombuffer(body, np.uint8).reshape(2, -1)
            return cls.of_patterns(ones, zeros, bits)
        if form == _LIST and len(body) % _BYTES_OF_AN_ENTRY == 0:
            count = len(body) // _BYTES_OF_AN_ENTRY
            at = np.frombuffer(body, "<u4", count).astype(np.int64)
            ones, zeros = np.frombuffer(body, np.uint8, offset=4 * count).reshape(2, -1)
            return cls(words=words, bits=bits, at=at, ones=ones, zeros=zeros)
        raise FaultMapError(
            f"{len(held)} bytes are no stuck bits of {words} words",
            hint="copy the lot file again from where it came",
        )

    def digest(self) -> str:
        """Hex digest of the bits and of the memory's size."""
        size = f"{self.words} {self.bits}\n".encode()
        return hashlib.sha256(size + self.to_bytes()).hexdigest()


def _check(stuck: StuckBits) -> None:
    at, ones, zeros = stuck.at, stuck.ones, stuck.zeros
    if not at.shape == ones.shape == zeros.shape or at.ndim != 1:
        raise FaultMapError(
            f"{len(at)} words, {len(ones)} patterns of ones and {len(zeros)} of zeros",
            hint="give both patterns of every word with a stuck bit",
        )
    if not len(at):
        return
    if at.min() < 0 or at.max() >= stuck.words:
        outside = int(at[(at < 0) | (at >= stuck.words)][0])
        raise FaultMapError(
            f"word {outside} lies outside the memory of {stuck.words:,} words",
            hint="words count from 0; check the size of the weight memory",
        )
    if (np.diff(at) <= 0).any():
        raise FaultMapError(
            "words with stuck bits that do not ascend", hint="list each word once, in order"
        )
    if (both := np.flatnonzero(ones & zeros)).size:
        word, pattern = int(at[both[0]]), int(ones[both[0]] & zeros[both[0]])
        raise FaultMapError(
            f"bit {pattern.bit_length() - 1} of word {word} is stuck at 0 and at 1",
            hint="a bit is stuck at one value; leave the wrong one out",
        )
    if int((ones | zeros).max()) >> stuck.bits:
        raise FaultMapError(
            f"patterns with bits above bit {stuck.bits - 1}",
            hint=f"a word has {stuck.bits} bits, counted from 0",
        )
    if not (ones | zeros).all():
        raise FaultMapError("a word without a stuck bit", hint="list words with stuck bits alone")
