from dataclasses import dataclass, replace

import numpy as np
import pytest

from campaigns import ARRAY, CONSTRAINT, chips
from chipmend.errors import FaultMapError, LotError, PlanError
from chipmend.faults import Chip, FaultMap, StuckBits
from chipmend.fleet.jobs import check_chips, planned_jobs
from chipmend.policy import Fixed, FixedSteps, Group
from chipmend.repairs.prune import effective_rate, weights_per_pe


@dataclass(frozen=True)
class Grouping:
    """Groups chips as it is told."""

    groups: tuple
    name: str = "grouping"

    def analysis(self, usual, constraint):
        return None

    def plan(self, dies, constraint, table):
        return [Group(chips=group) for group in self.groups]


@pytest.fixture(scope="module")
def per_pe(task):
    return weights_per_pe(task.model, ARRAY)


def jobs(per_pe, *policies, lot=None):
    return planned_jobs(chips() if lot is None else lot, policies, CONSTRAINT, {}, per_pe)


def map_of(*faulty, fatal=""):
    pes = np.zeros((8, 8), bool)
    for row, col in faulty:
        pes[row, col] = True
    return FaultMap(rows=8, cols=8, faulty_pes=pes, fatal=fatal)


def test_what_all_policies_planned_for_a_chip_is_one_job(per_pe):
    found = jobs(per_pe, FixedSteps(), Fixed(epochs=0.5))
    assert [job.chips for job in found] == [("c0",), ("c1",), ("c2",), ("c3",)]
    assert [job.key for job in found] == ["c0", "c1", "c2", "c3"]
    for job in found:
        assert {place: group.epochs for place, group in job.groups.items()} == {0: 0.0, 1: 0.5}


def test_a_group_has_the_faults_of_all_of_its_chips(per_pe):
    lot = [Chip("a", map_of((0, 0))), Chip("b", map_of((0, 1), (2, 2))), Chip("c", map_of())]
    pair, single = jobs(per_pe, Grouping((("a", "b"), ("c",))), lot=lot)
    assert np.argwhere(pair.faults.unusable).tolist() == [[0, 0], [0, 1], [2, 2]]
    assert pair.fault_rate == 3 / 64
    assert pair.effective_rate == effective_rate(per_pe, pair.faults.unusable)
    assert (single.fault_rate, single.effective_rate) == (0.0, 0.0)


def test_groups_of_the_same_chips_meet_in_whatever_order_they_were_given(per_pe):
    lot = [Chip("a", map_of()), Chip("b", map_of())]
    turned = (Grouping((("b", "a"),)), Grouping((("a", "b"),), name="turned"))
    (job,) = jobs(per_pe, *turned, lot=lot)
    assert job.chips == ("a", "b")
    assert set(job.groups) == {0, 1}


def test_no_two_jobs_have_the_same_name_whatever_chips_are_called(per_pe):
    lot = [Chip(i, map_of()) for i in ("a", "b", "a+b", "a, b", "a b")]
    alone, pair = FixedSteps(), Grouping((("a", "b"), ("a+b", "a, b", "a b")))
    found = jobs(per_pe, alone, pair, lot=lot)
    assert len({job.key for job in found}) == len(found) == 7


def test_a_fatal_chip_is_nobody_s_to_plan_for(per_pe):
    lot = [Chip("a", map_of()), Chip("dead", map_of(fatal="no clock"))]
    assert [job.chips for job in jobs(per_pe, FixedSteps(), lot=lot)] == [("a",)]


@pytest.mark.parametrize(
    "groups",
    [
        (("c0",), ("c1",), ("c2",)),
        (("c0",), ("c0",), ("c1",), ("c2",), ("c3",)),
        (("c0", "c1", "c2", "c3", "c9"),),
        (),
    ],
)
def test_chips_forgotten_doubled_or_invented_are_refused_with_the_policy_s_name(per_pe, groups):
    with pytest.raises(PlanError, match="grouping did not put every chip into exactly one group"):
        jobs(per_pe, Grouping(groups))


def test_doubled_identities_are_all_named():
    lot = [Chip(i, map_of()) for i in ("b", "a", "b", "c", "a")]
    with pytest.raises(LotError, match="same identity: a, b"):
        check_chips(lot, ARRAY)


def test_an_empty_lot_and_chips_of_another_array_are_refused():
    with pytest.raises(LotError, match="no chips"):
        check_chips([], ARRAY)
    small = FaultMap(rows=4, cols=4, faulty_pes=np.zeros((4, 4), bool))
    with pytest.raises(FaultMapError):
        check_chips([Chip("s", small)], ARRAY)


def test_stuck_bits_go_along_with_the_chip(per_pe):
    stuck = StuckBits.of_bits(64, 8, [3], [7], [True])
    lot = [Chip("a", map_of()), Chip("b", replace(map_of(), stuck=stuck))]
    check_chips(lot, ARRAY)
    assert [job.faults.stuck for job in jobs(per_pe, FixedSteps(), lot=lot)] == [None, stuck]


def test_chips_with_stuck_bits_cannot_share_codes(per_pe):
    stuck = StuckBits.of_bits(64, 8, [3], [7], [True])
    lot = [Chip("a", map_of()), Chip("b", replace(map_of(), stuck=stuck))]
    with pytest.raises(FaultMapError, match="cannot be fused"):
        jobs(per_pe, Grouping((("a", "b"),)), lot=lot)
