"""What policies promise of the chips that they ship, and whether the lot is like the trial lot."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chipmend.confidence.constraint import Constraint
from chipmend.confidence.shift import Shift, can_tell, shifts
from chipmend.faults.maps import Chip
from chipmend.faults.traits import traits_of
from chipmend.hardware.array import Array
from chipmend.policy.protocol import Policy, Promises
from chipmend.resilience.table import ResilienceTable
from chipmend.resilience.trial import TrialLot

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


def promises_of(
    policies: Sequence[Policy],
    constraint: Constraint,
    tables: Mapping[str, ResilienceTable],
    trial: TrialLot | None,
    chips: Sequence[Chip],
    array: Array,
    seed: int,
) -> dict[str, Promise]:
    """What each policy promises, by its name; those that promise nothing are left out.

    Args:
        policies: The policies.
        constraint: What chips are to meet.
        tables: The table of each policy that goes by one.
        trial: The trial lot of the analysis.
        chips: The lot.
        array: The array; its memory states its words if bits are stuck.
        seed: The seed of the run.
    """
    promising = [p for p in policies if isinstance(p, Promises) and p.coverage is not None]
    if trial is None or not promising:
        return {}
    maps = [trial.chip(array, number, seed=seed).faults for number in range(trial.count)]
    found = [chip.faults for chip in chips if not chip.faults.fatal]
    if not found:
        return {p.name: _promise(p, constraint, tables[p.name]) for p in promising}
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
    told = {p.name: _promise(p, constraint, tables[p.name]) for p in promising}
    return {name: replace(p, shifts=differ, too_few=too_few) for name, p in told.items()}


def _promise(policy: Promises, constraint: Constraint, table: ResilienceTable) -> Promise:
    kept = policy.promised(constraint, table)
    assert policy.coverage is not None
    return Promise(
        coverage=policy.coverage,
        concerned=policy.concerned,
        trial=len(table.trial),
        shipped=kept.shipped,
        missed=kept.missed,
    )
