import json
import re

import pytest

from chipmend.records import rebuilt
from chipmend.resilience import ResilienceTable


def test_the_table_is_shown_written_and_summed_up(workshop):
    shown = workshop.done("analyze", workshop.plan(), "--json", "s.json")
    path = workshop.folder / "run" / "table.json"
    table, summary = rebuilt(ResilienceTable, json.loads(path.read_text())), workshop.summary()
    assert len(table.trajectories) == 4
    assert summary["rates"] == [p.rate for p in table.points] == [0.2, 0.5]
    assert summary["ee"] == table.ee == pytest.approx(4 * (1 + 3 * (64 + 96) / 384))
    assert rebuilt(ResilienceTable, summary["table"]) == table
    assert set(summary["needed"]) == {"min", "mean", "max"}
    assert "drop <= 10 points" in shown
    for place, rate in enumerate(("20 %", "50 %")):
        row = next(line for line in shown.splitlines() if rate in line)
        needed = [summary["needed"][s][place] for s in ("min", "mean", "max")]
        said = [word for word in re.split(r"\s{2,}|[│┃]", row) if word.strip(" │┃")][-3:]
        words = ["not reached" if n is None else f"{n:.3g}" for n in needed]
        assert [word.strip() for word in said] == words
    least, most = summary["needed"]["min"], summary["needed"]["max"]
    assert least != most, "else nothing tells the columns apart"
    assert shown.splitlines()[-1] == str(path)


def test_an_amount_that_was_not_reached_is_a_null_and_a_word(workshop):
    plan = workshop.plan(
        constraint={"drop": 0.0},
        analysis={"rates": [1.0], "amounts": [0.0, 0.5], "repeats": 1},
    )
    shown = workshop.done("analyze", plan, "--json", "s.json")
    assert workshop.summary()["needed"] == {"min": [None], "mean": [None], "max": [None]}
    assert "not reached" in shown


def test_a_campaign_after_it_finds_the_table(workshop, monkeypatch):
    plan = workshop.plan(policy={"kind": "reduce"})
    workshop.done("analyze", plan)
    monkeypatch.setattr("chipmend.fleet.analyzing.Analyzing.__call__", None)
    workshop.done("mend", plan, "--json", "s.json")
    assert workshop.summary()["policies"]["Reduce-max"]["ee_analysis"] > 0


def test_the_same_command_again_measures_nothing_again(workshop, monkeypatch):
    workshop.done("analyze", workshop.plan(), "--json", "first.json")
    monkeypatch.setattr("chipmend.fleet.analyzing.Analyzing.__call__", None)
    workshop.done("analyze", workshop.plan(), "--json", "second.json")
    assert workshop.summary("first.json") == workshop.summary("second.json")
