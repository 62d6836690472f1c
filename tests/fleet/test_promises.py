"""Campaigns whose policies promise coverage, by a trial lot."""

from dataclasses import replace

import numpy as np
import pytest

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, RETRAIN, chips, records
from chipmend.errors import FaultMapError, PlanError
from chipmend.faults import Chip, FaultMap, Lines, MacsAt, StuckAt, make_chips, write_lot
from chipmend.fleet import analyze, mend
from chipmend.fleet.ledger import SHIPPED
from chipmend.fleet.promises import likeness
from chipmend.hardware import Array
from chipmend.policy import Cascade, Reduce
from chipmend.policy.cascade import RUNGS
from chipmend.policy.promise import factor_that_keeps
from chipmend.recipes import is_quantized, retrained_epochs
from chipmend.resilience import TrialFile, TrialLot
from chipmend.steps import Assess, Measure

TRIAL = replace(ANALYSIS, trial=TrialLot(rate=(0.05, 0.4), count=9))
POLICIES = (
    Reduce(retrain=RETRAIN),
    Reduce(retrain=RETRAIN, coverage=0.8),
    Cascade(retrain=RETRAIN, most=0.4, amounts=(0.0, 0.2), coverage=0.8),
)


def compared(task, lot=None, **more):
    given = {"array": ARRAY, "constraint": CONSTRAINT, "policies": POLICIES, "analysis": TRIAL}
    return mend(task, lot or chips(), **(given | {"threads": 1} | more))


@pytest.fixture(scope="module")
def outcome(task):
    return compared(task)


def test_only_policies_that_promise_have_a_trial_lot_measured(outcome):
    plain, promised, cascade = (outcome.tables[policy.name] for policy in POLICIES)
    assert (len(plain.trial), len(promised.trial), len(cascade.trial)) == (0, 9, 9)
    assert plain.trajectories == promised.trajectories
    assert promised.ee == pytest.approx(plain.ee + sum(chip.ee for chip in promised.trial))


def test_chips_of_the_trial_lot_are_trained_until_they_surely_meet_the_constraint(outcome):
    for chip in outcome.tables["Reduce-max, 80 % promised"].trial:
        assert 0.02 < chip.rate < 0.5
        assert len(chip.accuracies) < len(TRIAL.amounts) or chip.accuracies[-1] < 0.95


def test_amounts_are_those_of_so_many_times_the_rates(outcome):
    table = outcome.tables["Reduce-max, 80 % promised"]
    factor = factor_that_keeps(0.8, table, CONSTRAINT, "max", 1.0).setting
    for chip, record in zip(
        outcome.chips, outcome.records_of("Reduce-max, 80 % promised"), strict=True
    ):
        wanted = factor * table.needed_for(factor * chip.effective_rate, CONSTRAINT)
        wanted = min(wanted, table.amounts[-1])
        assert retrained_epochs(record.steps) == pytest.approx(wanted)


def test_the_cascade_ships_chips_without_a_look(outcome):
    unseen = [
        record
        for record in outcome.records_of("Cascade, 80 % promised")
        if not any(isinstance(step, Measure) for step in record.steps)
    ]
    assert unseen
    for record in unseen:
        assert any(isinstance(step, Assess) for step in record.steps)
        assert "80 % of the chips like it" in record.reason


def test_what_is_promised_and_how_the_trial_lot_keeps_it_is_told(outcome):
    names = [policy.name for policy in POLICIES[1:]]
    assert list(outcome.promises) == names
    for name, concerned in zip(names, ("that ship", "without a look"), strict=True):
        promise = outcome.promises[name]
        assert (promise.coverage, promise.trial, promise.shifts) == (0.8, 9, ())
        assert promise.concerned.endswith(concerned)
        assert promise.missed + 1 <= 0.2 * (promise.shipped + 1) + 1e-9
    assert outcome.summary()["promises"][names[0]]["trial"] == 9


