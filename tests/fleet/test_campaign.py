import base64
import contextlib
import json
import multiprocessing
import random
import signal
import sqlite3
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import campaigns
from campaigns import (
    ANALYSIS,
    ARRAY,
    CONSTRAINT,
    POLICIES,
    REPAIR,
    RETRAIN,
    chips,
    mended,
    records,
)
from chipmend.confidence import Accuracy
from chipmend.errors import (
    ConstraintError,
    FaultMapError,
    FingerprintError,
    LotError,
    PlanError,
)
from chipmend.faults import Chip, FaultMap, png_picture
from chipmend.fleet import mend
from chipmend.fleet.ledger import Bin
from chipmend.fleet.local import PRELOADED
from chipmend.fleet.setup import Setup
from chipmend.policy import Cascade, Fixed, FixedSteps, Reduce, UntilMet
from chipmend.repairs import Cost, pruned_weights
from chipmend.repairs.calibration import Calibration
from chipmend.steps import Decaying, Retrain


@pytest.fixture(scope="module")
def undisturbed(task, tmp_path_factory):
    return records(mended(task, run=tmp_path_factory.mktemp("undisturbed")))


def test_records_are_the_same_for_two_workers(task, tmp_path, undisturbed):
    assert records(mended(task, run=tmp_path, workers=2)) == undisturbed


def test_records_are_the_same_without_a_run_folder(task, undisturbed):
    assert records(mended(task, run=None)) == undisturbed


def test_records_of_a_chip_do_not_depend_on_the_order_of_the_lot(task, undisturbed):
    turned = records(mended(task, run=None, lot=chips()[::-1]))
    assert sorted(turned["records"], key=str) == sorted(undisturbed["records"], key=str)


def test_a_policy_alone_gives_the_same_records_as_among_others(task, undisturbed):
    for policy in POLICIES:
        alone = records(mended(task, run=None, policies=[policy]))["records"]
        assert alone == [r for r in undisturbed["records"] if r["policy"] == policy.name]


def test_a_finished_run_is_not_worked_on_again(task, tmp_path, undisturbed, monkeypatch):
    mended(task, run=tmp_path)
    monkeypatch.setattr("chipmend.fleet.mending.Mending.__call__", None)
    assert records(mended(task, run=tmp_path)) == undisturbed


def test_records_equal_an_undisturbed_run_after_any_kill(task, tmp_path, undisturbed):
    """Six processes are killed at random moments of their work; the seventh is left to end."""
    moments, kept = random.Random(1), []
    while len(kept) < 6:
        begun = _kept(tmp_path)["attempts"]
        process = _begun(campaigns.run_to_the_end, tmp_path)
        while process.is_alive() and not _works_on(tmp_path, begun, least=len(kept)):
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.6))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it ended before it was killed"
        kept.append(_kept(tmp_path))
    assert any(0 < each["analysis"] < 4 for each in kept)  # in the midst of the analysis
    assert any(0 < each["mend"] < 4 for each in kept)  # and of the lot
    process = _begun(campaigns.run_to_the_end, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert json.loads((tmp_path / "records.json").read_text()) == undisturbed


def _works_on(folder, begun, *, least):
    """Whether a new attempt at a job has begun, and so many results at least are kept."""
    now = _kept(folder)
    return now["attempts"] > begun and now["analysis"] + now["mend"] >= least


def _kept(folder):
    """Results of both kinds, and attempts, that a run's store holds."""
    path = folder / "run" / "run.sqlite"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            (attempts,) = store.execute("select count(*) from attempts").fetchone()
            results = list(store.execute("select kind, count(*) from results group by kind"))
    except sqlite3.OperationalError:  # no store as yet
        return {"attempts": 0, "analysis": 0, "mend": 0}
    kept = {"attempts": attempts, "analysis": 0, "mend": 0}
    for kind, count in results:
        kept[kind.split()[0]] += count
    return kept


def test_work_lost_to_a_kill_is_on_the_bill(task, tmp_path):
    process = _begun(campaigns.run_for_ever, tmp_path)
    while not (tmp_path / "told").exists():
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    outcome = mended(task, run=tmp_path / "run", policies=[Fixed(epochs=0.5)])
    assert outcome.lost.ee >= 1.0
    assert outcome.lost.seconds > 0
    assert outcome.summary()["ee_lost"] == outcome.lost.ee


def test_a_fatal_chip_is_binned_with_its_reason_and_costs_nothing(task):
    dead = Chip(
        id="dead",
        faults=FaultMap(rows=8, cols=8, faulty_pes=np.zeros((8, 8), bool), fatal="no clock"),
    )
    outcome = mended(task, run=None, lot=[dead, *chips()[:1]], policies=[Fixed(epochs=0.5)])
    record = outcome.records[0]
    assert (record.chip, record.bin, record.reason, record.cost.ee) == (
        "dead",
        Bin.UNREPAIRABLE,
        "no clock",
        0.0,
    )
    assert outcome.records[1].bin == Bin.RETRAINED


def test_a_lot_of_nothing_but_fatal_chips_runs_through(task):
    dead = Chip(
        id="dead",
        faults=FaultMap(rows=8, cols=8, faulty_pes=np.zeros((8, 8), bool), fatal="no clock"),
    )
    outcome = mended(task, run=None, lot=[dead])
    assert {record.bin for record in outcome.records} == {Bin.UNREPAIRABLE}


def test_a_chip_with_all_pes_faulty_runs_through(task):
    gone = Chip(id="gone", faults=FaultMap(rows=8, cols=8, faulty_pes=np.ones((8, 8), bool)))
    outcome = mended(task, run=None, lot=[gone])
    assert all(r.effective_rate == 1.0 and not r.met for r in outcome.records)


def test_the_clean_network_is_left_as_it_was(task):
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    mended(task, run=None)
    assert all((value == before[name]).all() for name, value in task.model.state_dict().items())


def test_effective_rates_are_shares_of_pruned_weights(task):
    outcome = mended(task, run=None, policies=[Fixed(epochs=0.0)])
    for chip, record in zip(chips(), outcome.records, strict=True):
        pruned = pruned_weights(task.model, chip.faults.unusable, ARRAY)
        share = sum(int(p.sum()) for p in pruned.values()) / sum(p.numel() for p in pruned.values())
        assert record.effective_rate == pytest.approx(share)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"policies": [Fixed(epochs=0.25)]}, "policies"),
        ({"threads": 2}, "threads per worker was 1, is 2"),
        ({"lot": chips()[:2]}, "chips"),
    ],
)
def test_a_run_does_not_go_on_under_another_fingerprint(task, tmp_path, change, named):
    mended(task, run=tmp_path)
    with pytest.raises(FingerprintError, match=named):
        mended(task, run=tmp_path, **change)
    assert mended(task, run=tmp_path).records


