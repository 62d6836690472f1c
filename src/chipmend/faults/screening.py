"""Screening that misses faults and sees some that are none, and what may lie behind a map.

A PE that was missed is not bypassed. It is taken to give nothing, as a bypassed one does: its
weights are lost, and nobody made up for them. Bits of datapaths that are stuck are told apart from
that, and may be missed as well.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8

from chipmend.errors import FaultMapError
from chipmend.faults.lots import Lot
from chipmend.faults.macs import StuckMacs
from chipmend.faults.maps import Chip, FaultMap
from chipmend.faults.stuck import StuckBits
from chipmend.seeds import chip_seed

WORSE = 4
"""Rank of the draw that decides under a margin, among the worst: the greater, the less chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """How far the fault maps of a test are from what is broken.

    Args:
        hidden: Share of the faults that the tester misses: of faulty PEs, dead rows and columns,
            stuck bits of the memory and of datapaths alike.
        spurious: Share of the healthy PEs that it takes for faulty, and of the memory's sound bits
            where some are stuck.

    Raises:
        FaultMapError: Shares that are none; a tester has to find some of the faults.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    hidden: float = 0.0
    spurious: float = 0.0

    def __post_init__(self) -> None:
        for what, share in (("hidden", self.hidden), ("spurious", self.spurious)):
            if not (isinstance(share, int | float) and 0 <= share < 1):
                raise FaultMapError(
                    f"screening with a share of {share!r} {what}",
                    hint="give a fraction from 0 up to 1, and less than 1",
                )

    def seen(self, faults: FaultMap, *, seed: int, chip: str) -> FaultMap:
        """The map that the tester makes of what is broken.

        Args:
            faults: What is broken.
            seed: The seed of the run.
            chip: Identity of the chip.
        """
        rng = np.random.Generator(np.random.PCG64(chip_seed(seed, chip, "tester")))

        def found(things: Sequence) -> list:
            return [thing for thing in things if rng.random() >= self.hidden]

        missed = rng.random(faults.faulty_pes.shape) < self.hidden
        invented = rng.random(faults.faulty_pes.shape) < self.spurious
        seen = replace(
            faults,
            faulty_pes=(faults.faulty_pes & ~missed) | (~faults.unusable & invented),
            dead_rows=tuple(found(faults.dead_rows)),
            dead_cols=tuple(found(faults.dead_cols)),
            stuck=self._seen_bits(faults.stuck, rng),
            macs=None
            if faults.macs is None
            else StuckMacs(np.array(found(faults.macs.table.tolist()))),
        )
        source = f"{faults.provenance.source}, seen by a tester that misses {self.hidden:g}"
        return replace(seen, provenance=replace(faults.provenance, source=source))

    def seen_of(self, chips: Iterable[Chip], *, seed: int) -> Lot:
        """The chips of a lot as the tester sees them.

        Args:
            chips: The chips, with what is broken.
            seed: The seed of the run.
        """
        return Lot.of(
            replace(chip, faults=self.seen(chip.faults, seed=seed, chip=chip.id)) for chip in chips
        )

    def _seen_bits(self, stuck: StuckBits | None, rng: np.random.Generator) -> StuckBits | None:
        if stuck is None:
            return None
        ones, zeros = stuck.patterns()
        missed, invented = (_bits(stuck, share, rng) for share in (self.hidden, self.spurious))
        at_1, invented = _bits(stuck, 0.5, rng), invented & ~(ones | zeros)
        return StuckBits.of_patterns(
            (ones & ~missed) | (invented & at_1), (zeros & ~missed) | (invented & ~at_1), stuck.bits
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """What decisions allow for beside a fault map: faults that the tester may have missed.

    Args:
        hidden: Share of the faults that the tester misses.
        coverage: Share of what they may be that a chip is to stand.
        harden: Epochs by which the network is trained once, for all chips, to stand losses; 0 to
            leave it as it is.

    Raises:
        FaultMapError: A share that is none, or of nothing, or no amount of training.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    hidden: float
    coverage: float = 0.95
    harden: float = 4.0

    def __post_init__(self) -> None:
        for what, share in (("hidden", self.hidden), ("coverage", self.coverage)):
            if not (isinstance(share, int | float) and 0 < share < 1):
                raise FaultMapError(
                    f"a margin with {share!r} {what}", hint="give a fraction above 0 and below 1"
                )
        if not (isinstance(self.harden, int | float) and 0 <= self.harden < math.inf):
            raise FaultMapError(
                f"a margin that hardens by {self.harden!r} epochs",
                hint="give a finite number; 0 leaves the network as it is",
            )

    @property
    def draws(self) -> int:
        """How many draws there are, of which all but ``WORSE - 1`` are covered.

        Of n draws and one more, all independent, each is among the ``WORSE`` worst with the
        probability ``WORSE / (n + 1)``, which is what ``coverage`` leaves.
        """
        return max(WORSE, math.ceil(WORSE / (1 - self.coverage) - 1e-9) - 1)

    def behind(self, faults: FaultMap, *, seed: int, chip: str, draw: int) -> FaultMap:
        """A map of what may be broken, given what the tester found.

        Of faulty PEs and of stuck bits of the memory as many are missed as the found ones, and one
        more, make expect; of dead lines as many as the found ones do. Each lies anywhere that is
        sound. Of datapaths nothing is taken to be missed.

        Args:
            faults: What the tester found.
            seed: The seed of the run.
            chip: Identity of the chip.
            draw: Which of several that are drawn independently.
        """
        rng = np.random.Generator(np.random.PCG64(chip_seed(seed, chip, f"missed/{draw}")))
        sound = ~faults.unusable
        pes = self._missed(sound, int(faults.faulty_pes.sum()) + 1, rng)
        rows = self._missed(np.logical_or.reduce(sound, axis=1), len(faults.dead_rows), rng)
        cols = self._missed(np.logical_or.reduce(sound, axis=0), len(faults.dead_cols), rng)
        return replace(
            faults,
            faulty_pes=faults.faulty_pes | pes,
            dead_rows=(*faults.dead_rows, *((row, 0) for row in np.flatnonzero(rows).tolist())),
            dead_cols=(*faults.dead_cols, *np.flatnonzero(cols).tolist()),
            stuck=self._with_missed_bits(faults.stuck, rng),
        )

    def missed_share(self, faults: FaultMap) -> float:
        """Share of the PEs that seem sound which is expected to be faulty (base: per PE)."""
        sound = faults.unusable.size - int(faults.unusable.sum())
        return self._rate(int(faults.faulty_pes.sum()) + 1, sound)

    def _missed(
        self, sound: Bool[np.ndarray, "*places"], found: int, rng: np.random.Generator
    ) -> Bool[np.ndarray, "*places"]:
        """Sound places that are missed, as many of them as so many found ones make expect."""
        return sound & (rng.random(sound.shape) < self._rate(found, int(sound.sum())))

    def _rate(self, found: int, places: int) -> float:
        return min(1.0, found * self.hidden / (1 - self.hidden) / max(1, places))

    def _with_missed_bits(
        self, stuck: StuckBits | None, rng: np.random.Generator
    ) -> StuckBits | None:
        if stuck is None:
            return None
        ones, zeros = stuck.patterns()
        places = stuck.words * stuck.bits - stuck.count
        missed = _bits(stuck, self._rate(stuck.count + 1, places), rng) & ~(ones | zeros)
        at_1 = _bits(stuck, stuck.share_at_1, rng)
        return StuckBits.of_patterns(ones | (missed & at_1), zeros | (missed & ~at_1), stuck.bits)


def _bits(stuck: StuckBits, share: float, rng: np.random.Generator) -> UInt8[np.ndarray, " words"]:
    """A share of all bits of a memory, as a pattern for every word."""
    drawn = rng.random((stuck.words, stuck.bits)) < share
    return np.packbits(drawn, axis=1, bitorder="little")[:, 0]
