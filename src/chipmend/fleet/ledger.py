"""What became of every chip, and what everything cost: records, and sums over them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from chipmend.bundle.verification import Verified
from chipmend.recipes import is_patched, retrained_epochs
from chipmend.repairs.cost import Cost
from chipmend.steps import Recipe

FLEETS = (100, 1000, 5000)
"""Numbers of chips over which the cost of the analysis is spread in reports."""


class Bin(StrEnum):
    """Where a chip ends up."""

    KEPT = "kept"
    PATCHED = "patched"
    PRUNED = "pruned"
    REPAIRED = "repaired"
    RETRAINED = "retrained"
    SCRAPPED = "scrapped"
    UNREPAIRABLE = "unrepairable"
    FAILED = "failed"


MEANINGS = {
    Bin.KEPT: "keeps the network that it was shipped before",
    Bin.PATCHED: "ships the network that it was shipped before, patched for new faults",
    Bin.PRUNED: "ships with its faulty PEs bypassed and nothing else done",
    Bin.REPAIRED: "ships after repair without a training step",
    Bin.RETRAINED: "ships after retraining, be it of what it was shipped before",
    Bin.SCRAPPED: "given up by the policy",
    Bin.UNREPAIRABLE: "has a fatal fault, such as a dead clock",
    Bin.FAILED: "the computation failed, not the chip",
}
"""What each bin means, for people."""

SHIPPED = (Bin.KEPT, Bin.PATCHED, Bin.PRUNED, Bin.REPAIRED, Bin.RETRAINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPoint:
    """Test accuracy at one amount along a chip's retraining: hindsight, for the report alone.

    Args:
        epochs: The amount.
        accuracy: Test accuracy there.
        met: Whether the constraint is met there, on the test split.
        ee: What it costs to get there.
    """

    epochs: float
    accuracy: float
    met: bool
    ee: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedBundle:
    """What ships to a chip.

    Args:
        folder: The bundle's folder, from the run folder.
        digest: Its digest.
        bytes: How large it is, without its manifest.
        full: How large a copy of the whole network would be.
        verified: What it came to on the chip; none if it was not among those that were verified.
    """

    folder: str
    digest: str
    bytes: int
    full: int
    verified: Verified | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipRecord:
    """One chip under one policy.

    Args:
        chip: Identity of the chip.
        policy: Name of the policy.
        bin: Where the chip ended up.
        reason: Why, if the policy or an error said.
        fault_rate: Share of faulty PEs (base: per PE).
        effective_rate: Share of the network's weights on faulty PEs (base: per weight).
        steps: What was done.
        shared_by: Chips that share the network, and the cost.
        accuracy: Test accuracy of the network that ships; none if none does.
        met: Whether that network meets the constraint on the test split.
        cost: What was spent on the group that the chip belongs to.
        effective_bit_rate: Share of the bits of the network's weights that are stuck.
        bundle: What ships; none if nothing does, or no bundles were asked for.
        in_vain: What was done before with a network that the chip was to share, and that was given
            up; its share of that is in the cost.
    """

    chip: str
    policy: str
    bin: Bin
    reason: str
    fault_rate: float
    effective_rate: float
    steps: Recipe
    shared_by: int
    accuracy: float | None
    met: bool
    cost: Cost
    effective_bit_rate: float = 0.0
    bundle: ShippedBundle | None = None
    in_vain: Recipe = ()

    @property
    def ee(self) -> float:
        """This chip's share of the cost, in epoch-equivalents."""
        return self.cost.ee / self.shared_by

    @property
    def epochs(self) -> float:
        """Epochs of retraining in this run; none of those before it."""
        return 0.0 if self.bin == Bin.KEPT else retrained_epochs(self.steps)

    @property
    def is_trained_on(self) -> bool:
        """Whether what ships was trained on from what the chip was shipped before."""
        return self.bin == Bin.RETRAINED and is_patched(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySum:
    """What a policy came to over a lot.

    Args:
        policy: Its name.
        chips: Chips in the lot.
        met: Chips that shipped and meet the constraint on the test split.
        shipped: Chips that shipped.
        scrapped: Chips that did not, failures among them.
        bins: Chips by bin.
        accuracy_mean: Mean test accuracy of the networks that ship; none if none does.
        accuracy_min: The least of them.
        ee: Epoch-equivalents spent on the chips, in all.
        ee_analysis: Epoch-equivalents of the resilience analysis, if the policy needs it.
        ee_shared: Epoch-equivalents of hardening, calibration and the clean network's scores, for
            all chips.
        ee_overspent: Spent beyond the least amount of the analysis' kind of retraining that would
            have met the constraint, over the chips that met it and whose path was measured; none if
            none was.
        judged: How many chips these are.
        seconds: Worker seconds spent on the chips.
        seconds_analysis: Worker seconds of the analysis, if the policy needs it.
        seconds_shared: Worker seconds of the same.
    """

    policy: str
    chips: int
    met: int
    shipped: int
    scrapped: int
    bins: dict[str, int]
    accuracy_mean: float | None
    accuracy_min: float | None
    ee: float
    ee_analysis: float
    ee_shared: float
    ee_overspent: float | None
    judged: int
    seconds: float
    seconds_analysis: float
    seconds_shared: float

    @property
    def ee_per_chip(self) -> float:
        """Epoch-equivalents per chip, without what chips share."""
        return self.ee / self.chips

    @property
    def ee_overspent_per_chip(self) -> float | None:
        """Overspent epoch-equivalents per chip that met the constraint; none if none did."""
        return None if self.ee_overspent is None else self.ee_overspent / self.judged

    def ee_per_chip_of(self, fleet: int) -> float:
        """Epoch-equivalents per chip with analysis and calibration spread over a fleet."""
        return self.ee_per_chip + (self.ee_analysis + self.ee_shared) / fleet


def sum_up(
    records: Sequence[ChipRecord],
    paths: Mapping[str, Sequence[PathPoint]],
    analysis: Cost,
    shared: Cost,
) -> PolicySum:
    """Sum a policy's records up.

    Args:
        records: One for every chip of the lot, all of one policy.
        paths: Hindsight along the retraining, by chip, where it was measured.
        analysis: What the analysis cost this policy; nothing if it needs none.
        shared: What hardening, calibration and the clean network's scores cost, which all its chips
            share.

    Returns:
        The sums.
    """
    shipped = [r for r in records if r.bin in SHIPPED]
    accuracies = [r.accuracy for r in shipped if r.accuracy is not None]
    overspent = [o for r in shipped if (o := overspent_ee(r, paths.get(r.chip, ()))) is not None]
    return PolicySum(
        policy=records[0].policy,
        chips=len(records),
        met=sum(r.met for r in shipped),
        shipped=len(shipped),
        scrapped=len(records) - len(shipped),
        bins=dict(Counter(str(r.bin) for r in records)),
        accuracy_mean=sum(accuracies) / len(accuracies) if accuracies else None,
        accuracy_min=min(accuracies, default=None),
        ee=sum(r.ee for r in records),
        ee_analysis=analysis.ee,
        ee_shared=shared.ee,
        ee_overspent=sum(overspent) if overspent else None,
        judged=len(overspent),
        seconds=sum(r.cost.seconds / r.shared_by for r in records),
        seconds_analysis=analysis.seconds,
        seconds_shared=shared.seconds,
    )


def overspent_ee(record: ChipRecord, path: Sequence[PathPoint]) -> float | None:
    """What a chip cost beyond the least amount that would have met the constraint.

    Args:
        record: The chip under a policy.
        path: Hindsight along its retraining.

    Returns:
        Epoch-equivalents, at least 0; none if the chip misses the constraint or nothing was
        measured on the way that meets it.
    """
    least = next((point.ee for point in path if point.met), None)
    return None if least is None or not record.met else max(0.0, record.ee - least)