def test_a_constraint_that_is_out_of_reach_leaves_the_run_folder_to_another(task, tmp_path):
    with pytest.raises(ConstraintError):
        mended(task, run=tmp_path, constraint=Accuracy(1.0))
    assert mended(task, run=tmp_path).records


def test_a_policy_whose_analysis_is_none_is_refused_by_name_before_any_work(task):
    wrong = Reduce(retrain=Retrain(schedule=Decaying()))
    with pytest.raises(PlanError, match="Reduce-max: an analysis with a decaying schedule"):
        mended(task, run=None, policies=[wrong])


def test_scoring_the_clean_network_is_billed_to_whoever_looks(task):
    outcome = mended(task, run=None, policies=[FixedSteps(), UntilMet(increment=0.5, most=0.5)])
    free, looking = outcome.shared.values()
    assert free == Cost()
    assert looking.ee == looking.measure == pytest.approx(128 / 256 / 3)
    assert looking.seconds > 0


def test_bad_lots_are_refused_before_any_work(task):
    small = Chip(id="s", faults=FaultMap(rows=4, cols=4, faulty_pes=np.zeros((4, 4), bool)))
    with pytest.raises(LotError, match="no chips"):
        mended(task, run=None, lot=[])
    with pytest.raises(LotError, match="same identity"):
        mended(task, run=None, lot=[chips()[0], chips()[0]])
    with pytest.raises(FaultMapError):
        mended(task, run=None, lot=[small])


def test_facts_of_a_chip_are_those_of_its_map_with_its_picture(task):
    pes = np.zeros((8, 8), bool)
    pes[0, :3] = True
    faults = FaultMap(
        rows=8, cols=8, faulty_pes=pes, dead_rows=((1, 4), (2, 0)), dead_cols=(7,), version=3
    )
    outcome = mended(task, run=None, lot=[Chip("a", faults)], policies=[Fixed(epochs=0.0)])
    (facts,) = outcome.chips
    assert base64.b64decode(facts.picture) == png_picture(faults)
    assert (facts.chip, facts.faulty_pes, facts.dead_rows, facts.dead_cols) == ("a", 3, 2, 1)
    assert (facts.version, facts.fatal) == (3, "")
    assert facts.fault_rate == faults.unusable.mean()


def test_policies_of_the_same_name_are_refused(task):
    with pytest.raises(PlanError, match=r"Fixed\(0.5\)"):
        mended(task, run=None, policies=[Fixed(epochs=0.5), Fixed(epochs=0.5)])


