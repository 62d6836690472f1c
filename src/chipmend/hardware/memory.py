"""The weight memory as designed: words of a few bits, the numbers they stand for, their addresses.

A word holds the code of one weight. Words are filled in the order in which the network's layers are
executed and, inside a layer, in the row-major order of its stored weight; a memory that is full
begins anew at its first word, so that weights far apart share one.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int16, Int64, Shaped, UInt8

from chipmend.errors import ArrayError

Coding = Literal["twos_complement", "offset_binary", "sign_magnitude"]
LEAST_BITS, MOST_BITS = 2, 8
MOST_WORDS = 2**31 - 1
"""More than any memory on a chip; addresses are kept in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightMemory:
    """An on-chip memory whose words hold one weight each.

    Args:
        words: How many words; by default as many as the network has weights.
        bits: Bits of a word, 2 to 8; bit 0 is the least significant.
        coding: Which number a pattern of bits stands for.
        line: Words in a physical row of the memory, side by side on one word line.

    Raises:
        ArrayError: A count that is none, or an unknown coding.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    words: int | None = None
    bits: int = 8
    coding: Coding = "twos_complement"
    line: int = 16

    def __post_init__(self) -> None:
        if self.words is not None:
            object.__setattr__(self, "words", _count("words", self.words, 1, MOST_WORDS))
        object.__setattr__(self, "bits", _count("bits", self.bits, LEAST_BITS, MOST_BITS))
        object.__setattr__(self, "line", _count("line", self.line, 1, MOST_WORDS))
        if self.coding not in get_args(Coding):
            raise ArrayError(
                f"memory: there is no coding {self.coding!r}",
                hint=f"give {' or '.join(get_args(Coding))}",
            )

    @property
    def values(self) -> Int16[np.ndarray, " codes"]:
        """The number that each code stands for, in the order of codes.

        Example:
            >>> WeightMemory(bits=2).values.tolist()
            [0, 1, -2, -1]
            >>> WeightMemory(bits=2, coding="offset_binary").values.tolist()
            [-2, -1, 0, 1]
            >>> WeightMemory(bits=3, coding="sign_magnitude").values.tolist()
            [0, 1, 2, 3, 0, -1, -2, -3]
        """
        codes, half = np.arange(2**self.bits, dtype=np.int16), 2 ** (self.bits - 1)
        match self.coding:
            case "twos_complement":
                return np.where(codes < half, codes, codes - 2 * half)
            case "offset_binary":
                return codes - half
            case "sign_magnitude":
                return np.where(codes < half, codes, half - codes)

    def codes(self, values: Shaped[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """The code of each number; zero has the one without a sign.

        Args:
            values: Whole numbers from the least to the greatest that a word can hold.

        Returns:
            A code for each.

        Example:
            >>> WeightMemory(coding="sign_magnitude").codes(np.array([0, 5, -5])).tolist()
            [0, 5, 133]
        """
        values, half = np.asarray(values).astype(np.int16), 2 ** (self.bits - 1)
        match self.coding:
            case "twos_complement":
                codes = values & (2 * half - 1)
            case "offset_binary":
                codes = values + half
            case "sign_magnitude":
                codes = np.where(values < 0, half - values, values)
        return codes.astype(np.uint8)

    @property
    def highest(self) -> int:
        """The greatest number whose negative a word can hold as well."""
        return 2 ** (self.bits - 1) - 1


@dataclass(frozen=True, slots=True)
class Filled:
    """Which words the weights of a network are put into.

    Args:
        first: Position of each weight tensor's first weight, by name, before any wrapping around.
        sizes: How many weights each tensor has.
        words: How many words the memory has.
    """

    first: Mapping[str, int]
    sizes: Mapping[str, int]
    words: int

    @classmethod
    def of(cls, sizes: Mapping[str, int], memory: WeightMemory) -> "Filled":
        """Fill a memory with weight tensors, one after the other.

        Args:
            sizes: Weights of each tensor by name, in the order in which layers are executed.
            memory: The memory.

        Returns:
            Where everything is.

        Example:
            >>> filled = Filled.of({"a": 3, "b": 4}, WeightMemory(words=5))
            >>> filled.addresses("b").tolist()
            [3, 4, 0, 1]
        """
        ends = np.cumsum(list(sizes.values())).tolist()
        first = dict(zip(sizes, [0, *ends[:-1]], strict=True))
        return cls(first, dict(sizes), memory.words or ends[-1])

    @property
    def wraps(self) -> bool:
        """Whether some words hold more than one weight."""
        return sum(self.sizes.values()) > self.words

    def uses(self, words: Int64[np.ndarray, " some"]) -> Int64[np.ndarray, " some"]:
        """How many weights lie in each of some words.

        Example:
            >>> Filled.of({"a": 7}, WeightMemory(words=5)).uses(np.arange(5)).tolist()
            [2, 2, 1, 1, 1]
        """
        total = sum(self.sizes.values())
        return np.maximum((total - 1 - words) // self.words + 1, 0)

    def addresses(self, name: str) -> Int64[np.ndarray, " weights"]:
        """The word of each weight of a tensor, in the row-major order of the tensor."""
        return (self.first[name] + np.arange(self.sizes[name])) % self.words

    def taken(
        self, name: str, held: Shaped[np.ndarray, " words"]
    ) -> Shaped[np.ndarray, " weights"]:
        """What is held for each word, at the words of one tensor; a view where that can be."""
        first, size = self.first[name] % self.words, self.sizes[name]
        if first + size <= self.words:
            return held[first : first + size]
        return held[self.addresses(name)]


def read_back(
    codes: UInt8[np.ndarray, "*shape"],
    stuck_at_1: UInt8[np.ndarray, "*shape"],
    stuck_at_0: UInt8[np.ndarray, "*shape"],
) -> UInt8[np.ndarray, "*shape"]:
    """What words with stuck bits read as once codes are stored in them.

    Args:
        codes: What is stored.
        stuck_at_1: Bits that always read 1.
        stuck_at_0: Bits that always read 0.

    Returns:
        What is read.

    Example:
        >>> stored, ones, zeros = (np.array([bits], np.uint8) for bits in (0b0110, 0b0001, 0b0100))
        >>> int(read_back(stored, ones, zeros)[0])
        3
    """
    return (codes | stuck_at_1) & ~stuck_at_0


def _count(name: str, count: object, least: int, most: int) -> int:
    try:
        whole = operator.index(count)  # pyright: ignore[reportArgumentType]
    except TypeError:
        whole = None
    if whole is None or not least <= whole <= most:
        raise ArrayError(
            f"memory: {name} is {count!r}", hint=f"give a whole number from {least} to {most:,}"
        )
    return whole
