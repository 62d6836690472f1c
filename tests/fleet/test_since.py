"""Chips with new fault maps go on from what an earlier run shipped to them."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from campaigns import ANALYSIS, ARRAY, RETRAIN, records
from chipmend.bundle import read_base, read_bundle
from chipmend.bundle.base import base_beside
from chipmend.confidence import Drop
from chipmend.errors import BundleError, LotError, PlanError, StoreError
from chipmend.faults import Chip, FaultMap, StuckAt, StuckBits, make_chips
from chipmend.faults.screening import Margin
from chipmend.fleet import Bin, mend, read_outcome
from chipmend.fleet.ledger import SHIPPED
from chipmend.fleet.since import read_since
from chipmend.hardware import Array, WeightMemory
from chipmend.network import gemms
from chipmend.network.task import Task
from chipmend.policy import Cascade, EFat, Fixed, FixedSteps, Reduce, UntilMet
from chipmend.repairs import Workbench, pruned_weights
from chipmend.repairs.retrain import Retraining
from chipmend.report.wording import mended_again
from chipmend.resilience import TrialLot
from chipmend.seeds import chip_seed
from chipmend.steps import FAQ, Compensate, OneShot, Patch, Prune, Quantize, Recalibrate, Remap
from conftest import state, tiny_network, tiny_split, tiny_task

CONSTRAINT = Drop(0.3)
MOMENTS = OneShot(samples=64, places=500)
RUNGS = (
    (Prune(), Compensate(form=MOMENTS)),
    (Remap(), Prune(), Compensate(form=MOMENTS)),
)
POLICY = Cascade(rungs=RUNGS, retrain=RETRAIN, most=0.5)
FAINT = replace(RETRAIN, learning_rate=1e-6)
"""Retraining that changes nothing to speak of."""
CODED = Cascade(
    rungs=((Remap(), Prune(), Quantize(form=FAQ(), samples=64), Recalibrate()),),
    retrain=RETRAIN,
    most=0.5,
)


@pytest.fixture(scope="module", autouse=True)
def without_another_runtime():
    """Bundles are run on the model of their chips; that others agree is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("chipmend.fleet.campaign.has_runtime", lambda: False)
        yield


@pytest.fixture(scope="module")
def array(task):
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    return replace(ARRAY, memory=WeightMemory(words=words))


def lot_of(array, stuck=None):
    made = make_chips(array, rate=(0.05, 0.3), count=4, spread="even", stuck=stuck)
    return [Chip(id=f"c{place}", faults=chip.faults) for place, chip in enumerate(made)]


def aged(chip, new=2):
    """The chip after a retest: a few more PEs are broken."""
    faulty = chip.faults.faulty_pes.copy()
    faulty.ravel()[np.flatnonzero(~chip.faults.unusable.ravel())[:new]] = True
    newer = replace(chip.faults, faulty_pes=faulty, version=chip.faults.version + 1)
    return replace(chip, faults=newer)


def with_more_bits(chip):
    """The chip with three more stuck bits."""
    stuck = chip.faults.stuck
    ones, zeros = stuck.patterns()
    ones[np.flatnonzero(ones | zeros == 0)[:3]] = 64
    more = StuckBits.of_patterns(ones, zeros, stuck.bits)
    return replace(chip, faults=replace(chip.faults, stuck=more))


def run_of(task, lot, array, run, **how):
    given = {"policies": [POLICY], "constraint": CONSTRAINT, "verify": "all", "threads": 1, **how}
    return mend(task, lot, array=array, run=run, hindsight=False, **given)


@pytest.fixture(scope="module")
def first(task, array, tmp_path_factory):
    run = tmp_path_factory.mktemp("first")
    lot = lot_of(array)
    return run_of(task, lot, array, run), lot, run


@pytest.fixture(scope="module")
def again(task, array, first, tmp_path_factory):
    """The first chip as it was, the others older, and one that is new."""
    _, lot, before = first
    new = Chip("new", lot[0].faults)
    now = [lot[0], *(aged(chip) for chip in lot[1:]), new]
    run = tmp_path_factory.mktemp("again")
    return run_of(task, now, array, run, since=before), now, run


