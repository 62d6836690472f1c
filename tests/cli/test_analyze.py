import json
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from chipmend.cli.analyze import _shown
from chipmend.confidence import Accuracy
from chipmend.records import rebuilt
from chipmend.resilience import ResilienceTable, Trajectory


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


def test_both_kinds_of_rate_are_columns_and_one_that_is_nowhere_is_left_out():
    def shown(*rates):
        made = ResilienceTable(
            amounts=(0.0, 1.0),
            clean_accuracy=0.9,
            trajectories=tuple(
                Trajectory(rate=pes, repeat=0, effective_rate=pes, accuracies=(0.5, 0.9), ee=1.0,
                           seconds=1.0, bit_rate=bits, effective_bit_rate=bits)
                for pes, bits in rates
            ),
        )  # fmt: skip
        console = Console(record=True, width=100)
        console.print(_shown(made, SimpleNamespace(constraint=Accuracy(0.8))))
        return console.export_text()

    both = shown((0.1, 0.02), (0.2, 0.04))
    assert "fault rate (per PE)" in both
    assert "stuck bits (per bit)" in both
    rows = [re.findall(r"[\d.]+ %", line) for line in both.splitlines()]
    assert ["10 %", "2 %"] in rows
    assert ["20 %", "4 %"] in rows
    assert "fault rate" not in shown((0.0, 0.02))
    assert "stuck bits" not in shown((0.1, 0.0))


def test_a_campaign_that_promises_finds_the_table_with_its_trial_lot(workshop, monkeypatch):
    analysis = {"rates": [0.2, 0.5], "amounts": [0.0, 1.0], "repeats": 1}
    plan = workshop.plan(
        policy={"kind": "reduce", "coverage": 0.5},
        analysis={**analysis, "trial": {"rate": [0.1, 0.3], "count": 3}},
        margin={"hidden": 0.1},
    )
    workshop.done("analyze", plan)
    monkeypatch.setattr("chipmend.fleet.analyzing.Analyzing.__call__", None)
    shown = workshop.done("mend", plan, "--json", "s.json")
    promise = workshop.summary()["promises"]["Reduce-max, 50 % promised"]
    assert (promise["coverage"], promise["trial"]) == (0.5, 3)
    assert "promised of chips that ship" in shown
