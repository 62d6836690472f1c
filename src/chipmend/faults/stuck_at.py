"""Random stuck bits of a weight memory: scattered, along bit lines, or along word lines.

A memory is a grid of cells: a row of it, on one word line, holds the words of a line side by side,
and a column, on one bit line, the same bit of the same place of every line of a bank. Faults of
single cells are scattered; weak drivers, sense amplifiers and contacts hit cells along a line
[Stutz2021].

References:
    [Stutz2021] Stutz, Chandramoorthy, Hein, Schiele, "Bit error robustness for energy-efficient DNN
        accelerators", MLSys 2021.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, UInt8

from chipmend.errors import LotError
from chipmend.faults.stuck import StuckBits
from chipmend.hardware.memory import WeightMemory
from chipmend.records import ByKind
from chipmend.seeds import chip_seed

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scattered:
    """Every bit is stuck with the same probability, independent of the others."""

    __pydantic_config__ = _STRICT

    kind: Literal["scattered"] = "scattered"


@dataclass(frozen=True, slots=True, kw_only=True)
class BitLines:
    """Stuck bits lie on some bit lines: the same bit of the same place of many lines of words.

    Args:
        density: Share of the bits on a line that is hit which are stuck.
        length: How many lines of words a bit line passes.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["bit_lines"] = "bit_lines"
    density: float = 0.5
    length: int = 512

    def __post_init__(self) -> None:
        _check_share("a density", self.density, above_0=True)
        if not isinstance(self.length, int) or self.length < 1:
            raise LotError(
                f"bit lines with a length of {self.length!r}",
                hint="give the lines of words of a bank, at least 1",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WordLines:
    """Stuck bits lie on some word lines: many bits of the same words.

    Args:
        density: Share of the bits on a line that is hit which are stuck.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["word_lines"] = "word_lines"
    density: float = 0.5

    def __post_init__(self) -> None:
        _check_share("a density", self.density, above_0=True)


Cells = Scattered | BitLines | WordLines


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckAt:
    """How the stuck bits of a lot's memories are drawn.

    Args:
        rate: Expected share of stuck bits (base: per bit), or its lowest and highest value.
        cells: How they lie in the memory.
        at_1: Share of them that is stuck at 1. Bits on one line that is hit are stuck alike.

    Raises:
        LotError: A share that is none, or a rate that lines of this density cannot reach.
    """

    __pydantic_config__ = _STRICT

    rate: float | tuple[float, float]
    cells: Annotated[Cells, ByKind()] = field(default_factory=Scattered)
    at_1: float = 0.5

    def __post_init__(self) -> None:
        _check_share("a share of bits stuck at 1", self.at_1)
        if isinstance(self.rate, tuple) and len(self.rate) != 2:
            raise LotError(
                f"a rate of stuck bits of {self.rate}", hint="give the two ends of a range"
            )
        for end in self.rate if isinstance(self.rate, tuple) else (self.rate,):
            _check_share("a rate of stuck bits", end)
        if not isinstance(self.cells, Cells):
            raise LotError(
                f"stuck bits: {self.cells!r} is no way to lie",
                hint="give Scattered(), BitLines() or WordLines()",
            )
        low, high = self.ends
        if low > high:
            raise LotError(
                f"the lowest rate of stuck bits, {low}, is above the highest, {high}",
                hint="swap the two",
            )
        if not isinstance(self.cells, Scattered) and high > self.cells.density:
            raise LotError(
                f"a rate of stuck bits of {high} on lines of a density of {self.cells.density}",
                hint="give a density of at least the rate",
            )

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest rate."""
        low, high = self.rate if isinstance(self.rate, tuple) else (self.rate, self.rate)
        return float(low), float(high)


def stuck_bits(
    memory: WeightMemory,
    stuck: StuckAt,
    *,
    seed: int,
    chip: str,
    nested: bool = False,
) -> StuckBits:
    """Draw the stuck bits of one chip.

    Args:
        memory: The memory as designed.
        stuck: How they are drawn, at the upper end of their rates.
        seed: The seed of the run.
        chip: Identity of the chip.
        nested: Draw such that, with the same seed and chip, what is stuck at a lower rate is stuck
            at a higher one too, at the same value; otherwise rates are independent.

    Returns:
        The stuck bits; the same for the same arguments, whatever was drawn before.

    Raises:
        LotError: The memory does not state its words.

    Example:
        >>> some = stuck_bits(WeightMemory(words=10_000), StuckAt(rate=0.04), seed=0, chip="a")
        >>> 0.03 < some.rate < 0.05
        True
    """
    if (words := memory.words) is None:
        raise LotError(
            "stuck bits are wanted of a weight memory of unstated size",
            hint="give the array's memory its words (--words, array.memory.words): as many as the "
            "network has weights, or fewer",
        )
    rate = stuck.ends[1]
    purpose = f"stuck bits {stuck.cells.kind}" + ("" if nested else f" {rate!r}")
    source = np.random.PCG64(chip_seed(seed, chip, purpose))
    lines = -(-words // memory.line)
    grid = (lines, memory.line, memory.bits)
    match stuck.cells:
        case Scattered():
            hit, at_1 = _drawn(grid, rate, stuck.at_1, source)
        case BitLines(density=density, length=length):
            banks = (-(-lines // length), memory.line, memory.bits)
            bank = np.arange(lines) // length
            on_line, at_1 = (
                each[bank] for each in _drawn(banks, rate / density, stuck.at_1, source)
            )
            hit = on_line & _drawn(grid, density, 0, source)[0]
        case WordLines(density=density):
            on_line, at_1 = _drawn((lines, 1, 1), rate / density, stuck.at_1, source)
            hit = on_line & _drawn(grid, density, 0, source)[0]
    ones, zeros = (_patterns(held)[:words] for held in (hit & at_1, hit & ~at_1))
    return StuckBits.of_patterns(ones, zeros, memory.bits)


def _drawn(
    shape: tuple[int, ...], share: float, at_1: float, source: np.random.PCG64
) -> tuple[Bool[np.ndarray, "*shape"], Bool[np.ndarray, "*shape"]]:
    """What is hit, a share of all; and what would be stuck at 1, hit or not.

    One draw of 64 bits decides both, so neither moves when the other's share does.
    """
    raw = source.random_raw(math.prod(shape))
    high, low = (raw >> np.uint64(32)).astype(np.uint32), raw.astype(np.uint32)
    return (high < round(share * 2**32)).reshape(shape), (low < round(at_1 * 2**32)).reshape(shape)


def _patterns(bits: Bool[np.ndarray, "lines line bits"]) -> UInt8[np.ndarray, " words"]:
    """Each word's bits as one number, word after word."""
    return np.packbits(bits, axis=2, bitorder="little").reshape(-1)


def _check_share(what: str, share: float, *, above_0: bool = False) -> None:
    if not (isinstance(share, int | float) and 0 <= share <= 1) or (above_0 and share == 0):
        raise LotError(
            f"{what} of {share!r}", hint=f"give a fraction {'above' if above_0 else 'from'} 0 to 1"
        )