def test_chips_are_kept_patched_or_mended_anew(first, again):
    outcome, _, run = again
    assert [r.bin for r in first[0].records] == [Bin.REPAIRED] * 4
    kept, *patched, new = outcome.records
    assert kept.bin == Bin.KEPT
    assert {r.bin for r in patched} == {Bin.PATCHED}
    assert new.bin == Bin.REPAIRED
    assert kept.ee == 0
    assert kept.accuracy == first[0].records[0].accuracy
    assert all(isinstance(r.steps[0], Patch) for r in patched)
    assert read_outcome(run) == outcome
    assert outcome.since.ee == {r.chip: r.ee for r in first[0].records}


def test_every_bundle_holds_on_its_chip_and_tells_the_whole_history(task, array, first, again):
    outcome, chips, run = again
    for record, chip in zip(outcome.records, chips, strict=True):
        assert record.bundle.verified.holds
        bundle = read_bundle(run / record.bundle.folder)
        bundle.check_is_for(chip)
        if record.bin == Bin.KEPT:
            earlier = read_bundle(first[2] / record.bundle.folder)
            assert bundle.digest == earlier.digest == record.bundle.digest
        if record.bin == Bin.PATCHED:
            earlier = read_bundle(first[2] / record.bundle.folder)
            assert bundle.steps[:-1] == earlier.steps
            assert bundle.steps[-1].bundle == earlier.digest
            assert bundle.content != earlier.content


@pytest.mark.parametrize("rungs", [RUNGS[:1], RUNGS[1:]], ids=["in place", "remapped"])
def test_what_is_patched_uses_no_broken_pe(task, array, tmp_path, rungs):
    policy = Cascade(rungs=rungs, retrain=RETRAIN, most=0.5)
    lot = lot_of(array)[2:]
    run_of(task, lot, array, tmp_path / "first", policies=[policy], verify="none")
    now = [aged(chip) for chip in lot]
    outcome = run_of(
        task, now, array, tmp_path / "again", policies=[policy], since=tmp_path / "first"
    )
    for record, chip in zip(outcome.records, now, strict=True):
        assert record.bin == Bin.PATCHED
        assert record.bundle.verified.holds
        bundle = read_bundle(tmp_path / "again" / record.bundle.folder)
        base, digest = read_base(base_beside(bundle.path, bundle.base))
        repair = bundle.repair(base, digest)
        assert bool(repair.positions) == (rungs == RUNGS[1:])
        for name, lost in base.lost(chip.faults.unusable, repair.positions).items():
            assert not repair.tensors[name][lost].any()


def test_a_run_goes_on_from_one_that_went_on_from_another(task, array, again, tmp_path):
    _, chips, before = again
    now = [aged(chip, 1) for chip in chips]
    outcome = run_of(task, now, array, tmp_path / "third", since=before)
    assert {r.bin for r in outcome.records} == {Bin.PATCHED}
    record = outcome.records[1]
    steps = read_bundle(tmp_path / "third" / record.bundle.folder).steps
    assert [step.kind for step in steps[-2:]] == ["patch", "patch"]
    assert all(r.bundle.verified.holds for r in outcome.records)


def test_the_same_call_goes_on_and_workers_do_not_matter(task, array, first, again, tmp_path):
    outcome, chips, run = again
    assert records(run_of(task, chips, array, run, since=first[2])) == records(outcome)
    other = run_of(task, chips, array, tmp_path / "two", since=first[2], workers=2)
    assert records(other)["records"] == records(outcome)["records"]


def test_what_a_patch_does_not_do_for_is_mended_anew_and_both_are_billed(
    task, array, first, tmp_path
):
    _, lot, before = first
    policy = Cascade(rungs=RUNGS[1:], retrain=RETRAIN, most=0.25, increment=0.25)
    outcome = run_of(
        task, [aged(lot[3])], array, tmp_path / "run", since=before,
        policies=[policy], constraint=Drop(0.0),
    )  # fmt: skip
    record = outcome.records[0]
    kinds = [step.kind for step in record.steps]
    assert kinds[:2] == ["patch", "measure"]
    assert "remap" in kinds
    assert record.bin in (Bin.SCRAPPED, Bin.REPAIRED, Bin.RETRAINED)
    alone = run_of(
        task, [aged(lot[3])], array, tmp_path / "alone", policies=[policy], constraint=Drop(0.0)
    )
    assert record.cost.measure > alone.records[0].cost.measure


