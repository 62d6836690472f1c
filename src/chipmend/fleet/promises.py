"""What policies promise of the chips that they ship, and whether the lot is like the trial lot."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from chipmend.confidence.constraint import Constraint
from chipmend.confidence.shift import Shift, can_tell, shifts
from chipmend.errors import PlanError
from chipmend.faults.maps import Chip, told_alike, told_apart
from chipmend.faults.traits import traits_of
from chipmend.hardware.array import Array
from chipmend.policy.protocol import Policy, Promises
from chipmend.resilience.table import ResilienceTable
from chipmend.resilience.trial import TrialFile, TrialLot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a policy promises.

    Args:
        coverage: Share of the chips concerned that is to meet the constraint.
        concerned: Which chips these are, in words.
        trial: Chips of the trial lot.
        shipped: Those of them that it would have concerned.
        missed: Those of these that would have missed the constraint, on validation.
        shifts: In what the lot is not like the trial lot; the promise does not hold for it then.
        too_few: Whether the lot, or the trial lot, has too few chips for any difference to show.
    """

    coverage: float
    concerned: str
    trial: int
    shipped: int
    missed: int
    shifts: tuple[Shift, ...] = ()
    too_few: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How much a lot is like a trial lot.

    Args:
        shifts: In what it is not.
        too_few: Whether there are too few chips for any difference to show.
    """

    shifts: tuple[Shift, ...] = ()
    too_few: bool = False


def likeness(
    trial: TrialFile | TrialLot, chips: Sequence[Chip], array: Array, seed: int
) -> Likeness:
    """Compare a lot with a trial lot by the maps alone, and warn where it is not like it.

    Args:
        trial: The trial lot.
        chips: The lot.
        array: The array; its memory states its words if bits are stuck.
        seed: The seed of the run.

    Raises:
        PlanError: Chips of the lot are in the trial lot.
    """
    known = [trial.chip(array, number, seed=seed) for number in range(trial.count)]
    _check_others(known, chips)
    maps = [chip.faults for chip in known]
    found = [chip.faults for chip in chips if not chip.faults.fatal]
    if not found:
        return Likeness()
    traits = traits_of(maps), traits_of(found)
    differ, too_few = tuple(shifts(*traits)), not can_tell(*traits)
    if too_few:
        logger.warning(
            "%d chips beside a trial lot of %d are too few to tell whether the lot is like it",
            len(found),
            len(maps),
        )
    for shift in differ:
        logger.warning(
            "the lot is not like the trial lot, and what was promised by it does not hold: "
            "%s of %.3g (median), and of %.3g in the trial lot",
            shift.trait,
            shift.found,
            shift.promised,
        )
    return Likeness(shifts=differ, too_few=too_few)


def _check_others(known: Sequence[Chip], chips: Sequence[Chip]) -> None:
    """Refuse to promise something of chips by themselves."""
    by_name = {chip.id: chip for chip in known}
    same = [chip.id for chip in chips if chip.id in by_name and _is_one(chip, by_name[chip.id])]
    if same:
        raise PlanError(
            f"{len(same)} chips of the lot are in its trial lot as well, as {same[0]}: what is "
            "promised by chips is promised of others",
            hint="give an earlier lot for analysis.trial.file",
        )


def _is_one(chip: Chip, other: Chip) -> bool:
    """Whether two chips of one name are one die, as far as one can tell."""
    if told_alike(chip, other):
        return True
    broken = chip.faults.unusable.any() or chip.faults.needs_codes
    alike = chip.faults.digest() == other.faults.digest()
    return bool(broken and alike and not told_apart(chip, other))


def promising(policies: Sequence[Policy]) -> list[Promises]:
    """The policies that promise a coverage."""
    return [p for p in policies if isinstance(p, Promises) and p.coverage is not None]


def promise(
    policy: Promises, constraint: Constraint, table: ResilienceTable, like: Likeness
) -> Promise:
    """What a policy promises.

    Args:
        policy: One that promises a coverage.
        constraint: What chips are to meet.
        table: Its table, with a trial lot.
        like: How much the lot is like that.
    """
    kept = policy.promised(constraint, table)
    assert policy.coverage is not None
    return Promise(
        coverage=policy.coverage,
        concerned=policy.concerned,
        trial=len(table.trial),
        shipped=kept.shipped,
        missed=kept.missed,
        shifts=like.shifts,
        too_few=like.too_few,
    )
