"""Campaigns on maps that lack faults: what is missed is there when accuracies are read."""

from dataclasses import replace

import numpy as np
import pytest

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, RETRAIN, chips
from chipmend.confidence import Drop
from chipmend.errors import FaultMapError, LotError
from chipmend.faults import Chip, MacsAt, Margin, Screening, StuckAt, make_chips
from chipmend.fleet import Bin, analyze, mend
from chipmend.fleet.ledger import SHIPPED
from chipmend.hardware import WeightMemory
from chipmend.network import gemms, scores
from chipmend.policy import Cascade, EFat, FixedSteps, Reduce, UntilMet
from chipmend.recipes import is_quantized
from chipmend.repairs import Workbench, prune_, pruned_weights
from chipmend.report import page
from chipmend.report.svg import percent
from chipmend.resilience import TrialLot
from chipmend.simulate import on_chip
from chipmend.steps import FAQ, Compensate, OneShot, Prune, Quantize, Remap

SCREENING = Screening(hidden=0.3)
REPAIR = (Prune(), Compensate(form=OneShot(samples=64, places=500)))
REMAPPED = (Remap(), *REPAIR)


def test_datapaths_that_the_test_missed_have_codes_shipped(task):
    truth = make_chips(ARRAY, rate=0.1, count=3, macs=MacsAt(count=1, bits=(0, 3)))
    lot = list(Screening(hidden=0.999).seen_of(truth, seed=0))
    assert not any(chip.faults.needs_codes for chip in lot)
    outcome = mended(task, [Cascade(retrain=RETRAIN, most=0.4)], list(truth), lot=lot)
    assert all(record.bin != Bin.FAILED for record in outcome.records)
    shipped = [record for record in outcome.records if record.bin in SHIPPED]
    assert shipped
    assert all(is_quantized(record.steps) for record in shipped)


def known(truth):
    return list(SCREENING.seen_of(truth, seed=0))


def mended(task, policies, truth=None, **more):
    given = {"array": ARRAY, "constraint": CONSTRAINT, "analysis": ANALYSIS, "threads": 1}
    lot = more.pop("lot", None) or known(truth or chips())
    return mend(task, lot, policies=policies, truth=truth, **(given | more))


@pytest.mark.parametrize("steps", [(Prune(),), REPAIR, REMAPPED])
def test_accuracies_are_those_with_all_faults_there(task, steps):
    """By hand: the network that was repaired for the map, without what else is broken."""
    truth = chips()
    outcome = mended(task, [FixedSteps(steps=steps)], truth)
    for broken, found, record in zip(truth, known(truth), outcome.records, strict=True):
        bench = Workbench(task, ARRAY, found.faults, chip=found.id, seed=0)
        for length in range(1, len(steps) + 1):
            network = bench.network(steps[:length])
        lost = pruned_weights(task.model, broken.faults.unusable, ARRAY)
        mapping = bench.mapping(steps)
        if mapping is not None:
            known_lost = pruned_weights(task.model, found.faults.unusable, ARRAY)
            for coupling, position in zip(
                bench.calibration.couplings, mapping.positions, strict=True
            ):
                for moved in coupling.moved:
                    for each in (lost, known_lost):
                        if moved.name in each:
                            each[moved.name] = moved.moved_to(
                                each[moved.name], np.argsort(position)
                            )
            assert all((known_lost[name] == gone).all() for name, gone in mapping.pruned.items())
        prune_(network, lost)
        by_hand = scores(network, task.test, task.metric).mean()
        assert record.accuracy == pytest.approx(by_hand, abs=1e-12)


def test_what_was_missed_is_told_and_costs_accuracy(task):
    truth = make_chips(ARRAY, rate=0.4, count=6)
    blind = mended(task, [FixedSteps(steps=REPAIR)], truth, lot=known(truth))
    seen = mended(task, [FixedSteps(steps=REPAIR)], lot=list(truth))
    for facts, chip, found in zip(blind.chips, truth, known(truth), strict=True):
        assert facts.missed_rate == pytest.approx(chip.faults.rate - found.faults.rate)
    assert blind.sums()[0].accuracy_mean < seen.sums()[0].accuracy_mean - 0.02
    assert all(facts.missed_rate is None for facts in seen.chips)


def test_chips_of_a_group_are_read_each_with_its_own_faults(task):
    found = chips()[2]
    lot = [replace(found, id=name) for name in "ab"]
    broken = [lot[0], replace(lot[1], faults=chips()[3].faults)]
    outcome = mended(task, [EFat(retrain=RETRAIN)], broken, lot=lot)
    one, other = outcome.records
    assert one.shared_by == other.shared_by == 2
    assert one.accuracy > other.accuracy


