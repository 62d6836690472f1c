import json
import tomllib
from pathlib import Path
from types import SimpleNamespace

from chipmend.cli import demo
from chipmend.plan import parse_plan


def test_its_plan_is_one(workshop):
    plan = parse_plan(tomllib.loads(demo.PLAN.read_text()), "demo.toml")
    assert len({policy.name for policy in plan.deciders()}) == len(plan.policies) >= 3
    assert len(plan.lot()) == plan.chips.count


def test_what_it_ships_is_codes_for_chips_with_both_kinds_of_fault(workshop):
    plan = parse_plan(tomllib.loads(demo.SHIPPING.read_text()), "demo_shipping.toml")
    assert len(plan.policies) == 1
    assert all(chip.faults.stuck and chip.faults.rate for chip in plan.lot())


class Told:
    """What came of a plan, without any work."""

    def __init__(self, name):
        self.name, self.records = name, [SimpleNamespace(bin="repaired")]

    def summary(self, report=None):
        return {"told": self.name, "report": report}


def test_run_and_data_folders_are_taken_from_where_the_user_is(workshop, monkeypatch):
    seen = []

    def carried_out(plan, tables, **how):
        seen.append((plan, how.get("bundles")))
        json.dumps(tables)
        return Told(str(plan.execution.run)), Path("report.html")

    monkeypatch.setattr("chipmend.cli.carry_out.carried_out", carried_out)
    monkeypatch.setattr("chipmend.cli.carry_out.show", lambda _: None)
    shown = workshop.done("demo", "--run", "here", "--data", "fashion", "--json", "s.json")
    (compare, _), (ship, bundles) = seen
    assert compare.execution.run == workshop.folder / "here"
    assert ship.execution.run == workshop.folder / "here" / "shipping"
    assert compare.data.path == ship.data.path == workshop.folder / "fashion"
    assert bundles.verify == "all"
    assert str(workshop.folder / "here" / "shipping" / "bundles") in shown
    assert shown.splitlines()[-1] == "report.html"
    summary = workshop.summary()
    assert summary["report"] == "report.html"
    assert summary["shipped"]["told"] == str(workshop.folder / "here" / "shipping")
