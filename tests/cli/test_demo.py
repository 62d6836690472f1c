import json
import tomllib

from chipmend.cli import demo
from chipmend.plan import parse_plan


def test_its_plan_is_one(workshop):
    plan = parse_plan(tomllib.loads(demo.PLAN.read_text()), "demo.toml")
    assert len({policy.name for policy in plan.deciders()}) == len(plan.policies) >= 3
    assert len(plan.lot()) == plan.chips.count


def test_run_and_data_folders_are_taken_from_where_the_user_is(workshop, monkeypatch):
    seen = []

    def carried_out(plan, tables, *, json_file):
        seen.append((plan, json_file))
        json.dumps(tables)

    monkeypatch.setattr("chipmend.cli.carry_out.carry_out", carried_out)
    workshop.done("demo", "--run", "here", "--data", "fashion", "--json", "s.json")
    ((plan, json_file),) = seen
    assert plan.execution.run == workshop.folder / "here"
    assert plan.data.path == workshop.folder / "fashion"
    assert str(json_file) == "s.json"