@pytest.mark.parametrize("in_codes", [False, True], ids=["real numbers", "codes"])
def test_what_had_been_retrained_is_trained_on_after_the_patch(task, array, tmp_path, in_codes):
    lot = lot_of(array, StuckAt(rate=0.02) if in_codes else None)[3:]
    start = (Prune(), Quantize(form=FAQ(), samples=64)) if in_codes else (Prune(),)
    trained = Fixed(epochs=2.0, retrain=FAINT, start=start)
    run_of(task, lot, array, tmp_path / "first", policies=[trained], verify="none")
    policy = UntilMet(increment=0.5, most=8.0, retrain=RETRAIN, start=start)
    now, given = [aged(chip, 8) for chip in lot], {"policies": [policy], "constraint": Drop(0.2)}
    outcome = run_of(task, now, array, tmp_path / "r", since=tmp_path / "first", **given)
    for record, chip in zip(outcome.records, now, strict=True):
        assert record.bin == Bin.RETRAINED
        assert record.reason.endswith("holds trained on with confidence 0.9875")
        assert record.bundle.verified.holds
        bundle = read_bundle(tmp_path / "r" / record.bundle.folder)
        earlier = read_bundle(tmp_path / "first" / record.bundle.folder)
        *before, patch, retrain = bundle.steps
        assert tuple(before) == earlier.steps
        assert (patch.bundle, patch.in_codes) == (earlier.digest, in_codes)
        assert bundle.in_codes == in_codes
        assert retrain.epochs == sum(s.epochs for s in record.steps if s.kind == "retrain") > 0
        base, digest = read_base(base_beside(bundle.path, bundle.base))
        repair = bundle.repair(base, digest)
        for name, lost in base.lost(chip.faults.unusable, repair.positions).items():
            assert not repair.tensors[name][lost].any()


def test_a_chip_as_it_was_is_trained_on_for_a_stricter_constraint(task, array, tmp_path):
    lot = lot_of(array)[3:]
    run_of(task, lot, array, tmp_path / "first", policies=[Fixed(epochs=2.0, retrain=FAINT)])
    policy = UntilMet(increment=0.5, most=8.0, retrain=RETRAIN)
    given = {"policies": [policy], "constraint": Drop(0.2), "since": tmp_path / "first"}
    outcome = run_of(task, lot, array, tmp_path / "r", **given)
    (record,) = outcome.records
    assert record.bin == Bin.RETRAINED
    assert "0 patched, 1 trained on, 0 mended anew" in mended_again(outcome)
    assert outcome.sums()[0].ee_shared == pytest.approx(128 / (3 * 256))  # the clean one was scored
    assert record.bundle.verified.holds
    earlier = read_bundle(tmp_path / "first" / record.bundle.folder).steps
    steps = read_bundle(tmp_path / "r" / record.bundle.folder).steps
    assert steps[: len(earlier)] == earlier
    assert [step.kind for step in steps[len(earlier) :]] == ["patch", "retrain"]


def test_what_training_on_does_not_do_for_is_mended_anew(task, array, tmp_path):
    lot = lot_of(array)[3:]
    run_of(task, lot, array, tmp_path / "first", policies=[Fixed(epochs=0.01, retrain=RETRAIN)])
    now, given = [aged(lot[0], 4)], {"constraint": Drop(0.1), "policies": [POLICY]}
    (record,) = run_of(task, now, array, tmp_path / "r", since=tmp_path / "first", **given).records
    (alone,) = run_of(task, now, array, tmp_path / "alone", **given).records
    kinds = [step.kind for step in record.steps if step.kind != "measure"]
    assert kinds[:3] == ["patch", "retrain", "prune"]
    assert record.bin == alone.bin == Bin.REPAIRED
    assert record.bundle.verified.holds
    steps = read_bundle(tmp_path / "r" / record.bundle.folder).steps
    assert steps == read_bundle(tmp_path / "alone" / alone.bundle.folder).steps
    assert record.accuracy == alone.accuracy
    assert record.cost.retrain == 1 / 8  # an epoch has 8 steps, and one is the least
    assert alone.cost.retrain == 0


