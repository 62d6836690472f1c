"""A trial lot: chips like those to come, by which coverage is promised.

Maps of an analysis are drawn at a few rates. What a policy promises of the chips of a lot has to be
measured on chips whose order among them would not matter: of the same rates, and lying alike. They
are made like that, or they are those of an earlier lot.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from chipmend.confidence.constraint import Accuracy, Drop
from chipmend.errors import LotError
from chipmend.faults.generate import Spatial, Uniform, check_lot_of, fault_map, rates_of
from chipmend.faults.lot_file import read_lot
from chipmend.faults.lots import Lot
from chipmend.faults.macs_at import MacsAt
from chipmend.faults.maps import Chip, check_fits
from chipmend.faults.stuck_at import StuckAt
from chipmend.hardware.array import Array
from chipmend.records import ByField, ByKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLot:
    """How the chips of a trial lot are made: as those of the lot are thought to come.

    Args:
        rate: Fault rate (base: per PE), or the two ends of the range in which each chip draws it.
        count: How many chips.
        spatial: How faults lie on a die.
        stuck: How stuck bits of the weight memory are drawn; none by default.
        macs: How stuck bits of datapaths are drawn, which nothing bypasses; none by default.
        until: What each chip has to reach; where it surely does, it is trained no further. A
            policy that promises coverage fills in the constraint.

    Raises:
        LotError: Rates that are none, or no chip.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    rate: float | tuple[float, float]
    count: int = 200
    spatial: Annotated[Spatial, ByKind()] = field(default_factory=Uniform)
    stuck: StuckAt | None = None
    macs: MacsAt | None = None
    until: Annotated[Drop | Accuracy, ByField("drop", "accuracy")] | None = None

    def __post_init__(self) -> None:
        check_lot_of(self.rate, self.count)

    @property
    def has_stuck_bits(self) -> bool:
        """Whether bits of its weight memories are stuck."""
        return self.stuck is not None

    @property
    def has_stuck_macs(self) -> bool:
        """Whether bits of its datapaths are stuck, which nothing bypasses."""
        return self.macs is not None

    def check_fits(self, array: Array) -> None:
        """Chips are made for whatever array there is."""

    def until_met(self, constraint: Drop | Accuracy) -> "TrialLot":
        """The lot with what its chips have to reach: this, unless it says so itself."""
        return self if self.until is not None else replace(self, until=constraint)

    def chip(self, array: Array, number: int, *, seed: int) -> Chip:
        """Make one of the chips.

        Args:
            array: The array; its memory states its words if bits are to be stuck.
            number: Which one.
            seed: The seed of the run.
        """
        name = f"trial/{number}"
        (rate,) = rates_of([name], check_lot_of(self.rate, self.count), seed, "fault rate")
        stuck = self.stuck
        if stuck is not None:
            (bit_rate,) = rates_of([name], stuck.ends, seed, "rate of stuck bits")
            stuck = replace(stuck, rate=bit_rate)
        faults = fault_map(
            array, rate, self.spatial, seed=seed, chip=name, stuck=stuck, macs=self.macs
        )
        return Chip(name, faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFile:
    """A trial lot of chips that are there: an earlier lot like those to come.

    Args:
        file: Its lot file; unrepairable chips in it do not count.
        until: What each chip has to reach, as in ``TrialLot``.
        digest: Of the file; filled in.

    Raises:
        LotError: It is no lot file, or all its chips are unrepairable.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    file: Path
    until: Annotated[Drop | Accuracy, ByField("drop", "accuracy")] | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", Path(self.file))
        if not self.count:
            raise LotError(
                f"the trial lot in {self.file}: every chip is unrepairable",
                hint="give an earlier lot of chips that can be mended",
            )
        object.__setattr__(self, "digest", _digest(self.file, _state(self.file)))

    @property
    def count(self) -> int:
        """Chips that are not unrepairable."""
        return len(self._numbers)

    @property
    def has_stuck_bits(self) -> bool:
        """Whether bits of its weight memories are stuck."""
        return self._lot.stuck is not None

    @property
    def has_stuck_macs(self) -> bool:
        """Whether bits of its datapaths are stuck, which nothing bypasses."""
        hit = set(self._lot.macs[0].tolist())
        return any(self._lot[number].faults.live for number in self._numbers if number in hit)

    def check_fits(self, array: Array) -> None:
        """Refuse chips of another array, or of another weight memory.

        Raises:
            FaultMapError: Says which.
        """
        check_fits((self._lot[number] for number in self._numbers), array)

    def until_met(self, constraint: Drop | Accuracy) -> "TrialFile":
        """The lot with what its chips have to reach: this, unless it says so itself."""
        return self if self.until is not None else TrialFile(file=self.file, until=constraint)

    def chip(self, array: Array, number: int, *, seed: int) -> Chip:  # noqa: ARG002
        """One of the chips.

        Args:
            array: The array, which it fits.
            number: Which one.
            seed: Nothing is drawn.
        """
        return self._lot[self._numbers[number]]

    @property
    def _lot(self) -> Lot:
        return _lot(self.file, _state(self.file))

    @property
    def _numbers(self) -> list[int]:
        return [number for number, card in enumerate(self._lot.cards) if not card.fatal]


def _state(path: Path) -> tuple[int, int]:
    """What tells whether a file was written again."""
    try:
        found = path.stat()
    except OSError as error:
        raise LotError(
            f"cannot read the trial lot: {error}", hint="give the lot file of an earlier lot"
        ) from error
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _lot(path: Path, state: tuple[int, int]) -> Lot:  # noqa: ARG001
    return read_lot(path)


@lru_cache(maxsize=2)
def _digest(path: Path, state: tuple[int, int]) -> str:  # noqa: ARG001
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
