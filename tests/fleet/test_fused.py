"""Campaigns in which chips share a network: retrained, looked at and billed once, and shipped."""

import numpy as np
import pytest
import torch

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, RETRAIN, records
from chipmend.bundle import read_base, read_bundle
from chipmend.bundle.base import base_beside
from chipmend.faults import Chip, FaultMap
from chipmend.faults.maps import fused
from chipmend.fleet import mend
from chipmend.fleet.ledger import SHIPPED
from chipmend.policy import Cascade, EFat, Reduce
from chipmend.repairs import pruned_weights
from chipmend.steps import FAQ, Prune, Quantize

POLICIES = (
    Reduce(retrain=RETRAIN),
    EFat(retrain=RETRAIN),
    Cascade(retrain=RETRAIN, most=0.4, amounts=(0.0, 0.2), fuse=True),
)


def chip(name, *cols, pe=None):
    faulty = np.zeros((8, 8), bool)
    if pe is not None:
        faulty[pe] = True
    return Chip(name, FaultMap(rows=8, cols=8, faulty_pes=faulty, dead_cols=cols))


LOT = [chip("a", 1, 3, pe=(0, 0)), chip("b", 6), chip("c", 1, 3, pe=(5, 0)), chip("d", 1, 3)]


def mended(task, lot, workers=1):
    return mend(
        task,
        lot,
        array=ARRAY,
        constraint=CONSTRAINT,
        policies=POLICIES,
        analysis=ANALYSIS,
        workers=workers,
        threads=1,
    )


@pytest.fixture(scope="module")
def compared(task):
    return mended(task, LOT)


def groups(outcome, policy):
    return {record.chip: record.shared_by for record in outcome.records_of(policy)}


def test_chips_that_share_dead_columns_share_a_network(compared):
    assert groups(compared, "Reduce-max") == dict.fromkeys("abcd", 1)
    assert groups(compared, "eFAT-max") == {"a": 3, "b": 1, "c": 3, "d": 3}
    assert groups(compared, "Cascade, fused")["a"] >= 3


def test_a_group_is_billed_once(compared):
    reduce, efat, _ = compared.sums()
    own = [record for record in compared.records_of("eFAT-max") if record.shared_by == 3]
    assert len({record.cost for record in own}) == 1
    assert efat.ee == pytest.approx(own[0].cost.ee + compared.records_of("eFAT-max")[1].ee)
    assert efat.ee < reduce.ee


def test_all_chips_of_a_group_have_one_accuracy(compared):
    shipped = [r for r in compared.records_of("eFAT-max") if r.chip != "b"]
    assert len({record.accuracy for record in shipped}) == 1
    assert all(record.bin in SHIPPED for record in shipped)


@pytest.mark.parametrize("start", [(Prune(),), (Prune(), Quantize(form=FAQ(), samples=64))])
def test_each_chip_gets_a_bundle_that_holds_on_it(task, tmp_path, start):
    policy = EFat(retrain=RETRAIN, start=start)
    outcome = mend(
        task,
        LOT,
        array=ARRAY,
        constraint=CONSTRAINT,
        policies=[policy],
        analysis=ANALYSIS,
        run=tmp_path,
        verify="all",
    )
    assert groups(outcome, policy.name)["c"] == 3
    lost = pruned_weights(task.model, fused(*(LOT[at].faults for at in (0, 2, 3))).unusable, ARRAY)
    for record, each in zip(outcome.records, LOT, strict=True):
        bundle = read_bundle(tmp_path / record.bundle.folder)
        bundle.check_is_for(each)
        assert record.bundle.verified.holds
        assert record.bundle.verified.accuracy == record.accuracy
        if record.chip == "b":
            continue
        repair = bundle.repair(*read_base(base_beside(bundle.path, bundle.base)))
        for name, gone in lost.items():
            assert not torch.any(repair.tensors[name][gone])


def test_records_are_the_same_for_two_workers_and_another_order_of_the_lot(task, compared):
    again = mended(task, LOT[::-1], workers=2)

    def by_chip(outcome):
        found = records(outcome)
        return sorted(found["records"], key=lambda r: (r["policy"], r["chip"])), found["tables"]

    assert by_chip(again) == by_chip(compared)
