"""Campaigns in which chips share a network: retrained, looked at and billed once, and shipped."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, RETRAIN, records
from chipmend.bundle import read_base, read_bundle
from chipmend.bundle.base import base_beside
from chipmend.faults import Chip, FaultMap
from chipmend.faults.maps import fused
from chipmend.fleet import Bin, mend
from chipmend.fleet.ledger import SHIPPED
from chipmend.network import scores
from chipmend.policy import Cascade, EFat, Reduce
from chipmend.recipes import retrained_epochs
from chipmend.steps import FAQ, Prune, Quantize

FUSED = Cascade(retrain=RETRAIN, most=2.0, amounts=(0.0, 0.2), fuse=True)
POLICIES = (Reduce(retrain=RETRAIN), EFat(retrain=RETRAIN), FUSED)


def chip(name, *cols, pe=None):
    faulty = np.zeros((8, 8), bool)
    if pe is not None:
        faulty[pe] = True
    return Chip(name, FaultMap(rows=8, cols=8, faulty_pes=faulty, dead_cols=cols))


LOT = [chip("a", 1, 3, pe=(0, 0)), chip("b", 6), chip("c", 1, 3, pe=(5, 0)), chip("d", 1, 3)]


def mended(task, lot, policies=POLICIES, **how):
    given = {"array": ARRAY, "constraint": CONSTRAINT, "analysis": ANALYSIS, "threads": 1}
    return mend(task, lot, policies=policies, **(given | how))


@pytest.fixture(scope="module")
def compared(task):
    return mended(task, LOT)


def groups(outcome, policy):
    return {record.chip: record.shared_by for record in outcome.records_of(policy)}


def test_chips_that_share_dead_columns_share_a_network(compared):
    assert groups(compared, "Reduce-max") == dict.fromkeys("abcd", 1)
    assert groups(compared, "eFAT-max") == {"a": 3, "b": 1, "c": 3, "d": 3}
    assert groups(compared, "Cascade, fused") == {"a": 3, "b": 1, "c": 3, "d": 3}


def test_a_group_is_billed_once(compared):
    reduce, efat, _ = compared.sums()
    own = [record for record in compared.records_of("eFAT-max") if record.shared_by == 3]
    assert len({record.cost for record in own}) == 1
    assert efat.ee == pytest.approx(own[0].cost.ee + compared.records_of("eFAT-max")[1].ee)
    assert efat.ee < reduce.ee


def test_a_group_is_evaluated_once(task, monkeypatch):
    read = []

    def counting(network, split, metric):
        if split is task.test:
            read.append(1)
        return scores(network, split, metric)

    monkeypatch.setattr("chipmend.repairs.workbench.scores", counting)
    outcome = mended(task, LOT, policies=[EFat(retrain=RETRAIN)], workers=1, hindsight=False)
    assert groups(outcome, "eFAT-max") == {"a": 3, "b": 1, "c": 3, "d": 3}
    assert len(read) == 2


def test_all_chips_of_a_group_have_one_accuracy(compared):
    shipped = [r for r in compared.records_of("eFAT-max") if r.chip != "b"]
    assert len({record.accuracy for record in shipped}) == 1
    assert all(record.bin in SHIPPED for record in shipped)


CODED = (Prune(), Quantize(form=FAQ(), samples=64))


@pytest.mark.parametrize(
    "policy", [EFat(retrain=RETRAIN), EFat(retrain=RETRAIN, start=CODED), FUSED]
)
def test_each_chip_gets_a_bundle_that_holds_on_it(task, tmp_path, policy):
    outcome = mended(task, LOT, policies=[policy], run=tmp_path, verify="all")
    assert groups(outcome, policy.name)["c"] == 3
    union = fused(*(LOT[at].faults for at in (0, 2, 3))).unusable
    for record, each in zip(outcome.records, LOT, strict=True):
        bundle = read_bundle(tmp_path / record.bundle.folder)
        bundle.check_is_for(each)
        assert record.bundle.verified.holds
        assert record.bundle.verified.accuracy == record.accuracy
        if record.chip == "b":
            continue
        base, digest = read_base(base_beside(bundle.path, bundle.base))
        repair = bundle.repair(base, digest)
        for name, gone in base.lost(union, repair.positions).items():
            assert not torch.any(repair.tensors[name][gone])


def test_records_are_the_same_for_two_workers_and_another_order_of_the_lot(task, compared):
    again = mended(task, LOT[::-1], workers=2)

    def by_chip(outcome):
        found = records(outcome)
        return sorted(found["records"], key=lambda r: (r["policy"], r["chip"])), found["tables"]

    assert by_chip(again) == by_chip(compared)


def test_chips_of_a_group_that_is_given_up_are_mended_alone_and_bear_their_share(task, tmp_path):
    """In 0.4 epochs their union comes to nothing, and one of them does."""
    alone, fusing = (replace(FUSED, most=0.4, fuse=fuse) for fuse in (False, True))
    both = mended(task, LOT, policies=[alone, fusing])
    run = {"policies": [fusing], "run": tmp_path, "verify": "all"}
    bundled, again = mended(task, LOT, **run), mended(task, LOT, workers=2, **run)
    assert again.records == bundled.records
    shares = []
    for name, by_itself, after, shipped in zip(
        "abcd", both.records_of(alone.name), both.records_of(fusing.name), bundled.records,
        strict=True,
    ):  # fmt: skip
        assert after.bin == by_itself.bin == shipped.bin
        assert (after.accuracy, after.steps) == (by_itself.accuracy, by_itself.steps)
        assert after.shared_by == 1
        assert bool(after.in_vain) == (name != "b")
        if after.in_vain:
            shares.append(after.ee - by_itself.ee)
            assert retrained_epochs(after.in_vain) == 0.4
            assert after.reason == (
                f"{by_itself.reason}; a network that 3 chips were to share was given up"
            )
        if after.bin in SHIPPED:
            assert shipped.bundle.verified.holds
    assert shares == pytest.approx([shares[0]] * 3)
    assert shares[0] > 0.4 / 3
    bins = [record.bin for record in both.records_of(fusing.name)]
    assert bins == [Bin.RETRAINED, Bin.REPAIRED, Bin.SCRAPPED, Bin.SCRAPPED]