def test_a_policy_that_says_how_it_retrains_has_its_analysis_do_the_same(task):
    own = replace(RETRAIN, learning_rate=0.01)
    policies = [Reduce(retrain=own), Reduce(label="filled in")]
    setup = Setup(array=ARRAY, constraint=CONSTRAINT, policies=policies, analysis=ANALYSIS)
    rates = [0.01, RETRAIN.learning_rate]
    analyses = [policy.analysis(ANALYSIS, CONSTRAINT) for policy in setup.policies]
    assert [analysis.retrain.learning_rate for analysis in analyses] == rates
    assert [policy.retrain.learning_rate for policy in setup.policies] == rates
    alike = mended(task, run=None, policies=[Reduce(retrain=replace(RETRAIN, epochs=3.0))])
    filled_in = mended(task, run=None, policies=[Reduce()])
    assert records(filled_in) == records(alike)


def test_policies_of_one_kind_are_told_apart_by_their_labels(task):
    policies = [Fixed(epochs=0.5), Fixed(epochs=0.5, retrain=RETRAIN, label="other rate")]
    assert list(mended(task, run=None, policies=policies).policies) == ["Fixed(0.5)", "other rate"]


def test_a_policy_that_forgets_a_chip_is_refused(task):
    class Forgetful(Fixed):
        def plan(self, dies, constraint, table):
            return super().plan(dies, constraint, table)[1:]

    with pytest.raises(PlanError, match="every chip"):
        mended(task, run=None, policies=[Forgetful(epochs=0.5)])


def test_a_policy_whose_plan_raises_is_an_error_that_names_it(task):
    class Broken(Fixed):
        def plan(self, dies, constraint, table):
            return [dies[0].nothing]

    with pytest.raises(PlanError, match=r"Fixed\(0.5\): plan\(\) raised AttributeError"):
        mended(task, run=None, policies=[Broken(epochs=0.5)])


def test_the_analysis_is_taken_from_the_cache_and_stays_on_the_bill(task, monkeypatch):
    first = mended(task, run=None)
    monkeypatch.setattr("chipmend.fleet.analyzing.Analyzing.__call__", None)
    second = mended(task, run=None)
    assert second.table == first.table
    assert second.summary()["policies"]["Reduce-max"]["ee_analysis"] == first.table.ee > 0
    with pytest.raises(Exception, match="analysis failed"):
        mended(task, run=None, seed=5)


CASCADE = Cascade(
    rungs=(REPAIR[:1], REPAIR), retrain=RETRAIN, amounts=(0.0, 0.5), increment=0.5, most=1.0
)


def test_policies_of_one_analysis_share_its_table_and_others_have_their_own(task, tmp_path):
    repaired = Reduce(start=REPAIR)
    policies = [Reduce(), Reduce(statistic="min"), repaired, CASCADE, FixedSteps()]
    outcome = mended(task, run=None, policies=policies)
    one, other, third, fourth = outcome.tables.values()
    assert list(outcome.tables) == ["Reduce-max", "Reduce-min", "Repair + Reduce-max", "Cascade"]
    assert one == other != third != fourth
    assert outcome.table == one
    for policy, workers in ((repaired, 1), (CASCADE, 2)):
        alone = mended(task, run=tmp_path / policy.kind, policies=[policy], workers=workers)
        assert alone.table.ee == outcome.tables[policy.name].ee
        assert [{**r, "bundle": None} for r in records(alone)["records"]] == [
            r for r in records(outcome)["records"] if r["policy"] == policy.name
        ]
        assert alone.summary()["policies"][policy.name]["ee_analysis"] == alone.table.ee > 0


def test_calibration_is_billed_to_whoever_goes_by_it_however_many_chips_there_are(task):
    policies = [FixedSteps(), FixedSteps(steps=REPAIR, label="Repair"), Reduce(start=REPAIR)]
    outcome = mended(task, run=None, policies=policies)
    known = Calibration(task, 0).bill(REPAIR)
    free, repaired, reduced = outcome.shared.values()
    assert free == Cost()
    for shared in (repaired, reduced):
        assert (shared.recalibrate, shared.algebra) == (known.recalibrate, known.algebra)
    single = mended(task, run=None, policies=policies[1:2], lot=chips()[:1]).shared["Repair"]
    assert single.ee == repaired.ee > 0
    assert outcome.summary()["policies"]["Repair"]["ee_shared"] == repaired.ee


def test_mend_is_the_same_with_its_defaults_spelled_out(task):
    outcome = mend(
        task,
        chips()[:1],
        array=ARRAY,
        constraint=CONSTRAINT,
        analysis=ANALYSIS,
        hindsight=False,
    )
    assert list(outcome.policies) == ["Cascade"]
    assert outcome.paths == {"c0": []}


def _begun(campaign, folder):
    """The campaign in a process of its own, which inherits nothing that this one has computed."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([*PRELOADED])
    process = context.Process(target=campaign, args=(folder,))
    process.start()
    return process