@pytest.mark.parametrize("policy", [POLICY, UntilMet(retrain=RETRAIN, increment=0.5, most=1.0)])
def test_a_chip_that_is_sound_again_is_not_trained_on(task, array, tmp_path, policy):
    lot = lot_of(array)[3:]
    run_of(task, lot, array, tmp_path / "first", policies=[Fixed(epochs=0.1, retrain=RETRAIN)])
    sound = FaultMap.of_pes(np.zeros((8, 8), bool), version=2)
    now = [replace(lot[0], faults=sound)]
    given = {"constraint": Drop(0.0), "policies": [policy], "since": tmp_path / "first"}
    (record,) = run_of(task, now, array, tmp_path / "r", **given).records
    assert record.bin == Bin.PRUNED
    assert record.cost.retrain == 0


def test_what_is_pruned_after_a_patch_in_vain_is_pruned(task, array, first, tmp_path):
    _, lot, before = first
    given = {"policies": [FixedSteps()], "constraint": Drop(0.0)}
    (record,) = run_of(
        task, [aged(lot[3])], array, tmp_path / "r", since=before, **given
    ).records  # fmt: skip
    assert record.bin == Bin.PRUNED
    assert read_bundle(tmp_path / "r" / record.bundle.folder).steps == (Prune(),)


def test_what_is_kept_of_a_fused_group_has_rates_of_its_own(task, array, tmp_path):
    lot = lot_of(array)[:2]
    policy = Cascade(rungs=RUNGS, retrain=RETRAIN, amounts=(0.0, 0.5), fuse=True)
    given = {"policies": [policy], "analysis": ANALYSIS}
    first = run_of(task, lot, array, tmp_path / "first", **given)
    assert {record.shared_by for record in first.records} == {2}
    outcome = run_of(task, lot, array, tmp_path / "r", since=tmp_path / "first", **given)
    assert {record.bin for record in outcome.records} == {Bin.KEPT}
    for record, chip in zip(outcome.records, outcome.chips, strict=True):
        assert (record.shared_by, record.epochs) == (1, 0)
        assert record.fault_rate == chip.fault_rate
        assert record.effective_rate == chip.effective_rate


def test_training_on_begins_with_the_patched_network(task, array, tmp_path):
    """Steps of training by hand from the patched weights come to the same network."""
    lot = lot_of(array)[3:]
    run_of(task, lot, array, tmp_path / "first", policies=[Fixed(epochs=0.5, retrain=RETRAIN)])
    now = aged(lot[0], 12)
    ((chip, last),) = read_since(tmp_path / "first", [now], array, task).bundles.items()
    given = {"chip": chip, "seed": 0, "shipped": last.read()[0]}
    bench = Workbench(task, array, now.faults, **given)
    patched = state(bench.network((last.patch,)))
    found = state(bench.network((last.patch, replace(RETRAIN, epochs=0.25))))
    network = copy.deepcopy(task.model)
    network.load_state_dict(patched)
    by_hand = Retraining(
        network, pruned_weights(task.model, now.faults.unusable, array), task.train,
        loss=task.loss, settings=RETRAIN, seed=chip_seed(0, chip, "retrain after 0.5 epochs"),
    )  # fmt: skip
    by_hand.advance(0.25, lambda _: None)
    wanted = state(by_hand.network())
    weights = [gemm.name for gemm in gemms(task.model)]
    assert all(torch.equal(found[name], wanted[name]) for name in weights)
    assert not any(torch.equal(found[name], patched[name]) for name in weights)


def test_another_constraint_has_what_was_kept_looked_at(task, array, first, tmp_path):
    _, lot, before = first
    outcome = run_of(task, lot[:1], array, tmp_path / "r", since=before, constraint=Drop(0.29))
    record = outcome.records[0]
    assert record.bin == Bin.KEPT
    assert [step.kind for step in record.steps][:2] == ["patch", "measure"]
    assert record.cost.measure > 0


def test_codes_are_patched_where_pes_and_bits_are_new(task, array, tmp_path):
    lot = lot_of(array, StuckAt(rate=0.02))[:2]
    first = run_of(task, lot, array, tmp_path / "first", policies=[CODED])
    assert {r.bin for r in first.records} <= {Bin.REPAIRED, Bin.RETRAINED}
    now = [with_more_bits(aged(chip)) for chip in lot[1:]]
    outcome = run_of(
        task, [lot[0], *now], array, tmp_path / "again", policies=[CODED], since=tmp_path / "first"
    )
    assert [r.bin for r in outcome.records] == [Bin.KEPT, Bin.PATCHED]
    assert all(r.bundle.verified.holds for r in outcome.records)
    assert outcome.records[0].accuracy == first.records[0].accuracy
    bundles = [read_bundle(tmp_path / "again" / r.bundle.folder) for r in outcome.records]
    assert all(bundle.in_codes for bundle in bundles)


