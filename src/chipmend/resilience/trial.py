"""A trial lot: chips made like those to come, by which coverage is promised.

Maps of an analysis are drawn at a few rates. What a policy promises of the chips of a lot has to be
measured on chips whose order among them would not matter: of the same rates, and lying alike.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

from chipmend.confidence.constraint import Accuracy, Drop
from chipmend.faults.generate import Spatial, Uniform, check_lot_of, fault_map, rates_of
from chipmend.faults.macs_at import MacsAt
from chipmend.faults.maps import Chip
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
