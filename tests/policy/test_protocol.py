import pickle

import pytest

import chipmend as cm
from chipmend.errors import FingerprintError
from chipmend.policy import Group, Ship, each_alone
from chipmend.steps import Prune
from contracts.policy_contract import DIES, PolicyContract


def test_each_alone_gives_every_die_a_group_of_its_own():
    groups = each_alone(DIES, 0.5, "because")
    assert groups == [
        Group(chips=(d.chip.id,), epochs=0.5, reason="because", effective_rate=d.effective_rate)
        for d in DIES
    ]


def test_a_group_survives_pickling():
    group = Group(chips=("a", "b"), epochs=float("inf"), reason="why")
    assert pickle.loads(pickle.dumps(group)) == group


class InHalves:
    """A policy of a user's: no dataclass, and several chips in one group."""

    name = "in halves"

    def analysis(self, usual, constraint):
        return None

    def plan(self, dies, constraint, table):
        halves = [[d.chip.id for d in dies if (d.effective_rate > 0.4) == high] for high in (0, 1)]
        return [Group(chips=tuple(sorted(half))) for half in halves if half]

    def next(self, group, constraint, seen, table):
        return Ship() if seen else Prune()


class TestAPolicyThatIsNoDataclass(PolicyContract):
    @pytest.fixture
    def policy(self):
        return InHalves()

    test_what_it_is_can_be_kept_in_a_run = None  # its class and its attributes are


def test_a_policy_that_is_no_dataclass_is_run_and_resumed_and_its_fields_count(task, tmp_path):
    def mended(policy):
        array, chips = cm.Array(rows=4, cols=4), [die.chip for die in DIES]
        constraint = cm.Drop(0.1)
        return cm.mend(
            task, chips, array=array, constraint=constraint, policies=[policy], run=tmp_path
        )

    first = mended(InHalves())
    assert [record.shared_by for record in first.records] == [3] * 6
    assert mended(InHalves()).records == first.records
    other = InHalves()
    other.bound = 0.5
    with pytest.raises(FingerprintError, match="policies changed"):
        mended(other)
