"""FAQ of a memory's contents: codes that are there already become those that this chip reads best.

Only words with stuck bits are touched: a gather each, from the one table of all patterns and codes.
"""

import functools

import numpy as np
from jaxtyping import Int32, UInt8

from chipmend.errors import FaultMapError
from chipmend.faults.stuck import StuckBits
from chipmend.hardware.memory import Coding, WeightMemory
from chipmend.repairs.readable import patterns, readable

AT_ONCE = 2**17
"""Words hit that are looked up together: what is in between stays in the cache."""


def converted_codes(
    codes: UInt8[np.ndarray, " words"],
    stuck: StuckBits,
    *,
    coding: Coding = "twos_complement",
) -> UInt8[np.ndarray, " words"]:
    """The codes to store on one chip instead of those of a network that was quantized for all.

    Args:
        codes: What each word of the memory should hold.
        stuck: The chip's stuck bits.
        coding: Which number a code stands for.

    Returns:
        Codes whose numbers, as they are read, are nearest to those wanted; of two as near, the one
        nearer to zero.

    Raises:
        FaultMapError: The stuck bits are of another number of words, or codes are too wide or of
            another type.

    Example:
        A word whose sign is stuck at 1 should hold 5, and reads -1 at best:

        >>> sign = StuckBits.of_patterns(np.array([128], np.uint8), np.array([0], np.uint8))
        >>> converted_codes(np.array([5], np.uint8), sign)
        array([255], dtype=uint8)
    """
    if codes.dtype != np.uint8:
        raise FaultMapError(
            f"codes of type {codes.dtype}",
            hint="give uint8, the bits as words hold them: codes.view(np.uint8)",
        )
    if len(codes) != stuck.words:
        raise FaultMapError(
            f"{len(codes):,} codes and stuck bits of {stuck.words:,} words",
            hint="give a code for every word; a memory that is filled several times, fill by fill",
        )
    if stuck.bits < 8 and len(codes) and int(codes.max()) >> stuck.bits:
        raise FaultMapError(
            f"a code of {codes.max()} in words of {stuck.bits} bits",
            hint="give codes of as many bits as the words have",
        )
    table, at_1, at_0 = _tables(stuck.bits, coding)
    found = codes.copy()
    for first in range(0, len(stuck.at), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        at = stuck.at[some]
        place = np.take(at_1, stuck.ones[some])
        place += np.take(at_0, stuck.zeros[some])
        place += np.take(codes, at)
        found[at] = np.take(table, place)
    return found


@functools.cache
def _tables(
    bits: int, coding: Coding
) -> tuple[UInt8[np.ndarray, " all"], Int32[np.ndarray, "256"], Int32[np.ndarray, "256"]]:
    """The table in one piece, and where in it bits stuck at 1 and at 0 lead."""
    known = readable(WeightMemory(bits=bits, coding=coding))
    every = np.arange(2**bits, dtype=np.uint8)
    sound = np.zeros_like(every)
    rows = patterns(every, sound), patterns(sound, every)
    at_1, at_0 = ((2**bits * row).astype(np.int32) for row in rows)
    return known.codes.reshape(-1), at_1, at_0
