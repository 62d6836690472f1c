"""An earlier run whose chips are mended again: what it shipped, and to which fault maps."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from chipmend.bundle import Base, Bundle, read_base, read_bundle
from chipmend.bundle.base import base_beside
from chipmend.bundle.bundle import ForChip
from chipmend.confidence.constraint import Constraint
from chipmend.errors import BundleError, LotError, PlanError
from chipmend.faults.maps import Chip, told_apart
from chipmend.faults.screening import Margin
from chipmend.fleet.fingerprint import described
from chipmend.fleet.ledger import SHIPPED, Bin, ChipRecord
from chipmend.fleet.outcome import Earlier, Outcome, read_outcome
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.network.tensors import digest_of_tensors, own_tensors, same_tensors
from chipmend.policy.protocol import Policy
from chipmend.policy.remend import Before, Remend
from chipmend.repairs.cost import Cost
from chipmend.repairs.patch import Shipped
from chipmend.steps import Patch, Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastBundle:
    """What a chip was shipped.

    Args:
        folder: The bundle's folder.
        base: The folder of its base.
        digest: Its digest.
        faults: Digest of the fault map that it was made for.
        steps: What had been done.
        in_codes: Whether its network is one of whole numbers.
        ee: What the chip had cost, in epoch-equivalents.
    """

    folder: Path
    base: Path
    digest: str
    faults: str
    steps: Recipe
    in_codes: bool
    ee: float

    @property
    def patch(self) -> Patch:
        """The step that goes on from it."""
        return Patch(bundle=self.digest, in_codes=self.in_codes)

    def read(self) -> tuple[Shipped, Base]:
        """The network, and the base that it differs from.

        Raises:
            BundleError: It was damaged, or is another one than it was.
        """
        bundle = read_bundle(self.folder)
        if bundle.digest != self.digest:
            raise BundleError(
                f"{self.folder} is another one than was found there before",
                hint="leave the earlier run as it is while its chips are mended again",
            )
        base, digest = _base(self.base)
        repair = bundle.repair(base, digest)
        shipped = Shipped(
            steps=bundle.steps,
            faults=bundle.faults,
            tensors=repair.tensors,
            codes=repair.codes,
            lowering=base.lowering if bundle.in_codes else None,
            moved=(base.couplings, repair.positions) if repair.positions else None,
        )
        return shipped, base


@dataclass(frozen=True, kw_only=True)
class Since:
    """An earlier run.

    Args:
        run: Its folder.
        outcome: What it came to.
        bundles: What it shipped, by the chips that are mended again.
        start: Parameters and buffers of the network that its repairs started from.
    """

    run: Path
    outcome: Outcome
    bundles: Mapping[str, LastBundle] = field(default_factory=dict)
    start: Mapping[str, Tensor] = field(default_factory=dict)

    def fingerprint(self) -> dict[str, str]:
        """What the results of a run depend on that goes on from this one."""
        return {chip: bundle.digest for chip, bundle in self.bundles.items()}

    def in_short(self) -> Earlier:
        """The run as outcomes name it."""
        return Earlier(run=str(self.run), ee={chip: b.ee for chip, b in self.bundles.items()})

    def around(self, policies: Sequence[Policy]) -> tuple[Policy, ...]:
        """Policies whose chips go on from what they were shipped."""
        facts = {chip.chip: chip for chip in self.outcome.chips}
        before = {
            chip: Before(
                patch=bundle.patch,
                steps=bundle.steps,
                effective_rate=facts[chip].effective_rate,
                effective_bit_rate=facts[chip].effective_bit_rate,
            )
            for chip, bundle in self.bundles.items()
        }
        return tuple(Remend(policy, before) for policy in policies)

    def has_shown(
        self, task: str, constraint: Constraint, policies: Sequence[Policy], margin: Margin | None
    ) -> bool:
        """Whether what the run has shown of its chips is what is to be shown now.

        Args:
            task: Digest of the network and its data.
            constraint: What each chip has to reach.
            policies: Who decides.
            margin: What decisions allow for.
        """
        then = self.outcome
        if any(chip.missed_rate is not None for chip in then.chips):
            return False  # accuracies were read with what was broken indeed
        now = {policy.name: described(policy) for policy in policies}
        wanted = task, constraint, now, _unhardened(margin)
        return wanted == (then.task, then.constraint, then.policies, _unhardened(then.margin))

    def is_as_it_was(self, chip: Chip) -> bool:
        """Whether a chip's fault map is the one that its network was made for."""
        last = self.bundles.get(chip.id)
        return last is not None and last.faults == chip.faults.digest()

    def kept(self, chips: Sequence[Chip]) -> dict[str, ChipRecord]:
        """What becomes of chips whose fault maps are those that their networks were made for.

        Nothing is done with them, and they keep their bundles to the last bit.
        """
        records = {record.chip: record for record in self.outcome.records}
        facts = {chip.chip: chip for chip in self.outcome.chips}
        return {
            chip.id: replace(
                records[chip.id],
                bin=Bin.KEPT,
                reason="its fault map is as it was",
                fault_rate=facts[chip.id].fault_rate,
                effective_rate=facts[chip.id].effective_rate,
                shared_by=1,
                cost=Cost(),
            )
            for chip in filter(self.is_as_it_was, chips)
        }


