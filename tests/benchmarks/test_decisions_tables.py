"""Tables of the documentation from rows that fleet_decisions.py writes."""

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
        "part": "coverage", "policy": "Reduce-max", "promised": None, "tested_on": "lines",
        "draws": 1, "measured": 0.5, "measured_low": 0.5, "measured_high": 0.5,
        "shipped": 50.0, "spent": 0.05,
    },
    {
        "part": "coverage", "policy": "Cascade", "promised": 0.95, "tested_on": "uniform",
        "draws": 100, "measured": 0.954, "measured_low": 0.9, "measured_high": 1.0,
        "shipped": 80.4, "spent": 0.0,
    },
    {"part": "coverage", "policy": "Cascade", "promised": 0.9, "tested_on": "lines", "draws": 0},
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
        "| Reduce-max | nothing | lines | 50.0 % | 50.0 % to 50.0 % | 50 | 0.050 |",
        "| Cascade | 95 % | uniform | 95.4 % | 90.0 % to 100.0 % | 80 |  |",
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
