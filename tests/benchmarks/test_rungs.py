"""What a ladder of repairs costs, against sums done by hand."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FIGURES = {
    "one_shot_epochs_10": 0.002,
    "one_shot_epochs_50": 0.018,
    "sequential_epochs": 0.07,
    "remap_epochs": 0.03,
}
VALIDATION = {"one-shot": 0.6, "remap + one-shot": 0.7, "sequential": 0.8}


@pytest.fixture
def rungs(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import rungs

    return rungs


@pytest.mark.parametrize(
    ("ladder", "rate", "wanted"),
    [
        ((), 0.3, 0.0),
        (("one-shot",), 0.1, 0.002 + 0.008),
        (("one-shot", "sequential"), 0.3, 0.01 + 0.07 + 2 * 0.008),
        (("remap + one-shot", "remap + sequential"), 0.5, 0.03 + 0.018 + 0.07 + 2 * 0.008),
    ],
)
def test_a_ladder_costs_its_repairs_its_looks_and_one_mapping(rungs, ladder, rate, wanted):
    assert rungs.cost(ladder, rate, FIGURES) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("bar", "tried", "retrained"), [(0.5, 1, 0.0), (0.6, 1, 0.0), (0.75, 3, 0.0), (0.9, 3, 0.31)]
)
def test_a_chip_climbs_until_a_rung_meets_the_bar_and_is_retrained_where_none_does(
    rungs, bar, tried, retrained
):
    ladder, row = tuple(VALIDATION), {"validation": VALIDATION, "rate": 0.3}
    wanted = rungs.cost(ladder[:tried], 0.3, FIGURES) + retrained
    assert rungs.spent(ladder, row, bar, FIGURES) == pytest.approx(wanted)


def test_every_rung_of_every_ladder_was_measured(rungs, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import repair_quality

    assert {rung for ladder in rungs.LADDERS.values() for rung in ladder} <= {
        *repair_quality.RECIPES
    }