def check_since(since: str | Path, run: str | Path | None, policies: Sequence[Policy]) -> None:
    """Refuse an earlier run that this one would write over, or more than one policy.

    Raises:
        PlanError: Says which.
    """
    if run is not None and Path(since).resolve() == Path(run).resolve():
        raise PlanError(
            f"chips are to be mended again in {run}, the very run that they go on from",
            hint="give this run a folder of its own",
        )
    if len(policies) > 1:
        raise PlanError(
            f"chips are to be mended again under {len(policies)} policies",
            hint="give one: what each chip is shipped goes on from what it was shipped",
        )


def read_since(
    run: str | Path,
    chips: Sequence[Chip],
    array: Array,
    task: Task,
    truth: Sequence[Chip] | None = None,
) -> Since:
    """Read what an earlier run shipped to the chips of a lot.

    Args:
        run: The earlier run's folder.
        chips: The lot, with the fault maps of now.
        array: The array and its placement.
        task: The clean network and its data.
        truth: The same chips with what is broken indeed, where their maps do not say.

    Raises:
        StoreError: It is no folder of a finished run.
        PlanError: It was of another array or another network, or nothing was shipped.
        BundleError: A bundle was damaged.
        LotError: A chip's fault map is older than the one that the run had, or the chip is another
            die of the same name.
    """
    outcome, folder = read_outcome(run), Path(run)
    records = {r.chip: r for r in outcome.records if r.bin in SHIPPED and r.bundle is not None}
    if not records:
        raise _nothing_shipped(outcome, folder)
    found, versions = {}, {chip.chip: chip.version for chip in outcome.chips}
    for chip, broken in zip(chips, truth or chips, strict=True):
        _check_not_older(chip, versions.get(chip.id, 0), folder)
        record = records.get(chip.id)
        if record is None or chip.faults.fatal:
            continue
        last, bundle = _last(folder, record)
        _check_same_die(chip, bundle)
        if last.in_codes or not (chip.faults.needs_codes or broken.faults.needs_codes):
            found[chip.id] = last
    bases = [_base(path)[0] for path in sorted({last.base for last in found.values()})]
    start = _start(outcome, bases, own_tensors(task.model), folder)
    for base in bases:
        _check_same_array(base, array, folder)
        _check_same_network(base, start, folder)
    if new := len(chips) - len(found):
        logger.warning(
            "%d of %d chips have nothing of %s to go on from, and are mended anew",
            new,
            len(chips),
            run,
        )
    return Since(run=folder, outcome=outcome, bundles=found, start=start)


