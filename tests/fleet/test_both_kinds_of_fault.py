"""Campaigns on chips with faulty PEs and stuck bits at once: everything that ships is codes."""

from dataclasses import replace

import numpy as np
import pytest

from campaigns import ARRAY, CONSTRAINT, RETRAIN, records
from chipmend.bundle import read_bundle
from chipmend.errors import PlanError, TableError
from chipmend.faults import Chip, make_chips, write_lot
from chipmend.faults.stuck_at import StuckAt
from chipmend.fleet import analyze, mend, read_outcome
from chipmend.fleet.ledger import SHIPPED, Bin
from chipmend.hardware import WeightMemory
from chipmend.network import gemms
from chipmend.network.filling import filled
from chipmend.policy import Cascade, EFat, Fixed, FixedSteps, Reduce, UntilMet
from chipmend.policy.cascade import CODED_RUNGS
from chipmend.recipes import is_quantized
from chipmend.resilience import Analysis, TrialFile, TrialLot
from chipmend.steps import FAQ, Prune, Quantize

CODED = (Prune(), Quantize(form=FAQ(), samples=64))
ANALYSIS = Analysis(
    rates=(0.1, 0.4),
    bit_rates=(0.02, 0.1),
    amounts=(0.0, 0.5, 1.0),
    repeats=2,
    retrain=RETRAIN,
    start=CODED,
)
POLICIES = (
    FixedSteps(steps=CODED, label="FAQ"),
    FixedSteps(),
    Fixed(epochs=0.5, start=CODED, retrain=RETRAIN),
    UntilMet(increment=0.25, most=0.5, start=CODED, retrain=RETRAIN),
    Reduce(start=CODED, retrain=RETRAIN),
    EFat(start=CODED, retrain=RETRAIN),
    Cascade(retrain=RETRAIN, most=0.4),
    Cascade(retrain=RETRAIN, most=0.4, amounts=(0.0, 0.2), label="Learning"),
)


@pytest.fixture(scope="module")
def array(task):
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    return replace(ARRAY, memory=WeightMemory(words=words))


@pytest.fixture(scope="module")
def lot(array):
    stuck = StuckAt(rate=(0.01, 0.1))
    made = make_chips(array, rate=(0.05, 0.4), count=3, spread="even", stuck=stuck)
    return [Chip(id=f"c{place}", faults=chip.faults) for place, chip in enumerate(made)]


