"""Which bits flip: at what rates, how many at once, and which of them protection lets through."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from chipmend.errors import ArrayError
from chipmend.hardware.mac import ACTIVATION_BITS

AT_ONCE = 2**20
"""Flips that are drawn together, about."""
MOST_RATE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BitErrors:
    """The probabilities with which bits flip.

    Args:
        accumulator: Of each bit that a PE's adder hands on, in every cycle.
        product: Of each bit that a multiplier hands on, in every cycle; not beside accumulators.
        weights: Of each bit of a weight that is read from the memory, once for each sample.
        activations: Of each bit of an activation, once for each product that takes it.

    Raises:
        ArrayError: No probability up to a half, or accumulators beside multipliers.
    """

    accumulator: float = 0.0
    product: float = 0.0
    weights: float = 0.0
    activations: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            rate = getattr(self, field.name)
            if not isinstance(rate, int | float) or not 0 <= rate <= MOST_RATE:
                raise ArrayError(
                    f"bit errors: {field.name} is {rate!r}",
                    hint=f"give a probability from 0 to {MOST_RATE}",
                )
        if self.accumulator and self.product:
            raise ArrayError(
                "bit errors of accumulators and of multipliers at once",
                hint="look at the one, then at the other: what protects from them differs in cost",
            )


@dataclass(frozen=True, eq=False)
class Guard:
    """What protection lets through in one layer.

    Args:
        through: Of the flips of each bit the share that gets through, the lowest bit first: for
            ordinary neurons, and for important ones.
        important: Which neurons are important, a neuron being an output at a place; none by
            default.
        widths: Of each output in each pass, from how many bits the sign is extended at the end of
            the column; one number for all alike, none if it is not extended.
        voted: For ordinary neurons, and for important ones, from which bit on sums are voted on by
            copies that have multipliers of their own: what flips in one multiplier neither reaches
            those bits nor carries into them. None if there are no such copies.
    """

    through: Float64[np.ndarray, "2 bits"]
    important: Bool[np.ndarray, "outputs places"] | None = None
    widths: Int64[np.ndarray, "outputs passes"] | int | None = None
    voted: tuple[int, int] | None = None

    def lets_through(
        self,
        outputs: Int64[np.ndarray, " flips"],
        places: Int64[np.ndarray, " flips"],
        bits: Int64[np.ndarray, " flips"],
        luck: Float64[np.ndarray, " flips"],
    ) -> Bool[np.ndarray, " flips"]:
        """Which of some flips get through.

        Args:
            outputs: The output of each.
            places: Its place.
            bits: The bit.
            luck: A number from 0 to 1 for each, drawn whatever the protection.
        """
        return luck < self.through[self.classes(outputs, places), bits]

    def classes(
        self, outputs: Int64[np.ndarray, " sums"], places: Int64[np.ndarray, " sums"]
    ) -> Int64[np.ndarray, " sums"]:
        """Of sums whether their neuron is ordinary, 0, or important, 1."""
        if self.important is None:
            return np.zeros_like(outputs)
        return self.important[outputs, places].astype(np.int64)


def drawn(rng: np.random.Generator, positions: range, rate: float) -> Int64[np.ndarray, " flips"]:
    """Some of many positions, each with the same probability, in order.

    Args:
        rng: What chance is taken from.
        positions: All of them.
        rate: The probability.
    """
    wanted = int(rng.binomial(len(positions), rate))
    found = np.empty(0, dtype=np.int64)
    while len(found) < wanted:
        more = rng.integers(positions.start, positions.stop, wanted - len(found))
        found = distinct(np.sort(np.concatenate([found, more])))
    return found


def distinct(numbers: Int64[np.ndarray, " all"]) -> Int64[np.ndarray, " different"]:
    """Numbers in order, each once.

    Args:
        numbers: The same in order, some several times; none is below 0.

    Example:
        >>> distinct(np.array([0, 0, 3, 5, 5])).tolist()
        [0, 3, 5]
    """
    return numbers[np.diff(numbers, prepend=-1) > 0]


def worths(bits: Int64[np.ndarray, "..."], width: int) -> Int64[np.ndarray, "..."]:
    """What bits of numbers in two's complement are worth, the sign less than nothing.

    Args:
        bits: The bits.
        width: How many bits the numbers have.

    Example:
        >>> worths(np.array([0, 2, 3]), 4).tolist()
        [1, 4, -8]
    """
    return np.where(bits == width - 1, -1, 1) * (1 << bits)


def blocks(sums: int, bits_of_each: int, rate: float) -> Iterator[range]:
    """Sums in runs, in each of which not too many bits flip.

    Args:
        sums: How many sums.
        bits_of_each: Bits that may flip on the way of each.
        rate: With what probability.

    Example:
        >>> [*blocks(5, 2**20, 0.5)]
        [range(0, 2), range(2, 4), range(4, 5)]
    """
    together = max(1, math.floor(AT_ONCE / max(bits_of_each * rate, 1e-9)))
    for first in range(0, sums, together):
        yield range(first, min(first + together, sums))


def with_flips(numbers: Tensor, rate: float, rng: np.random.Generator) -> Tensor:
    """Numbers of 8 bits, some of whose bits flipped.

    Args:
        numbers: The numbers.
        rate: With what probability a bit flips.
        rng: What chance is taken from.
    """
    if not rate:
        return numbers
    found = numbers.contiguous().clone()
    flat = found.view(torch.uint8).view(-1)
    for block in blocks(found.numel(), ACTIVATION_BITS, rate):
        at = drawn(rng, range(block.start * ACTIVATION_BITS, block.stop * ACTIVATION_BITS), rate)
        places, rank = np.unique(at // ACTIVATION_BITS, return_inverse=True)
        masks = np.zeros(len(places), dtype=np.uint8)
        np.bitwise_or.at(masks, rank, (1 << at % ACTIVATION_BITS).astype(np.uint8))
        hit = torch.from_numpy(places).to(flat.device)
        flat[hit] ^= torch.from_numpy(masks).to(flat.device)
    return found