def _last(folder: Path, record: ChipRecord) -> tuple[LastBundle, Bundle]:
    """What a chip was shipped."""
    assert record.bundle is not None
    path = folder / record.bundle.folder
    bundle = read_bundle(path)
    if bundle.digest != record.bundle.digest:
        raise BundleError(
            f"{path} is another one than the run in {folder} wrote",
            hint="put it back, or mend the lot anew, without 'since'",
        )
    last = LastBundle(
        folder=path,
        base=base_beside(path, bundle.base),
        digest=bundle.digest,
        faults=bundle.faults,
        steps=bundle.steps,
        in_codes=bundle.in_codes,
        ee=record.ee,
    )
    return last, bundle


@lru_cache(maxsize=4)
def _base(folder: Path) -> tuple[Base, str]:
    return read_base(folder)


def _nothing_shipped(outcome: Outcome, run: Path) -> PlanError:
    """Why there is nothing to go on from."""
    if any(record.bin in SHIPPED for record in outcome.records):
        return PlanError(
            f"the run in {run} made no bundles of what it shipped",
            hint="give the run folder of 'chipmend mend': 'chipmend compare' makes none",
        )
    return PlanError(
        f"no chip was shipped anything by the run in {run}",
        hint="give the run before it, if there was one, or mend the lot anew, without 'since'",
    )


def _check_same_die(chip: Chip, bundle: Bundle) -> None:
    """Refuse another die that has the same name, as far as both are told."""
    if told_apart(chip, bundle.chip):
        raise LotError(
            f"chip {chip.id} of the lot is another die than the one that {bundle.path} is for: "
            f"{_where(chip)}, and {_where(bundle.chip)}",
            hint="name dies of different lots or wafers differently, or leave out 'since'",
        )


def _where(die: Chip | ForChip) -> str:
    told = {"lot": die.lot, "wafer": die.wafer, "x": die.x, "y": die.y}
    return ", ".join(f"{name} {at}" for name, at in told.items() if at not in ("", None))


def _check_not_older(chip: Chip, version: int, folder: Path) -> None:
    """Refuse a map of an earlier test than the run's, whatever became of the chip there."""
    if chip.faults.version < version:
        raise LotError(
            f"chip {chip.id} comes with version {chip.faults.version} of its fault map, and the "
            f"run in {folder} was for version {version}",
            hint="give every chip's latest test, its version counted on",
        )


def _check_same_array(base: Base, now: Array, folder: Path) -> None:
    """Refuse another array; its memory counts where weights are codes."""
    earlier = base.array
    same = now if base.lowering is not None else replace(now, memory=earlier.memory)
    if earlier != same:
        raise PlanError(
            f"the run in {folder} was for another array: {earlier}, where this one is {now}",
            hint="give the array that the chips were mended for, or leave out 'since'",
        )


def _unhardened(margin: Margin | None) -> Margin | None:
    """What looks allow for: chips that go on keep the network that was hardened, or was not."""
    return None if margin is None else replace(margin, harden=0.0)


def _start(
    outcome: Outcome, bases: Sequence[Base], clean: Mapping[str, Tensor], folder: Path
) -> Mapping[str, Tensor]:
    """What repairs of an earlier run started from: the clean network, or that one hardened."""
    if not (outcome.hardened_from and bases):
        return clean
    if outcome.hardened_from != digest_of_tensors(clean):
        raise _another_network(folder)
    return bases[0].tensors


def _check_same_network(base: Base, start: Mapping[str, Tensor], folder: Path) -> None:
    if not same_tensors(base.tensors, start):
        raise _another_network(folder)


def _another_network(folder: Path) -> PlanError:
    return PlanError(
        f"the run in {folder} mended another network than the plan has",
        hint="give the network that the chips were shipped, or leave out 'since'",
    )
