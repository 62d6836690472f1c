"""Under a margin repairs start from a network that was hardened once for all chips."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, REPAIR, RETRAIN, chips, records
from chipmend.bundle import read_base, read_bundle
from chipmend.bundle.base import base_beside
from chipmend.confidence import Drop
from chipmend.errors import FaultMapError, PlanError, RepairError
from chipmend.faults import Chip, Margin
from chipmend.files import cache_folder
from chipmend.fleet import Bin, analyze, mend, read_outcome
from chipmend.network import scores
from chipmend.network.tensors import own_tensors, same_tensors
from chipmend.policy import Cascade, FixedSteps, Reduce
from chipmend.repairs import Cost, Workbench
from chipmend.repairs.hardening import hardened
from chipmend.repairs.retrain import Retraining
from chipmend.report import page
from chipmend.steps import FAQ, Prune, Quantize
from conftest import tiny_task

EPOCHS = 12.0
MARGIN = Margin(hidden=0.2, harden=EPOCHS)
SOFT = Margin(hidden=0.2, harden=0.0)


def run_of(task, lot=None, **how):
    given = {"policies": [FixedSteps(steps=REPAIR)], "constraint": Drop(0.3), "threads": 1, **how}
    return mend(task, lot or chips(), array=ARRAY, analysis=ANALYSIS, hindsight=False, **given)


@pytest.fixture
def trained(monkeypatch):
    """How often something was trained."""
    begun = []
    monkeypatch.setattr(
        Retraining, "advance", lambda *given: begun.append(given) or ADVANCE(*given)
    )
    return begun


ADVANCE = Retraining.advance


@pytest.fixture(scope="module")
def hard(task):
    return hardened(task, EPOCHS, seed=0)


def test_chips_are_repaired_from_the_hardened_network(task, hard):
    """By hand: the same repair, of the network that hardening makes."""
    network, _ = hard
    by_hand = task.with_tensors(own_tensors(network))
    for chip, record in zip(chips(), run_of(task, margin=MARGIN).records, strict=True):
        bench = Workbench(by_hand, ARRAY, chip.faults, chip=chip.id, seed=0, margin=MARGIN)
        assert record.accuracy == bench.test(REPAIR).mean()


def test_all_chips_share_what_hardening_cost(task, hard):
    _, cost = hard
    outcome, soft = run_of(task, margin=MARGIN), run_of(task, margin=SOFT)
    assert outcome.hardening.ee == pytest.approx(cost.ee)
    assert outcome.hardening.ee == pytest.approx(EPOCHS * 4 / 3, rel=0.1)
    assert outcome.hardening.seconds > 0
    (ours,), (theirs,) = outcome.sums(), soft.sums()
    assert ours.ee_shared == pytest.approx(theirs.ee_shared + cost.ee)
    assert outcome.summary()["ee_hardening"] == outcome.hardening.ee
    assert soft.hardening.ee == 0
    assert soft.hardened_from == run_of(task).hardened_from == ""
    assert outcome.hardened_from


def test_the_constraint_is_about_the_clean_network(task):
    clean = float(scores(task.model, task.test, task.metric).mean())
    outcome = run_of(task, margin=MARGIN, constraint=Drop(0.1))
    assert outcome.clean_accuracy == clean
    for record in outcome.records:
        assert record.met == (record.accuracy >= clean - 0.1 - 1e-12)


def test_the_report_says_what_hardening_cost(task):
    html = page(run_of(task, margin=MARGIN))
    assert "hardened by 12 epochs" in html
    assert "hardening, calibration, clean scores" in html
    assert "go by: hardening, calibration" in html
    soft = page(run_of(task, margin=SOFT))
    assert "hardened" not in soft
    assert "hardening" not in soft


def test_other_lots_find_the_hardened_network(task, trained):
    first = run_of(task, margin=MARGIN)
    assert len(trained) == 1
    again = run_of(task, lot=chips()[:2], margin=replace(MARGIN, hidden=0.1))
    assert len(trained) == 1
    assert again.hardening == first.hardening
    run_of(task, margin=replace(MARGIN, harden=6.0))
    assert len(trained) == 2


def test_a_run_keeps_its_own_whatever_becomes_of_the_cache(task, trained, tmp_path):
    first = run_of(task, margin=MARGIN, run=tmp_path)
    shutil.rmtree(cache_folder("hardened"))
    again = run_of(task, margin=MARGIN, run=tmp_path)
    assert len(trained) == 1
    assert again.records == first.records
    assert again.hardening == first.hardening


@pytest.mark.parametrize("lost", [False, True], ids=["damaged", "lost"])
def test_what_the_run_lost_is_found_in_the_cache_or_made_again_as_it_was(
    task, trained, tmp_path, lost
):
    first = run_of(task, lot=chips()[:1], margin=MARGIN, run=tmp_path)
    (kept,) = (tmp_path / "hardened").glob("*.safetensors")
    before = kept.read_bytes()
    for times in (1, 2):
        if lost:
            kept.unlink()
        else:
            kept.write_bytes(before[:-100])
        assert run_of(task, lot=chips()[:1], margin=MARGIN, run=tmp_path).records == first.records
        assert len(trained) == times
        assert load(kept.read_bytes()).keys() == load(before).keys()
        assert all((t == load(before)[name]).all() for name, t in load(kept.read_bytes()).items())
        shutil.rmtree(cache_folder("hardened"))


def test_it_is_made_by_workers_as_in_one_process(task, tmp_path):
    alone = run_of(task, margin=MARGIN, run=tmp_path / "alone")
    shutil.rmtree(cache_folder("hardened"))
    together = run_of(task, margin=MARGIN, run=tmp_path / "together", workers=2)
    assert records(together) == records(alone)
    assert together.hardening.ee == alone.hardening.ee


def test_a_folder_that_cannot_be_written_is_told(task, trained, tmp_path):
    (tmp_path / "hardened").write_text("in the way")
    with pytest.raises(RepairError, match=r"could not be hardened: .*cannot keep it in"):
        run_of(task, margin=MARGIN, run=tmp_path)
    (tmp_path / "hardened").unlink()
    assert len(run_of(task, margin=MARGIN, run=tmp_path).records) == 4
    assert len(trained) == 1  # the cache had it


def test_nothing_is_hardened_for_chips_that_nothing_can_repair(task, trained):
    dead = replace(chips()[0].faults, fatal="the clock does not run")
    outcome = run_of(task, lot=[Chip("dead", dead)], margin=MARGIN)
    assert not trained
    assert outcome.hardening.ee == 0


def test_hardening_that_does_harm_is_told(task, monkeypatch, caplog):
    run_of(task, margin=MARGIN)
    assert "itself misses" not in caplog.text
    deaf = task.fresh_network()
    torch.nn.init.zeros_(deaf[-1].weight)
    monkeypatch.setattr(
        "chipmend.fleet.hardening.hardened", lambda *_, **__: (deaf, Cost(retrain=1.0))
    )
    run_of(task, margin=replace(MARGIN, harden=3.0))
    assert "hardened by 3 epochs the network itself misses 'drop <= 30 points'" in caplog.text


def test_an_analysis_before_it_measures_the_same_network(task):
    policy = Reduce(retrain=RETRAIN)
    outcome = run_of(task, policies=[policy], margin=MARGIN)
    analysis = policy.analysis(ANALYSIS, CONSTRAINT)
    table = analyze(task, array=ARRAY, analysis=analysis, margin=MARGIN, threads=1)
    assert table == outcome.tables[policy.name]  # from the cache: seconds are the same as well
    soft = analyze(task, array=ARRAY, analysis=analysis, margin=SOFT, threads=1)
    assert soft.trajectories != table.trajectories


def test_what_cannot_be_hardened_is_told(task):
    frozen = task.with_tensors({})
    for parameter in frozen.model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(RepairError, match="could not be hardened: every parameter") as raised:
        run_of(frozen, margin=MARGIN)
    assert "harden = 0" in raised.value.hint
    assert len(run_of(frozen, margin=SOFT).records) == 4


@pytest.mark.parametrize("epochs", [-1, float("inf"), float("nan"), "some"])
def test_no_amount_is_refused(epochs):
    with pytest.raises(FaultMapError, match="a margin that hardens by"):
        Margin(hidden=0.1, harden=epochs)


# what ships, and what goes on from it


def bundled(task, lot, run, **how):
    policy = Cascade(rungs=(REPAIR,), retrain=RETRAIN, most=0.5)
    how = {"constraint": Drop(0.6), "verify": "all", **how}
    return run_of(task, lot, policies=[policy], run=run, **how)


def aged(chip):
    faulty = chip.faults.faulty_pes.copy()
    faulty.ravel()[np.flatnonzero(~chip.faults.unusable.ravel())[:2]] = True
    return replace(chip, faults=replace(chip.faults, faulty_pes=faulty, version=2))


@pytest.fixture(scope="module")
def shipped(task, tmp_path_factory):
    run = tmp_path_factory.mktemp("first")
    return bundled(task, chips()[:3], run, margin=MARGIN), run


def base_of(run, record):
    path = run / record.bundle.folder
    return read_base(base_beside(path, read_bundle(path).base))[0]


def test_bundles_differ_from_the_hardened_network_and_hold_on_their_chips(hard, shipped):
    outcome, run = shipped
    assert {record.bin for record in outcome.records} == {Bin.REPAIRED}
    for record in outcome.records:
        assert record.bundle.verified.holds
        assert same_tensors(base_of(run, record).tensors, own_tensors(hard[0]))
    assert read_outcome(run) == outcome


@pytest.mark.parametrize("margin", [MARGIN, SOFT, None], ids=["hardened", "soft", "none"])
def test_chips_go_on_from_the_hardened_network_whatever_the_margin(
    task, shipped, margin, trained, tmp_path
):
    outcome, run = shipped
    new = Chip("new", chips()[0].faults)
    lot = [*(aged(chip) for chip in chips()[:3]), new]
    again = bundled(task, lot, tmp_path / "a", since=run, margin=margin)
    assert not trained
    assert again.hardening.ee == 0
    assert again.hardened_from == outcome.hardened_from
    assert ("network hardened before" in page(again)) == (margin is not None)
    assert [record.bin for record in again.records] == [Bin.PATCHED] * 3 + [Bin.REPAIRED]
    assert all(record.bundle.verified.holds for record in again.records)
    start = base_of(run, outcome.records[0]).tensors
    for record in again.records:
        assert same_tensors(base_of(tmp_path / "a", record).tensors, start)
    third = bundled(task, lot, tmp_path / "b", since=tmp_path / "a", margin=margin)
    assert {record.bin for record in third.records} == {Bin.KEPT}


def test_networks_in_codes_go_on_from_the_hardened_network_too(task, tmp_path):
    coded = FixedSteps(steps=(Prune(), Quantize(form=FAQ(), samples=64)))
    given = {"policies": [coded], "verify": "all", "constraint": Drop(0.6)}
    first = run_of(task, chips()[:1], margin=MARGIN, run=tmp_path / "a", **given)
    again = run_of(
        task, [aged(chips()[0])], margin=MARGIN, run=tmp_path / "b", since=tmp_path / "a", **given
    )
    for outcome in (first, again):
        assert outcome.records[0].bundle.verified.holds
    assert again.records[0].steps[0].kind == "patch"


def test_runs_of_old_say_nothing_of_hardening_and_are_gone_on_from(task, trained, tmp_path):
    bundled(task, chips()[:1], tmp_path / "a", margin=SOFT)
    path = tmp_path / "a" / "outcome.json"
    old = json.loads(path.read_bytes())
    del old["hardening"], old["hardened_from"], old["margin"]["harden"]
    path.write_text(json.dumps(old))
    again = bundled(task, chips()[:1], tmp_path / "b", margin=MARGIN, since=tmp_path / "a")
    assert again.records[0].bin == Bin.KEPT
    assert again.records[0].ee == 0
    assert not trained


def test_chips_of_a_soft_run_go_on_from_the_clean_network(task, trained, tmp_path, caplog):
    bundled(task, chips()[:2], tmp_path / "a", margin=None)
    again = bundled(task, [aged(chips()[0])], tmp_path / "b", since=tmp_path / "a", margin=MARGIN)
    assert not trained
    assert again.hardened_from == ""
    assert "chips go on from a network that was not hardened, and stays so" in caplog.text


def test_another_clean_network_is_refused(shipped):
    _, run = shipped
    other = tiny_task()
    with torch.no_grad():
        next(other.model.parameters()).add_(0.01)
    with pytest.raises(PlanError, match="mended another network than the plan has"):
        bundled(other, [aged(chips()[0])], run.parent / "other", since=run, margin=MARGIN)
