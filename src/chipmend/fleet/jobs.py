"""The jobs of a campaign: what all policies planned for the same chips is one job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Int64

from chipmend.confidence.constraint import Constraint
from chipmend.errors import ChipmendError, LotError, PlanError
from chipmend.faults.maps import Chip, FaultMap, check_fits, fused
from chipmend.faults.stuck import StuckBits
from chipmend.fleet.executor import reason_of
from chipmend.hardware.array import Array
from chipmend.hardware.memory import Filled
from chipmend.policy.protocol import Die, Group, Policy
from chipmend.repairs.prune import effective_rate
from chipmend.resilience.table import ResilienceTable


@dataclass(frozen=True, eq=False)
class Job:
    """Chips that share a fault map, and what each policy planned for them.

    Args:
        dies: The chips, by their identities.
        faults: What is broken on any of them.
        effective_rate: Share of the network's weights on faulty PEs (base: per weight).
        groups: The group by the place of its policy.
        effective_bit_rate: Share of the bits of the network's weights that are stuck.
        broken: What is broken on them indeed, by their identities, where the maps do not say.
    """

    dies: tuple[Chip, ...]
    faults: FaultMap
    effective_rate: float
    groups: dict[int, Group]
    effective_bit_rate: float = 0.0
    broken: Mapping[str, FaultMap] = field(default_factory=dict)

    @property
    def chips(self) -> tuple[str, ...]:
        """Identities of the chips, sorted."""
        return tuple(die.id for die in self.dies)

    def on(self, die: Chip) -> FaultMap:
        """What is broken on one of the chips indeed."""
        return self.broken.get(die.id, die.faults)

    @property
    def fault_rate(self) -> float:
        """Share of faulty PEs (base: per PE)."""
        return self.faults.rate

    @property
    def needs_codes(self) -> bool:
        """Whether something is broken, told or not, that only networks of whole numbers meet."""
        return any(faults.needs_codes for faults in (self.faults, *self.broken.values()))

    @property
    def key(self) -> str:
        """Name of the job, the same in every run of the same plan; no identity has a line break."""
        return "\n".join(self.chips)


def planned_jobs(
    chips: Sequence[Chip],
    policies: Sequence[Policy],
    constraint: Constraint,
    tables: Mapping[str, ResilienceTable],
    per_pe: Int64[np.ndarray, "rows cols"],
    filled: Filled | None = None,
    broken: Mapping[str, FaultMap] | None = None,
    *,
    in_codes: bool | None = None,
    exchangeable: bool = True,
) -> list[Job]:
    """Ask all policies for their groups, and put those of the same chips into one job.

    Args:
        chips: The lot; a fatal chip is nobody's to plan for.
        policies: Who decides.
        constraint: What each chip has to reach.
        tables: The table of each policy that goes by one, by its name.
        per_pe: Weights of the network on each PE.
        filled: Where its weights lie in the weight memory; not needed if no chip has stuck bits.
        broken: What is broken on chips indeed, by their identities, where their maps do not say.
        in_codes: Whether networks of the lot ship as codes, where these are not all of its chips.
        exchangeable: Whether the lot may be taken to be like a trial lot.

    Returns:
        The jobs, in the order in which their groups were first planned.

    Raises:
        PlanError: A policy raised, or did not put every chip into exactly one group.
    """
    dies = [
        Die(
            chip,
            effective_rate(per_pe, chip.faults.unusable),
            rate_among(filled, chip.faults.stuck),
            per_pe,
            in_codes,
        )
        for chip in chips
        if not chip.faults.fatal
    ]
    planned: dict[tuple[str, ...], dict[int, Group]] = {}
    for place, policy in enumerate(policies):
        for group in _planned(policy, dies, constraint, tables.get(policy.name)):
            alike = exchangeable and group.exchangeable
            key = tuple(sorted(group.chips))
            planned.setdefault(key, {})[place] = replace(group, exchangeable=alike)
    by_id = {chip.id: chip for chip in chips}
    return [
        _job([by_id[i] for i in ids], groups, per_pe, filled, broken or {})
        for ids, groups in planned.items()
    ]


def rate_among(filled: Filled | None, stuck: StuckBits | None) -> float:
    """Share of the bits of the network's weights that are stuck (base: per bit)."""
    return 0.0 if filled is None or stuck is None else stuck.rate_among(filled)


def _job(
    chips: Sequence[Chip],
    groups: dict[int, Group],
    per_pe: Int64[np.ndarray, "rows cols"],
    filled: Filled | None,
    broken: Mapping[str, FaultMap],
) -> Job:
    faults = fused(*(chip.faults for chip in chips))
    return Job(
        dies=tuple(chips),
        faults=faults,
        effective_rate=effective_rate(per_pe, faults.unusable),
        groups=groups,
        effective_bit_rate=rate_among(filled, faults.stuck),
        broken={chip.id: broken[chip.id] for chip in chips if chip.id in broken},
    )


def check_chips(chips: Sequence[Chip], array: Array) -> None:
    """Refuse a lot that cannot be mended as a whole.

    Raises:
        LotError: No chips, or one identity twice.
        FaultMapError: Chips of another array, or of another weight memory.
    """
    if isinstance(chips, Chip | str):
        raise LotError(f"{chips!r} is no lot", hint="give a list of chips, or read_chips(path)")
    if not len(chips):
        raise LotError("there are no chips to mend", hint="give a lot of at least one chip")
    check_fits(chips, array)
    double = sorted(i for i, times in Counter(chip.id for chip in chips).items() if times > 1)
    if double:
        raise LotError(f"chips of the same identity: {', '.join(double)}", hint="rename them")


def check_truth(chips: Sequence[Chip], truth: Sequence[Chip], array: Array) -> None:
    """Refuse what is said to be broken of other chips than those of the lot.

    Raises:
        LotError: Other chips, or another order.
        FaultMapError: Chips of another array.
    """
    check_fits(truth, array)
    if [chip.id for chip in chips] != [chip.id for chip in truth]:
        raise LotError(
            "what is broken is told of other chips than those of the lot",
            hint="give truth for the same chips, in the same order",
        )


def _planned(
    policy: Policy, dies: Sequence[Die], constraint: Constraint, table: ResilienceTable | None
) -> list[Group]:
    try:
        groups = policy.plan(dies, constraint, table)
        chips = [chip for group in groups for chip in group.chips]
    except ChipmendError:
        raise
    except Exception as error:
        raise PlanError(
            f"{policy.name}: plan() raised {reason_of(error)}", hint="mend the policy"
        ) from error
    _check_covers(policy, chips, dies)
    return groups


def _check_covers(policy: Policy, planned: list[str], dies: Sequence[Die]) -> None:
    if sorted(planned) != sorted(die.chip.id for die in dies):
        raise PlanError(
            f"{policy.name} did not put every chip into exactly one group",
            hint="mend the policy's plan(): each die belongs to one group",
        )