def test_a_lot_unlike_the_trial_lot_is_noticed(task, caplog):
    analysis = replace(TRIAL, trial=replace(TRIAL.trial, count=40))
    lot = make_chips(ARRAY, rate=0.2, count=20, spatial=Lines())
    policy = Reduce(retrain=RETRAIN, coverage=0.5)
    outcome = mend(
        task,
        lot,
        array=ARRAY,
        constraint=CONSTRAINT,
        policies=[policy],
        analysis=analysis,
        threads=1,
    )
    shifts = outcome.promises[policy.name].shifts
    assert "gathering in rows" in {shift.trait for shift in shifts}
    assert "the lot is not like the trial lot" in caplog.text


def test_where_too_few_chips_are_compared_it_is_said(task, caplog):
    given = {"policies": [Cascade(retrain=RETRAIN, most=0.4, amounts=(0.0, 0.2), coverage=0.5)]}
    (promise,) = compared(task, chips()[:1], **given).promises.values()
    assert (promise.shifts, promise.too_few) == ((), True)
    assert "1 chips beside a trial lot of 9 are too few" in caplog.text


def test_records_are_the_same_for_two_workers(task, outcome):
    assert records(compared(task, workers=2)) == records(outcome)


def test_an_analysis_without_a_lot_is_refused_before_any_work(task):
    with pytest.raises(PlanError, match=r"80 % promised: a coverage of 0\.8.*no trial lot"):
        compared(task, analysis=ANALYSIS)


def test_a_trial_lot_of_other_faults_than_the_lot_has_is_refused(task):
    other = replace(TRIAL, trial=replace(TRIAL.trial, stuck=StuckAt(rate=0.01)))
    with pytest.raises(PlanError, match="its trial lot has some"):
        compared(task, analysis=other)


def test_a_trial_lot_with_live_faults_is_for_lots_with_live_faults(task):
    macs = MacsAt(count=1, bits=(0, 3))
    other = replace(TRIAL, trial=replace(TRIAL.trial, macs=macs))
    cascade = [Cascade(retrain=RETRAIN, most=0.4, amounts=(0.0, 0.2), coverage=0.5)]
    with pytest.raises(PlanError, match="no stuck bits in datapaths, and its trial lot has some"):
        compared(task, policies=cascade, analysis=other)
    lot = make_chips(ARRAY, rate=(0.05, 0.4), count=4, macs=macs)
    outcome = compared(task, lot, policies=cascade, analysis=other)
    (promise,) = outcome.promises.values()
    assert (promise.trial, promise.shifts) == (9, ())
    assert all(is_quantized(r.steps) for r in outcome.records if r.bin in SHIPPED)
    assert any(r.bin in SHIPPED for r in outcome.records)


def test_an_earlier_lot_may_be_the_trial_lot_and_the_lot_itself_may_not(task, tmp_path):
    earlier, lot = (make_chips(ARRAY, rate=(0.05, 0.4), count=9, seed=seed) for seed in (5, 6))
    write_lot(earlier, tmp_path / "earlier.npz")
    analysis = replace(TRIAL, trial=TrialFile(file=tmp_path / "earlier.npz"))
    reduce = [Reduce(retrain=RETRAIN, coverage=0.8)]
    outcome = compared(task, lot, policies=reduce, analysis=analysis)
    (table,) = outcome.tables.values()
    rates = [chip.faults.unusable.mean() for chip in earlier]
    assert [t.rate for t in table.trial] == pytest.approx(rates)
    (promise,) = outcome.promises.values()
    assert (promise.trial, promise.shifts) == (9, ())
    with pytest.raises(PlanError, match="1 chips of the lot are in its trial lot as well, as"):
        compared(task, [lot[0], earlier[1]], policies=reduce, analysis=analysis)
    small = make_chips(Array(rows=4, cols=4), rate=0.2, count=9)
    write_lot(small, tmp_path / "small.npz")
    other = replace(TRIAL, trial=TrialFile(file=tmp_path / "small.npz"))
    with pytest.raises(FaultMapError):
        compared(task, lot, policies=reduce, analysis=other)