def test_a_network_of_real_numbers_does_not_do_for_bits_that_came_to_be_stuck(
    task, array, first, tmp_path
):
    _, lot, before = first
    stuck = make_chips(array, rate=0.0, count=1, stuck=StuckAt(rate=0.01))[0].faults.stuck
    now = [replace(lot[0], faults=replace(lot[0].faults, stuck=stuck, version=2))]
    outcome = run_of(task, now, array, tmp_path / "r", since=before, policies=[CODED])
    assert outcome.records[0].bin in (Bin.REPAIRED, Bin.RETRAINED)
    assert "patch" not in [step.kind for step in outcome.records[0].steps]


@pytest.mark.parametrize(
    "policy",
    [
        FixedSteps(steps=RUNGS[0]),
        UntilMet(retrain=RETRAIN, increment=0.5, most=1.0),
        Reduce(retrain=RETRAIN),
        EFat(retrain=RETRAIN),
    ],
)
def test_under_any_policy(task, array, first, tmp_path, policy):
    _, lot, before = first
    now = [lot[0], aged(lot[1])]
    outcome = run_of(
        task, now, array, tmp_path / "r", since=before, policies=[policy], analysis=ANALYSIS
    )
    assert [r.bin for r in outcome.records] == [Bin.KEPT, Bin.PATCHED]


@pytest.mark.parametrize("policy", [FixedSteps(steps=RUNGS[0]), Reduce(retrain=RETRAIN)])
def test_any_policy_takes_over_where_a_patch_does_not_do(task, array, first, tmp_path, policy):
    _, lot, before = first
    outcome = run_of(
        task, [aged(lot[3])], array, tmp_path / "r", since=before, policies=[policy],
        analysis=ANALYSIS, constraint=Drop(0.0),
    )  # fmt: skip
    (record,) = outcome.records
    kinds = [step.kind for step in record.steps]
    assert kinds[:2] == ["patch", "measure"]
    assert "prune" in kinds
    assert record.bin not in (Bin.KEPT, Bin.PATCHED, Bin.FAILED)


def test_chips_of_a_lot_of_which_some_need_codes_all_go_on_with_codes(task, array, tmp_path):
    """One that has no stuck bits, beside one that has: the cascade ships codes to both."""
    sound, hit = lot_of(array)[0], lot_of(array, StuckAt(rate=0.02))[1]
    policy = Cascade(retrain=RETRAIN, most=0.25, increment=0.25)
    run_of(task, [sound, hit], array, tmp_path / "first", policies=[policy], verify="none")
    given = {"policies": [policy], "verify": "none", "constraint": Drop(0.0)}
    outcome = run_of(
        task, [aged(sound, 20), hit], array, tmp_path / "r", since=tmp_path / "first", **given
    )
    steps = [step.kind for step in outcome.records[0].steps]
    assert "patch" in steps
    assert "quantize" in steps
    assert "compensate" not in steps


def test_nothing_ships_unseen_and_nothing_is_promised(task, array, first, tmp_path):
    """Of chips whose patch does not do, and of one that has not shipped before."""
    _, lot, before = first
    policy = Cascade(
        rungs=RUNGS, retrain=RETRAIN, amounts=(0.0, 0.5), coverage=0.5, most=0.5, increment=0.5
    )
    # too few chips for the check to see that what broke lies in one row
    analysis = replace(ANALYSIS, trial=TrialLot(rate=(0.05, 0.3), count=5))
    now = [*(aged(chip, 6) for chip in lot), Chip("new", aged(lot[0]).faults)]
    given = {"policies": [policy], "analysis": analysis, "verify": "none"}
    given["constraint"] = Drop(0.06)
    anew = run_of(task, now, array, tmp_path / "anew", **given)
    assert {"c0", "new"} <= {r.chip for r in anew.records if "unseen" in r.reason}
    outcome = run_of(task, now, array, tmp_path / "again", since=before, **given)
    assert outcome.promises == {}
    for record in outcome.records:
        kinds = [step.kind for step in record.steps]
        assert ("patch" in kinds) == (record.chip != "new")
        assert "measure" in kinds[kinds.index("assess") :]  # the cascade was asked, and looked
        assert "unseen" not in record.reason