def test_int8_networks_are_read_on_the_chip_with_all_faults(task):
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    array = replace(ARRAY, memory=WeightMemory(words=words))
    truth = make_chips(array, rate=0.2, count=2, stuck=StuckAt(rate=0.05))
    steps = (Prune(), Quantize(form=FAQ(), samples=64))
    outcome = mended(task, [FixedSteps(steps=steps)], truth, array=array, lot=known(truth))
    for broken, found, record in zip(truth, known(truth), outcome.records, strict=True):
        bench = Workbench(task, array, found.faults, chip=found.id, seed=0)
        for length in (1, 2):
            network = bench.network(steps[:length])
        chip = on_chip(
            bench.calibration.lowering(steps[1]),
            dict(network.named_parameters()) | dict(network.named_buffers()),
            bench.codes(steps),
            array=array,
            faults=broken.faults,
            filled=bench.calibration.filled(array.memory),
        )
        assert record.accuracy == scores(chip, task.test, task.metric).mean()


# margins


def test_a_margin_costs_retraining(task):
    truth = make_chips(ARRAY, rate=0.3, count=4)
    policies = [UntilMet(increment=0.5, most=2.0, retrain=RETRAIN), Reduce(retrain=RETRAIN)]
    without = mended(task, policies, truth, lot=known(truth))
    with_one = mended(task, policies, truth, lot=known(truth), margin=Margin(hidden=0.3))
    for ours, theirs in zip(with_one.sums(), without.sums(), strict=True):
        assert ours.ee > theirs.ee or ours.shipped < theirs.shipped
    table = analyze(
        task,
        array=ARRAY,
        analysis=policies[1].analysis(ANALYSIS, CONSTRAINT),
        margin=Margin(hidden=0.3),
        threads=1,
    )
    assert [t.accuracies for t in table.trajectories] == [
        t.accuracies for t in with_one.tables["Reduce-max"].trajectories
    ]


MARGIN = Margin(hidden=0.2)
LEARNING = {"retrain": RETRAIN, "most": 1.0, "amounts": (0.0, 0.5)}
CLUSTER = [replace(chips()[1], id=name) for name in "ab"]


@pytest.mark.parametrize(
    ("policy", "lot", "analysis"),
    [
        (Cascade(**LEARNING, fuse=True), CLUSTER, ANALYSIS),
        (
            Reduce(retrain=RETRAIN, coverage=0.5),
            chips(),
            replace(ANALYSIS, trial=TrialLot(rate=(0.05, 0.4), count=5)),
        ),
        (Cascade(retrain=RETRAIN, most=0.4), "stuck bits", ANALYSIS),
    ],
    ids=["fused", "promised", "codes"],
)
def test_under_a_margin_ships_what_holds_on_the_chip(task, tmp_path, policy, lot, analysis):
    array = ARRAY
    if lot == "stuck bits":
        words = sum(gemm.weight.numel() for gemm in gemms(task.model))
        array = replace(ARRAY, memory=WeightMemory(words=words))
        lot = list(make_chips(array, rate=0.05, count=2, stuck=StuckAt(rate=0.02)))
    given = {"lot": lot, "array": array, "analysis": analysis, "constraint": Drop(0.3)}
    without = mended(task, [policy], **given)
    outcome = mended(task, [policy], **given, margin=MARGIN, run=tmp_path, verify="all")
    assert {r.shared_by for r in outcome.records} == ({2} if lot is CLUSTER else {1})
    shipped = [record for record in outcome.records if record.bin in SHIPPED]
    assert shipped
    assert all(record.bundle.verified.holds for record in shipped)
    (ours,), (theirs,) = outcome.sums(), without.sums()
    assert ours.ee + ours.ee_analysis > theirs.ee + theirs.ee_analysis


# what is refused


def test_truth_of_other_chips_is_refused(task):
    with pytest.raises(LotError, match="other chips than those of the lot"):
        mended(task, [FixedSteps()], chips()[::-1], lot=chips())
    with pytest.raises(FaultMapError):
        mended(task, [FixedSteps()], [Chip("c0", make_chips(WIDE, rate=0.1, count=1)[0].faults)])


WIDE = replace(ARRAY, cols=16)


def test_the_report_says_what_was_missed_and_what_was_allowed_for(task):
    truth = chips()
    outcome = mended(task, [FixedSteps(steps=REPAIR)], truth, margin=Margin(hidden=0.25))
    shares = [
        (broken.faults.unusable & ~found.faults.unusable).mean()
        for broken, found in zip(truth, known(truth), strict=True)
    ]
    html = page(outcome)
    mean, most = percent(float(np.mean(shares))), percent(float(max(shares)))
    assert f"missed by the test</dt><dd>{mean} of PEs, {most} at most" in html
    assert (
        "margin</dt><dd>25 % hidden, 95 % of it covered, network hardened by 4 epochs</dd>" in html
    )
    plain = page(mended(task, [FixedSteps(steps=REPAIR)], lot=truth))
    assert "missed by the test" not in plain
    assert "<dt>margin" not in plain
