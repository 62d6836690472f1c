"""Fault-aware quantization (FAQ): the code to store in a word so that what is read is nearest.

A word with stuck bits reads some numbers and no others. Which are left depends on the pattern of
its stuck bits alone, so the nearest of them to every number is looked up: one table for all words,
chips and networks. This is our reading of [Hanif2023], of which the abstract alone is public.

References:
    [Hanif2023] Hanif, Shafique, "FAQ: mitigating the impact of faults in the weight memory of DNN
        accelerators through fault-aware quantization", arXiv 2305.12590.
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int16, Int64, UInt8

from chipmend.hardware.memory import Coding, WeightMemory, read_back


@dataclass(frozen=True, slots=True, eq=False)
class Readable:
    """What words with each pattern of stuck bits can read.

    Patterns are numbered by their bits as digits of base 3: 0 for a sound bit, 1 for one stuck at
    0, 2 for one stuck at 1.

    Args:
        codes: The code to store for each pattern and each code that was wanted: what is read then
            is nearest to the number wanted; of two as near, the one nearer to zero.
        nearest: The number that is read, for each pattern and each half step of what was wanted:
            column ``j`` is for numbers from ``least + j / 2`` up to the next half.
        read: The number that is read, for each pattern and each code that is stored.
        least: The least number that a sound word can hold.
    """

    codes: UInt8[np.ndarray, "patterns codes"]
    nearest: Int16[np.ndarray, "patterns halves"]
    read: Int16[np.ndarray, "patterns codes"]
    least: int


def readable(memory: WeightMemory) -> Readable:
    """What words of a memory can read.

    Args:
        memory: The memory; how many words it has does not matter.

    Returns:
        The tables, which are made once.

    Example:
        A word of three bits, its sign stuck at 0, that should hold -3, the code 5:

        >>> known = readable(WeightMemory(bits=3))
        >>> pattern = patterns(np.array([0], np.uint8), np.array([0b100], np.uint8))[0]
        >>> int(known.codes[pattern, 5])
        0
    """
    return _tables(memory.bits, memory.coding)


def patterns(
    ones: UInt8[np.ndarray, " words"], zeros: UInt8[np.ndarray, " words"]
) -> Int64[np.ndarray, " words"]:
    """The number of each word's pattern of stuck bits.

    Args:
        ones: Its bits that are stuck at 1.
        zeros: Its bits that are stuck at 0.

    Returns:
        Rows of the tables.
    """
    digits = _base_3()
    return 2 * digits[ones] + digits[zeros]


@functools.cache
def _tables(bits: int, coding: Coding) -> Readable:
    memory, (ones, zeros) = WeightMemory(bits=bits, coding=coding), _every_pattern(bits)
    stored, values = np.arange(2**bits, dtype=np.uint8), memory.values
    least = int(values.min())
    read = values[read_back(stored, ones[:, None], zeros[:, None])]
    can = np.zeros((len(ones), int(values.max()) - least + 1), dtype=bool)
    can[np.arange(len(ones))[:, None], read - least] = True
    below, above = _neighbours(can)
    wanted = values.astype(np.int64) - least
    nearest = _nearer(below[:, wanted], above[:, wanted], wanted, -least)
    return Readable(
        codes=memory.codes(nearest + least),
        nearest=(_nearest_to_halves(below, above) + least).astype(np.int16),
        read=read,
        least=least,
    )


@functools.cache
def _base_3() -> Int64[np.ndarray, "256"]:
    """Every byte's bits as digits of base 3."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return bits @ 3 ** np.arange(8)


def _every_pattern(
    bits: int,
) -> tuple[UInt8[np.ndarray, " patterns"], UInt8[np.ndarray, " patterns"]]:
    """Bits stuck at 1 and bits stuck at 0 of every pattern, in the order of their numbers."""
    digits = np.arange(3**bits)[:, None] // 3 ** np.arange(bits) % 3
    ones, zeros = ((digits == digit) @ 2 ** np.arange(bits) for digit in (2, 1))
    return ones.astype(np.uint8), zeros.astype(np.uint8)


def _neighbours(
    can: Bool[np.ndarray, "patterns numbers"],
) -> tuple[Int64[np.ndarray, "patterns numbers"], Int64[np.ndarray, "patterns numbers"]]:
    """The nearest numbers that can be read at or below, and at or above, each number.

    Where there is none on one side, the number far beyond that stands for it is never the nearer.
    """
    count = can.shape[1]
    number = np.arange(count)
    below = np.maximum.accumulate(np.where(can, number, -3 * count), axis=1)
    above = np.minimum.accumulate(np.where(can, number, 4 * count)[:, ::-1], axis=1)[:, ::-1]
    return below, above


def _nearer(below: np.ndarray, above: np.ndarray, wanted: np.ndarray, zero: int) -> np.ndarray:
    """Of two neighbours the nearer one; of two as near, the one nearer to zero."""
    down, up = wanted - below, above - wanted
    return np.where((down < up) | ((down == up) & (wanted >= zero)), below, above)


def _nearest_to_halves(
    below: Int64[np.ndarray, "patterns numbers"], above: Int64[np.ndarray, "patterns numbers"]
) -> Int64[np.ndarray, "patterns halves"]:
    """The nearest to what lies within each half step.

    Halfway between two whole numbers lies on a half, so within a half step it is always the same
    one.
    """
    count = below.shape[1]
    middle = np.arange(2 * count) / 2 + 0.25
    left = below[:, np.arange(2 * count) // 2]
    right = above[:, np.minimum((np.arange(2 * count) + 2) // 2, count - 1)]
    return np.where(middle - left <= right - middle, left, right)
