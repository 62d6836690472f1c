"""The figures of fleet_decisions.py from its rows."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def figures_of(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from fleet_decisions import figures_of

    return figures_of


def checked(lots_of, fired):
    return {"part": "shift check", "lots_of": lots_of, "lots": 40, "fired": fired}


def planned(lot, shares, reduce, efat):
    over = efat / reduce
    told = {"lot": lot, "shares": shares, "reduce": reduce, "efat": efat, "over": over}
    return {"part": "plans of eFAT", **told}


def mended(lot, when, ee, met):
    told = {"lot": lot, "when": when, "ee_per_chip": ee, "met": met, "chips": 16}
    return {"part": "mended again", **told}


def test_shifted_lots_are_told_from_others(figures_of):
    found = figures_of([checked("uniform", 1), checked("lines", 40), checked("clustered", 38)])
    assert (found["shift_found_share"], found["shift_false_share"]) == (78 / 80, 1 / 40)


def test_plans_are_compared_in_all_and_by_the_kind_that_gains_least(figures_of):
    plans = [planned("cluster", True, 4.0, 1.0), planned("cluster", True, 4.0, 3.0)]
    plans += [planned("two columns", True, 2.0, 0.5), planned("lines", False, 3.0, 2.7)]
    found = figures_of(plans)
    assert found["efat_over_reduce_max"] == 0.45
    assert found["efat_over_reduce_worst_kind"] == 0.5
    assert found["efat_over_reduce_elsewhere_max"] == pytest.approx(0.9)


def test_mending_again_is_compared_by_the_lot_that_gains_least(figures_of):
    rows = [mended("a", "first", 0.3, 16), mended("a", "again", 0.02, 15)]
    rows += [mended("a", "anew", 0.2, 16), mended("b", "again", 0.05, 16)]
    found = figures_of([*rows, mended("b", "anew", 0.1, 16)])
    assert (found["remend_over_mend"], found["remend_met_share"]) == (0.5, 31 / 32)


def screened(hidden, hardened, shipped, met):
    told = {"hidden": hidden, "hardened": hardened, "shipped": shipped, "met": met}
    return {"part": "incomplete maps", **told}


def test_of_incomplete_maps_those_count_that_lack_a_tenth_under_a_margin_that_hardens(figures_of):
    rows = [screened(0.05, 4.0, 16, 16), screened(0.1, None, 48, 37), screened(0.1, 0.0, 10, 8)]
    rows += [screened(0.1, 4.0, 40, 39), screened(0.2, 4.0, 16, 1)]
    assert figures_of(rows)["hidden_met_share"] == 39 / 40
    assert figures_of([screened(0.1, 4.0, 0, 0)])["hidden_met_share"] is None


def test_parts_that_are_yet_to_be_measured_have_no_figures(figures_of):
    found = figures_of([checked("uniform", 1), checked("lines", 40)])
    assert {name for name, value in found.items() if value is not None} == {
        "shift_found_share",
        "shift_false_share",
    }
