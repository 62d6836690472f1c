"""The plans that reproduce papers are sound, and say what they are said to say."""

from pathlib import Path

import pytest

import chipmend as cm
from chipmend.plan import read_design_plan, read_plan

REPRODUCE = Path(__file__).parents[2] / "reproduce"
FOLDER = REPRODUCE / "reduce"


PROTECTION = sorted(REPRODUCE.glob("cross_layer/*.toml"))
MENDING = sorted(set(REPRODUCE.glob("*/*.toml")) - set(PROTECTION))


@pytest.mark.parametrize("path", MENDING, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_plan_has_no_mistakes(path):
    plan, _ = read_plan(path)
    assert len(plan.deciders()) > 1


@pytest.mark.parametrize("path", PROTECTION, ids=lambda path: path.stem)
def test_plans_for_protection_have_three_rates_on_the_array_of_the_benchmark(path):
    plan, _ = read_design_plan(path)
    assert len(plan.errors.rates()) == 3
    assert plan.array == cm.Array(rows=32, cols=32, accumulators=cm.Accumulators(bits=24))
    assert plan.model.zoo == path.stem


def test_the_paper_s_plan_is_the_paper_s_set_up():
    plan, tables = read_plan(FOLDER / "paper.toml")
    assert plan.array == cm.Array(rows=256, cols=256)
    assert plan.constraint == cm.Accuracy(0.91)
    assert len(plan.lot()) == 100
    assert plan.analysis.repeats == 5
    assert tables["data"]["name"] == "cifar-10"


def test_the_study_s_lot_is_spread_evenly_from_1_to_50_percent():
    plan, _ = read_plan(FOLDER / "study.toml")
    rates = [chip.faults.rate for chip in plan.lot()]
    assert plan.constraint == cm.Drop(0.018)
    assert len(rates) == 100
    assert rates == pytest.approx([0.01 + 0.49 * i / 99 for i in range(100)], abs=0.03)
