"""Tables of the documentation from rows that fleet_decisions.py writes."""

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from decisions import tables

    return tables


ROWS = [
    {
        "part": "fresh lot", "policy": "Cascade", "chips": 200, "shipped": 199, "met": 190,
        "unseen": 150, "unseen_met": 141, "accuracy_mean": 0.92, "ee_per_chip": 0.01,
        "seconds_per_chip": 0.5,
    },
    {
        "part": "coverage", "policy": "Reduce-max", "promised": None, "tested_on": "lines",
        "tested": 50, "draws": 1, "of_draws": 1, "shipped": 50.0, "spent": 0.05,
        "measured": 0.5, "measured_low": 0.5, "measured_high": 0.5,
    },
    {
        "part": "coverage", "policy": "Cascade", "promised": 0.95, "tested_on": "uniform",
        "tested": 200, "draws": 98, "of_draws": 100, "shipped": 80.4, "spent": 0.0,
        "measured": 0.954, "measured_low": 0.9, "measured_high": 1.0,
    },
    {
        "part": "coverage", "policy": "Cascade", "promised": 0.9, "tested_on": "lines",
        "tested": 200, "draws": 0, "of_draws": 100,
    },
    {
        "part": "shift check", "array": 32, "rate": [0.02, 0.2], "lots_of": "uniform",
        "lots": 40, "fired": 1,
    },
    {
        "part": "shift check", "array": 32, "rate": [0.02, 0.2], "lots_of": "clustered",
        "lots": 40, "fired": 40,
    },
    {
        "part": "shift check", "array": 32, "rate": [0.02, 0.2], "lots_of": "lines",
        "lots": 40, "fired": 39,
    },
    {
        "part": "plans of eFAT", "shares": True, "lot": "two columns", "reduce": 2.0, "efat": 0.5,
        "groups": 10,
    },
    {
        "part": "plans of eFAT", "shares": True, "lot": "two columns", "reduce": 4.0, "efat": 1.0,
        "groups": 12,
    },
]  # fmt: skip


def test_every_row_has_its_line(tables):
    assert tables.coverage(ROWS).splitlines()[2:] == [
        "| Reduce-max | nothing | lines | 1 of 1 | 50 of 50 | 50.0 % | 50.0 % to 50.0 % | 0.050 |",
        "| Cascade | 95 % | uniform | 98 of 100 | 80 of 200 | 95.4 % | 90.0 % to 100.0 % |  |",
        "| Cascade | 90 % | lines | 0 of 100 | 0 of 200 | - | - |  |",
    ]
    assert tables.fresh_lot(ROWS).splitlines()[2:] == [
        "| Cascade | 199 of 200 | 190 | 150 | 141 | 94.0 % | 0.010 |",
    ]
    assert tables.shift_check(ROWS).splitlines()[2:] == [
        "| 32 x 32 | 2 to 20 % | 1 of 40 | 40 of 40 | 39 of 40 |"
    ]
    assert tables.plans(ROWS).splitlines()[2:] == [
        "| sharing two columns | 3.00 | 0.75 | 0.25 | 11 |"
    ]


def test_a_page_has_its_table_rewritten_and_nothing_else(tables):
    page = "before\n<!-- shift check -->\nold\n<!-- end of shift check -->\nbehind\n"
    made = tables.rewritten("shift check", page, ROWS)
    assert made.startswith("before\n")
    assert made.endswith("<!-- end of shift check -->\nbehind\n")
    assert tables.shift_check(ROWS) in made
    assert tables.rewritten("shift check", made, ROWS) == made
    with pytest.raises(ValueError, match="0 tables named coverage"):
        tables.rewritten("coverage", page, ROWS)


def test_pages_say_what_was_measured(tables):
    rows = json.loads(tables.RESULT.read_bytes())["rows"]
    for name, (path, _) in tables.PLACES.items():
        page = path.read_text()
        assert tables.rewritten(name, page, rows) == page, name
