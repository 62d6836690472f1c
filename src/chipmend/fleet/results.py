"""What jobs came to, by policy and chip; and chips whose shared network was given up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from chipmend.faults.maps import Chip
from chipmend.fleet.facts import ChipFacts
from chipmend.fleet.jobs import Job
from chipmend.fleet.ledger import Bin, ChipRecord
from chipmend.policy.protocol import Policy
from chipmend.records import rebuilt
from chipmend.repairs.cost import Cost

Found = dict[tuple[str, str], ChipRecord]
"""What became of chips, by policy and chip."""


def found_in(result: dict[str, Any], job: Job, policies: Sequence[Policy]) -> Found:
    """What a job came to.

    Args:
        result: What it left, or why it failed.
        job: The job.
        policies: Those of the campaign, in their places.
    """
    records = _failed(result["failed"], job, policies) if "failed" in result else None
    if records is None:
        records = rebuilt(list[ChipRecord], result["records"])
    return {(record.policy, record.chip): record for record in records}


def jobs_alone(
    found: Found,
    chips: Sequence[Chip],
    policies: Sequence[Policy],
    planned: Callable[[Sequence[Chip], Sequence[Policy]], list[Job]],
) -> list[Job]:
    """Jobs of chips whose shared network was given up: each by itself, if it has fewer faults.

    Args:
        found: What became of all chips.
        chips: The lot.
        policies: Those of the campaign, in their places.
        planned: Plans jobs of chips under policies.
    """
    jobs = []
    for chip in chips:
        records = [found.get((policy.name, chip.id)) for policy in policies]
        places = [place for place, record in enumerate(records) if _was_given_up(record)]
        for job in planned([chip], [policies[place] for place in places]) if places else []:
            groups = {
                places[at]: group
                for at, group in job.groups.items()
                if (record := records[places[at]]) and _has_fewer_faults(job, record)
            }
            if groups:
                jobs.append(replace(job, groups=groups))
    return jobs


def _was_given_up(record: ChipRecord | None) -> bool:
    return record is not None and record.bin == Bin.SCRAPPED and record.shared_by > 1


def _has_fewer_faults(alone: Job, shared: ChipRecord) -> bool:
    return (alone.effective_rate, alone.effective_bit_rate) != (
        shared.effective_rate,
        shared.effective_bit_rate,
    )


def after_sharing(alone: ChipRecord, shared: ChipRecord) -> ChipRecord:
    """A chip that was mended alone after sharing a network in vain, of which it bears its share."""
    cost = alone.cost + shared.cost / shared.shared_by
    before = f"a network that {shared.shared_by} chips were to share was given up"
    reason = f"{alone.reason}; {before}" if alone.reason else before
    return replace(alone, reason=reason, cost=cost, in_vain=shared.steps)


def unrepairable(policy: Policy, chip: ChipFacts) -> ChipRecord:
    """A chip that no policy is asked about."""
    return _nothing_done(chip.chip, policy, Bin.UNREPAIRABLE, chip.fatal, chip)


def _failed(reason: str, job: Job, policies: Sequence[Policy]) -> list[ChipRecord]:
    return [
        _nothing_done(chip, policies[place], Bin.FAILED, reason, job, shared_by=len(job.chips))
        for place in job.groups
        for chip in job.chips
    ]


def _nothing_done(
    chip: str, policy: Policy, where: Bin, reason: str, of: ChipFacts | Job, shared_by: int = 1
) -> ChipRecord:
    return ChipRecord(
        chip=chip,
        policy=policy.name,
        bin=where,
        reason=reason,
        fault_rate=of.fault_rate,
        effective_rate=of.effective_rate,
        effective_bit_rate=of.effective_bit_rate,
        steps=(),
        shared_by=shared_by,
        accuracy=None,
        met=False,
        cost=Cost(),
    )
