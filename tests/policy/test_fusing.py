import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chipmend.errors import PlanError
from chipmend.faults import Chip, FaultMap, StuckBits
from chipmend.policy import Die
from chipmend.policy.fusing import LEAST_SAVED, MOST, fused_dies, groups_of, union_rates

WEIGHTS = np.array([5, 0, 3, 3, 1, 8, 2, 2])


def concave(rates):
    """Two chips need less together than alone, whatever they share; nothing helps above 80 %."""
    return np.where(rates > 0.8, np.inf, np.sqrt(rates))


def convex(rates):
    """Only chips whose faults lie on the same PEs need less together."""
    return np.asarray(rates) ** 2


def slow_groups(faulty, weights, amounts):
    """The definition: try every pair of groups, take the best, until none saves anything."""
    groups = [[chip] for chip in range(len(faulty))]

    def rate(group):
        lost = sum(
            int(weights[pe]) for pe in range(len(weights)) if any(faulty[c][pe] for c in group)
        )
        return lost / max(1, int(weights.sum()))

    def need(group):
        return float(amounts(np.array([rate(group)]))[0])

    while True:
        found = []
        for one, other in itertools.combinations(sorted(groups), 2):
            both = sorted(one + other)
            if need(both) < np.inf:
                found.append((need(one) + need(other) - need(both), rate(both), both))
        most = max((saved for saved, _, _ in found), default=-1.0)
        if most <= LEAST_SAVED:
            return sorted(groups)
        alike = [(lost, both) for saved, lost, both in found if saved >= most - LEAST_SAVED]
        _, best = min(alike, key=lambda pair: pair[0])  # the first of several
        groups = [group for group in groups if not set(group) <= set(best)] + [best]


maps = hnp.arrays(bool, st.tuples(st.integers(1, 6), st.just(len(WEIGHTS))))


@settings(max_examples=200, deadline=None)
@given(maps, st.sampled_from([concave, convex]))
def test_it_fuses_as_trying_every_pair_again_and_again_does(faulty, amounts):
    found = groups_of(faulty, WEIGHTS, amounts)
    assert found == slow_groups(faulty, WEIGHTS, amounts)


def test_chips_that_share_a_fault_are_fused_and_those_that_share_none_are_not():
    faulty = np.zeros((4, 8), bool)
    faulty[[0, 2], 5] = True
    faulty[1, 0] = faulty[3, 2] = True
    assert groups_of(faulty, WEIGHTS, convex) == [[0, 2], [1], [3]]


def test_nobody_is_fused_beyond_what_can_be_reached():
    faulty = np.eye(8, dtype=bool)[[5, 0, 2, 3]]  # 8, 5, 3 and 3 of 24: all of them are 79 %
    assert groups_of(faulty, WEIGHTS, concave) == [[0, 1, 2, 3]]
    beyond = groups_of(faulty, WEIGHTS, lambda r: np.where(r > 0.7, np.inf, np.sqrt(r)))
    assert len(beyond) == 2
    assert groups_of(np.ones((2, 8), bool), WEIGHTS, concave) == [[0], [1]]


def test_of_pairs_that_save_the_same_the_least_damaged_union_goes_first():
    def steps(rates):
        """Any fault costs the same, and nothing does above 40 %."""
        return np.where(rates > 0.4, np.inf, np.where(rates > 0, 0.1, 0.0))

    faulty = np.eye(8, dtype=bool)[[5, 4, 6]]  # 8, 1 and 2 of 24
    assert groups_of(faulty, WEIGHTS, steps) == [[0], [1, 2]]
    assert groups_of(faulty, WEIGHTS, lambda rates: 0 * rates) == [[0], [1], [2]]  # nothing saved


@settings(max_examples=50, deadline=None)
@given(maps, hnp.arrays(np.int64, len(WEIGHTS), elements=st.integers(0, 2**24)))
def test_rates_of_unions_are_exact_whatever_the_weights(faulty, weights):
    found = union_rates(faulty, weights)
    for (one, other), rate in np.ndenumerate(found):
        lost = sum(
            w for w, bad in zip(weights.tolist(), faulty[one] | faulty[other], strict=True) if bad
        )
        assert rate == lost / max(1, int(weights.sum()))


def die(name, *pes, lot="", **more):
    faulty = np.zeros((2, 4), bool)
    faulty.flat[list(pes)] = True
    weights = WEIGHTS.reshape(2, 4)
    faults = FaultMap(rows=2, cols=4, faulty_pes=faulty, **more)
    return Die(Chip(name, faults, lot), weights[faulty].sum() / 24, weights_per_pe=weights)


def test_dies_with_stuck_bits_stay_alone():
    stuck = StuckBits.of_bits(4, 8, np.array([0]), np.array([1]), np.array([True]))
    found = fused_dies([die("b", 5), die("a", 5), die("d", 5, stuck=stuck)], convex)
    assert [[each.chip.id for each in fused.dies] for fused in found] == [["d"], ["a", "b"]]
    assert [fused.rate for fused in found] == [8 / 24, 8 / 24]


def test_dies_that_do_not_say_what_lies_on_their_pes_are_refused():
    with pytest.raises(PlanError, match="weights_per_pe"):
        fused_dies([replace(die("a", 5), weights_per_pe=None)], convex)


def test_large_lots_are_fused_in_parts_of_neighbouring_chips():
    dies = [die(f"{place:05}", 5, lot=str(place // MOST)) for place in range(2 * MOST)]
    found = fused_dies(dies, convex)
    assert [len(fused.dies) for fused in found] == [MOST, MOST]
    assert [{each.chip.lot for each in fused.dies} for fused in found] == [{"0"}, {"1"}]