FAULTY, SOUND = np.eye(8, dtype=bool), np.zeros((8, 8), bool)
PLACE = {"lot": "L1", "wafer": "W", "x": 1, "y": 2}


@pytest.mark.parametrize(
    ("known", "now", "is_one"),
    [
        ({}, {}, True),
        ({}, {"id": "b"}, False),
        (PLACE, PLACE, True),
        ({**PLACE, "faulty": SOUND}, PLACE, True),
        ({**PLACE, "faulty": SOUND}, {**PLACE, "faulty": SOUND}, True),
        (PLACE, {**PLACE, "lot": "L2"}, False),
        ({"wafer": "W"}, {"lot": "L2"}, True),
        ({"faulty": SOUND}, {"faulty": SOUND}, False),
    ],
)
def test_a_die_is_told_by_where_it_lay_and_else_by_what_is_broken(tmp_path, known, now, is_one):
    def made(faulty=FAULTY, **more):
        return Chip(**{"id": "a", "faults": FaultMap.of_pes(faulty), **more})

    write_lot([made(**known)], tmp_path / "lot.npz")
    trial = TrialFile(file=tmp_path / "lot.npz")
    if is_one:
        with pytest.raises(PlanError, match="1 chips of the lot are in its trial lot as well"):
            likeness(trial, [made(**now)], ARRAY, seed=0)
    else:
        likeness(trial, [made(**now)], ARRAY, seed=0)


def test_chips_of_the_cascade_s_trial_lot_are_repaired_and_not_retrained(outcome):
    table = outcome.tables["Cascade, 80 % promised"]
    assert all(chip.accuracies == () for chip in table.trial)
    assert all(len(chip.rungs) == len(RUNGS) for chip in table.trial)
    assert all(len(chip.accuracies) >= 1 for chip in table.trajectories)


def test_no_chip_of_a_lot_unlike_the_trial_lot_ships_without_a_look(task, caplog):
    """It is told before the trial lot is measured, and every chip is looked at."""
    cascade = [Cascade(retrain=RETRAIN, most=0.4, amounts=(0.0, 0.2), coverage=0.5)]
    analysis = replace(TRIAL, trial=replace(TRIAL.trial, rate=(0.3, 0.4), count=12))
    lot = make_chips(ARRAY, rate=0.05, count=6)
    outcome = compared(task, lot, policies=cascade, analysis=analysis)
    (promise,) = outcome.promises.values()
    assert "fault rate" in {shift.trait for shift in promise.shifts}
    assert promise.shipped > 0
    assert outcome.kept_here(cascade[0].name) == (0, 0)
    assert any(record.bin in SHIPPED for record in outcome.records)


def test_how_the_lot_keeps_what_is_promised_is_told(outcome):
    for name in outcome.promises:
        unseen = [
            record
            for record in outcome.records_of(name)
            if record.accuracy is not None
            and not any(isinstance(step, Measure) for step in record.steps)
        ]
        assert outcome.kept_here(name) == (len(unseen), sum(record.met for record in unseen))
        told = outcome.summary()["promises"][name]
        assert (told["shipped_here"], told["met_here"]) == outcome.kept_here(name)


def test_a_table_with_a_trial_lot_is_kept_and_found_again(task, tmp_path, monkeypatch):
    monkeypatch.setenv("CHIPMEND_CACHE", str(tmp_path))
    analysis = POLICIES[1].analysis(TRIAL, CONSTRAINT)
    first = analyze(task, array=ARRAY, analysis=analysis, threads=1)
    assert analyze(task, array=ARRAY, analysis=analysis, threads=1) == first
    without = analyze(task, array=ARRAY, analysis=replace(analysis, trial=None), threads=1)
    assert without == replace(first, trial=())  # seconds and all: it was kept on the way