@pytest.fixture(scope="module")
def campaign(task, array, lot, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CHIPMEND_CACHE", str(tmp_path_factory.mktemp("cache")))
        outcome = mend(
            task, lot, array=array, constraint=CONSTRAINT, policies=POLICIES, analysis=ANALYSIS,
            run=run, workers=1, threads=1,
        )  # fmt: skip
    return outcome, run


def test_whatever_ships_is_codes_and_what_chooses_none_fails(campaign):
    outcome, _ = campaign
    for policy in (policy.name for policy in POLICIES if policy.name != "FAP"):
        found = outcome.records_of(policy)
        assert {record.bin for record in found} <= {*SHIPPED, Bin.SCRAPPED}
        assert all(is_quantized(record.steps) for record in found if record.bin in SHIPPED)
        assert any(record.bin in SHIPPED for record in found)
    assert {record.bin for record in outcome.records_of("FAP")} == {Bin.FAILED}


@pytest.mark.parametrize(
    "policy", [policy for policy in POLICIES if policy.name != "FAP"], ids=lambda p: p.name
)
def test_every_policy_ships_what_chips_compute_to_the_last_bit(
    task, array, lot, campaign, tmp_path, monkeypatch, policy
):
    """Bundles of the same records, run on a model of their chips with all faults live."""
    monkeypatch.setattr("chipmend.fleet.campaign.has_runtime", lambda: False)
    outcome = mend(
        task, lot, array=array, constraint=CONSTRAINT, policies=[policy], analysis=ANALYSIS,
        run=tmp_path, workers=1, threads=1, verify="all",
    )  # fmt: skip
    for record, compared in zip(outcome.records, campaign[0].records_of(policy.name), strict=True):
        assert (record.bin, record.accuracy) == (compared.bin, compared.accuracy)
        if record.bin in SHIPPED:
            assert record.bundle.verified.holds
            assert record.bundle.verified.accuracy == record.accuracy
            assert read_bundle(tmp_path / record.bundle.folder).in_codes


@pytest.mark.parametrize(
    "policy",
    [
        Reduce(start=CODED, retrain=RETRAIN, coverage=0.5),
        Cascade(retrain=RETRAIN, most=0.4, amounts=(0.0, 0.2), coverage=0.5),
        Cascade(retrain=RETRAIN, most=0.4, amounts=(0.0, 0.2), fuse=True),
    ],
    ids=lambda p: p.name,
)
def test_promises_and_fusing_know_both_kinds(task, array, lot, policy):
    trial = TrialLot(rate=(0.05, 0.4), count=6, stuck=StuckAt(rate=(0.01, 0.1)))
    outcome = mend(
        task, lot, array=array, constraint=CONSTRAINT, policies=[policy], workers=1, threads=1,
        analysis=replace(ANALYSIS, trial=trial),
    )  # fmt: skip
    assert {record.bin for record in outcome.records} <= {*SHIPPED, Bin.SCRAPPED}
    assert any(record.bin in SHIPPED for record in outcome.records)
    assert all(record.shared_by == 1 for record in outcome.records)
    if not getattr(policy, "fuse", False):
        (table,) = outcome.tables.values()
        assert all(t.effective_rate > 0 and t.effective_bit_rate > 0 for t in table.trial)
        (promise,) = outcome.promises.values()
        assert promise.trial == 6


def test_an_earlier_lot_of_both_kinds_may_be_the_trial_lot(task, array, lot, tmp_path):
    stuck = StuckAt(rate=(0.01, 0.1))
    earlier = make_chips(array, rate=(0.05, 0.4), count=4, stuck=stuck, seed=9)
    write_lot(earlier, tmp_path / "earlier.npz")
    policy = Reduce(start=CODED, retrain=RETRAIN, coverage=0.5)
    trial = TrialFile(file=tmp_path / "earlier.npz")
    outcome = mend(
        task, lot, array=array, constraint=CONSTRAINT, policies=[policy], workers=1, threads=1,
        analysis=replace(ANALYSIS, trial=trial),
    )  # fmt: skip
    (table,) = outcome.tables.values()
    assert [t.bit_rate for t in table.trial] == pytest.approx(
        [c.faults.stuck.rate for c in earlier]
    )
    assert all(record.bin in {*SHIPPED, Bin.SCRAPPED} for record in outcome.records)


def test_records_tell_the_rate_among_the_network_s_weights(campaign, task, array, lot):
    outcome, _ = campaign
    where = filled(task.model, task.train.batch(np.arange(2))[0], array.memory)
    for chip, facts in zip(lot, outcome.chips, strict=True):
        stuck = chip.faults.stuck
        assert facts.stuck_bits == stuck.count
        assert facts.effective_bit_rate == pytest.approx(stuck.rate) == stuck.rate_among(where)
        for record in outcome.records:
            if record.chip == chip.id:
                assert record.effective_bit_rate == facts.effective_bit_rate


def test_tables_are_of_both_rates_and_the_cascade_s_of_its_coded_rungs(campaign):
    outcome, _ = campaign
    for table in outcome.tables.values():
        assert table.points == [(0.1, 0.02), (0.4, 0.1)]
        assert all(t.effective_bit_rate > 0 for t in table.trajectories)
    learning = outcome.tables["Learning"].trajectories
    assert all(len(t.rungs) == len(CODED_RUNGS) for t in learning)
    assert all(t.damage > 0 for t in learning)


def test_the_run_comes_back_as_it_was(campaign):
    outcome, run = campaign
    assert records(read_outcome(run)) == records(outcome)


@pytest.mark.parametrize(
    ("analysis", "has_stuck", "error", "said"),
    [
        (Analysis(rates=(0.1,), start=CODED), True, PlanError, "have stuck bits, and maps"),
        (ANALYSIS, False, PlanError, "have no stuck bits, and maps"),
        (replace(ANALYSIS, start=(Prune(),)), True, TableError, "chooses no codes"),
    ],
)
def test_an_analysis_of_other_faults_is_refused_before_it_is_measured(
    task, array, lot, monkeypatch, analysis, has_stuck, error, said
):
    def measured(*_, **__):
        raise AssertionError

    monkeypatch.setattr("chipmend.fleet.campaign.resilience_table", measured)
    chips = lot if has_stuck else [
        replace(chip, faults=replace(chip.faults, stuck=None)) for chip in lot
    ]  # fmt: skip
    with pytest.raises(error, match=said):
        mend(
            task, chips, array=array, constraint=CONSTRAINT, analysis=analysis, workers=1,
            threads=1, policies=[Reduce(start=analysis.start, retrain=RETRAIN)],
        )  # fmt: skip


def test_an_analysis_alone_that_would_not_see_its_stuck_bits_is_refused(task, array):
    with pytest.raises(TableError, match="chooses no codes"):
        analyze(task, array=array, analysis=replace(ANALYSIS, start=(Prune(),)), workers=1)