def test_another_die_of_the_same_name_is_refused(task, array, tmp_path):
    placed = [replace(chip, lot="A", wafer="1", x=at, y=0) for at, chip in enumerate(lot_of(array))]
    run_of(task, placed[:2], array, tmp_path / "first", verify="none")
    untold = [replace(placed[0], wafer="")]
    outcome = run_of(task, untold, array, tmp_path / "r", since=tmp_path / "first")
    assert outcome.records[0].bin == Bin.KEPT
    with pytest.raises(LotError, match=r"lot B, wafer 1, x 0, y 0, and lot A"):
        run_of(task, [replace(placed[0], lot="B")], array, tmp_path / "s", since=tmp_path / "first")


def test_other_data_have_what_was_kept_looked_at(task, array, first, tmp_path):
    _, lot, before = first
    model, splits = task.model, (tiny_split(256, 1), tiny_split(128, 5), tiny_split(128, 6))
    other = Task(model, train=splits[0], validation=splits[1], test=splits[2])
    outcome = run_of(other, lot[:1], array, tmp_path / "r", since=before)
    assert outcome.records[0].bin == Bin.KEPT
    assert outcome.records[0].cost.measure > 0
    assert outcome.sums()[0].ee_shared > 0  # the clean network was scored to look
    assert outcome.sums()[0].ee_shared < 1  # and nothing else was worked out


def test_a_margin_is_met_by_looks_at_what_is_patched(task, array, first, tmp_path):
    _, lot, before = first
    outcome = run_of(
        task, [aged(lot[1])], array, tmp_path / "r", since=before, margin=Margin(hidden=0.2)
    )
    (record,) = outcome.records
    assert [step.kind for step in record.steps][:2] == ["patch", "measure"]
    assert record.bin in SHIPPED


def test_bits_that_are_stuck_in_truth_alone_have_chips_mended_anew(task, array, first, tmp_path):
    _, lot, before = first
    stuck = make_chips(array, rate=0.0, count=1, stuck=StuckAt(rate=0.01))[0].faults.stuck
    truth = [replace(lot[0], faults=replace(lot[0].faults, stuck=stuck))]
    coded = FixedSteps(steps=(Prune(), Quantize(form=FAQ(), samples=64)), label="FAQ")
    outcome = run_of(
        task, lot[:1], array, tmp_path / "r", since=before, policies=[coded], truth=truth
    )
    assert outcome.records[0].bin == Bin.REPAIRED


def test_a_memory_that_is_told_only_now_is_no_other_array(task, first, tmp_path):
    _, lot, before = first
    outcome = run_of(task, lot[:1], ARRAY, tmp_path / "r", since=before)
    assert outcome.records[0].bin == Bin.KEPT


def test_an_older_map_is_refused(task, array, again, first, tmp_path):
    _, lot, _ = first
    with pytest.raises(LotError, match=r"version 1 of its fault map.*for version 2"):
        run_of(task, lot, array, tmp_path / "r", since=again[2])
    assert not (tmp_path / "r").exists()
    dead = replace(lot[1], faults=replace(lot[1].faults, fatal="no clock"))
    with pytest.raises(LotError, match=r"chip c1 .*for version 2"):
        run_of(task, [dead], array, tmp_path / "r", since=again[2])


def test_a_map_that_a_chip_kept_its_network_with_counts_as_its_latest(task, array, first, tmp_path):
    _, lot, before = first
    of_version = [replace(lot[0], faults=replace(lot[0].faults, version=n)) for n in (2, 3)]
    kept = run_of(task, of_version[1:], array, tmp_path / "r", since=before)
    assert kept.records[0].bin == Bin.KEPT
    with pytest.raises(LotError, match=r"version 2 of its fault map.*for version 3"):
        run_of(task, of_version[:1], array, tmp_path / "s", since=tmp_path / "r")


