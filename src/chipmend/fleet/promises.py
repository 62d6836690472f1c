"""What policies promise of the chips that they ship, and whether the lot is like the trial lot."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chipmend.confidence.constraint import Constraint
from chipmend.confidence.shift import Shift, shifts
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
    """

    coverage: float
    concerned: str
    trial: int
    shipped: int
    missed: int
    shifts: tuple[Shift, ...] = ()


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
    differ = tuple(shifts(traits_of(maps), traits_of(found))) if found else ()
    for shift in differ:
        logger.warning(
            "the lot is not like the trial lot, and what was promised by it does not hold: "
            "%s of %.3g (median), and of %.3g in the trial lot",
            shift.trait,
            shift.found,
            shift.promised,
        )
    return {
        policy.name: _promise(policy, constraint, tables[policy.name], differ)
        for policy in promising
    }


def _promise(
    policy: Promises, constraint: Constraint, table: ResilienceTable, differ: tuple[Shift, ...]
) -> Promise:
    kept = policy.promised(constraint, table)
    assert policy.coverage is not None
    return Promise(
        coverage=policy.coverage,
        concerned=policy.concerned,
        trial=len(table.trial),
        shipped=kept.shipped,
        missed=kept.missed,
        shifts=differ,
    )
