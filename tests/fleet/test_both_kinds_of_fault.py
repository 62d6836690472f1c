"""Campaigns on chips with faulty PEs and stuck bits at once: everything that ships is codes."""

from dataclasses import replace

import numpy as np
import pytest

from campaigns import ARRAY, CONSTRAINT, RETRAIN, records
from chipmend.errors import PlanError, TableError
from chipmend.faults import Chip, make_chips
from chipmend.faults.stuck_at import StuckAt
from chipmend.fleet import analyze, mend, read_outcome
from chipmend.fleet.ledger import SHIPPED, Bin
from chipmend.hardware import WeightMemory
from chipmend.network import gemms
from chipmend.network.filling import filled
from chipmend.policy import Cascade, FixedSteps, Reduce
from chipmend.policy.cascade import CODED_RUNGS
from chipmend.recipes import is_quantized
from chipmend.resilience import Analysis
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
    Reduce(start=CODED, retrain=RETRAIN),
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
    for policy in ("FAQ", "Repair + Reduce-max", "Cascade", "Learning"):
        found = outcome.records_of(policy)
        assert {record.bin for record in found} <= {*SHIPPED, Bin.SCRAPPED}
        assert all(is_quantized(record.steps) for record in found if record.bin in SHIPPED)
        assert any(record.bin in SHIPPED for record in found)
    assert {record.bin for record in outcome.records_of("FAP")} == {Bin.FAILED}


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