def test_what_cannot_be_gone_on_from_is_refused(task, array, first, tmp_path):
    _, lot, before = first
    with pytest.raises(StoreError, match="no finished run"):
        run_of(task, lot, array, tmp_path / "r", since=tmp_path / "none")
    with pytest.raises(PlanError, match="the very run"):
        run_of(task, lot, array, before, since=before)
    with pytest.raises(PlanError, match="2 policies"):
        run_of(task, lot, array, tmp_path / "r", since=before, policies=[POLICY, FixedSteps()])
    with pytest.raises(PlanError, match="another array"):
        run_of(task, lot, Array(rows=8, cols=8, placement="channel"), tmp_path / "r", since=before)
    two = tmp_path / "two"
    run_of(task, lot[:1], array, two, policies=[FixedSteps(), POLICY])
    with pytest.raises(PlanError, match="made no bundles"):
        run_of(task, lot, array, tmp_path / "r", since=two)
    none = tmp_path / "none"
    dead = [replace(lot[0], faults=FaultMap.of_pes(np.ones((8, 8), bool)))]
    assert run_of(task, dead, array, none).records[0].bin == Bin.SCRAPPED
    with pytest.raises(PlanError, match="no chip was shipped anything"):
        run_of(task, lot[:1], array, tmp_path / "r", since=none)


def test_another_network_is_refused(array, first, tmp_path):
    network = tiny_network()
    nn.init.normal_(network[0].weight)
    with pytest.raises(PlanError, match="another network"):
        run_of(tiny_task(network), first[1], array, tmp_path / "r", since=first[2])


def test_a_damaged_bundle_is_refused(task, array, first, tmp_path):
    outcome, lot, before = first
    copy = tmp_path / "copy"
    shutil.copytree(before, copy)
    bundle = copy / outcome.records[1].bundle.folder
    shutil.rmtree(bundle)
    shutil.copytree(copy / outcome.records[0].bundle.folder, bundle)
    with pytest.raises(BundleError, match="another one than"):
        run_of(task, lot, array, tmp_path / "r", since=copy)
    (bundle / "delta.safetensors").write_bytes(b"")
    with pytest.raises(BundleError):
        run_of(task, lot, array, tmp_path / "r", since=copy)


def test_a_lot_as_it_was_takes_no_work_at_all(task, array, first, tmp_path, monkeypatch):
    before, lot, run = first
    monkeypatch.setattr("chipmend.fleet.mending.Mending.__call__", None)
    monkeypatch.setattr("chipmend.fleet.analyzing.Analyzing.__call__", None)
    outcome = run_of(task, lot, array, tmp_path / "r", since=run, verify="none")
    assert {r.bin for r in outcome.records} == {Bin.KEPT}
    assert [(r.accuracy, r.met, r.steps) for r in outcome.records] == [
        (r.accuracy, r.met, r.steps) for r in before.records
    ]
    assert outcome.sums()[0].ee == outcome.sums()[0].ee_shared == 0


def test_what_is_broken_indeed_may_be_another_thing_than_before(task, array, first, tmp_path):
    _, lot, run = first
    truth = [aged(chip, 6) for chip in lot[:1]]
    outcome = run_of(task, lot[:1], array, tmp_path / "r", since=run, truth=truth)
    record = outcome.records[0]
    assert record.bin == Bin.KEPT
    assert record.steps[0].kind == "patch"
    assert record.accuracy != first[0].records[0].accuracy


def test_a_chip_that_failed_is_mended_anew(task, array, first, tmp_path):
    _, lot, run = first
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    kept = read_outcome(copy)
    failed = [replace(kept.records[0], bin=Bin.FAILED), *kept.records[1:]]
    replace(kept, records=failed).write(copy)
    outcome = run_of(task, lot[:2], array, tmp_path / "r", since=copy)
    assert [r.bin for r in outcome.records] == [Bin.REPAIRED, Bin.KEPT]


def test_a_chip_that_died_since_is_unrepairable(task, array, first, tmp_path):
    _, lot, before = first
    dead = FaultMap.of_pes(np.zeros((8, 8), bool), fatal="no clock")
    now = [replace(lot[0], faults=dead), lot[1]]
    outcome = run_of(task, now, array, tmp_path / "r", since=before)
    assert [r.bin for r in outcome.records] == [Bin.UNREPAIRABLE, Bin.KEPT]
