"""What jobs came to, and which chips are mended alone after sharing a network in vain."""

from dataclasses import replace

import numpy as np
import pytest

from chipmend.faults import Chip, FaultMap
from chipmend.fleet import Bin
from chipmend.fleet.jobs import planned_jobs
from chipmend.fleet.ledger import ChipRecord
from chipmend.fleet.results import after_sharing, found_in, jobs_alone
from chipmend.policy import FixedSteps, Group
from chipmend.records import plain
from chipmend.repairs.cost import Cost
from chipmend.steps import Measure, Prune
from contracts.policy_contract import CONSTRAINT

PER_PE = np.ones((4, 4), np.int64)


class Together(FixedSteps):
    """All chips share a network, unless one is planned for by itself."""

    def plan(self, dies, constraint, table):
        return [Group(chips=tuple(die.chip.id for die in dies))]


POLICIES = (Together(label="one"), Together(label="other"))


def chip(name, *pes):
    faulty = np.zeros((4, 4), bool)
    faulty.ravel()[list(pes)] = True
    return Chip(name, FaultMap.of_pes(faulty))


LOT = [chip("a", 0), chip("b", 0, 1), chip("c", 0)]


def planned(chips, policies):
    return planned_jobs(chips, policies, CONSTRAINT, {}, PER_PE)


def record(name, policy, where, **more):
    given = {"steps": (), "shared_by": 3, "accuracy": None, "met": False, "cost": Cost()}
    rates = {"fault_rate": 2 / 16, "effective_rate": 2 / 16}
    return ChipRecord(chip=name, policy=policy, bin=where, reason="", **{**given, **rates, **more})


def found(where, **more):
    return {
        (policy.name, each.id): record(each.id, policy.name, where, **more)
        for policy in POLICIES
        for each in LOT
    }


def test_what_a_job_left_is_found_by_policy_and_chip():
    (job,) = planned(LOT, POLICIES)
    wanted = found(Bin.REPAIRED)
    assert found_in({"records": plain(list(wanted.values()))}, job, POLICIES) == wanted


def test_a_job_that_failed_fails_all_its_chips():
    (job,) = planned(LOT, POLICIES)
    came_to = found_in({"failed": "memory ran out"}, job, POLICIES)
    assert came_to.keys() == found(Bin.FAILED).keys()
    for each in came_to.values():
        assert (each.bin, each.reason, each.shared_by) == (Bin.FAILED, "memory ran out", 3)
        assert each.effective_rate == 2 / 16


def test_chips_with_fewer_faults_than_their_group_are_mended_alone_where_it_was_given_up():
    came_to = found(Bin.SCRAPPED)
    came_to["one", "a"] = record("a", "one", Bin.RETRAINED)
    jobs = jobs_alone(came_to, LOT, POLICIES, planned)
    assert [(job.chips, sorted(job.groups)) for job in jobs] == [(("a",), [1]), (("c",), [0, 1])]


@pytest.mark.parametrize(
    ("where", "more"), [(Bin.SCRAPPED, {"shared_by": 1}), (Bin.FAILED, {}), (Bin.RETRAINED, {})]
)
def test_no_other_chips_are(where, more):
    assert jobs_alone(found(where, **more), LOT, POLICIES, planned) == []


def test_a_chip_bears_its_share_of_what_was_done_in_vain():
    shared = record("a", "one", Bin.SCRAPPED, cost=Cost(retrain=3.0), steps=(Prune(), Measure()))
    alone = replace(
        record("a", "one", Bin.PRUNED, cost=Cost(retrain=0.5, measure=0.25), steps=(Prune(),)),
        shared_by=1,
        reason="it holds",
    )
    after = after_sharing(alone, shared)
    assert after.cost == Cost(retrain=1.5, measure=0.25)
    assert (after.steps, after.in_vain) == ((Prune(),), (Prune(), Measure()))
    assert after.reason == "it holds; a network that 3 chips were to share was given up"
