import json
import re
import shutil
import subprocess

import pytest

from chipmend.simulate.rtl import found_icarus

TABLES = {
    "chips": None,
    "constraint": None,
    "policy": None,
    "analysis": None,
    "array": {"rows": 4, "cols": 4, "accumulators": {"bits": 22}},
    "errors": {"accumulator": [1e-3]},
    "targets": {"drop_under_faults": 0.2, "drop_without_faults": 0.1, "slowdown": 0.5},
    "space": {"ordinary_bits": [0, 22], "important": [0.0, 0.1], "lanes": [4]},
    "search": {
        "evaluations": 3,
        "method": "sobol-greedy",
        "estimating": 64,
        "injected": 1,
    },
}


@pytest.fixture
def plan(workshop):
    return workshop.plan(**TABLES)


def test_the_designs_are_shown_written_and_summed_up(workshop, plan):
    shown = workshop.done("design", plan, "--json", "s.json")
    run, summary = workshop.folder / "run", workshop.summary()
    assert shown.splitlines()[-1] == str(run / "report.html") == summary["report"]
    (study,) = summary["studies"]
    names = [each["name"] for each in study["designs"]]
    assert names[0] == "no protection"
    assert names[-2:] == ["search by chance", "found"]
    for each in study["designs"]:
        line = next(line for line in shown.splitlines() if line.startswith(f"│ {each['name']} "))
        assert f"{100 * each['overhead_over_full_tmr']:.1f} %" in line
        assert f"{100 * each['drop_on_test']['drop']:.2f} points" in line
    found = study["designs"][-1]
    assert found["meets"]
    assert found["overhead"] <= study["designs"][1]["overhead"]
    kept = json.loads((run / "design.json").read_text())
    assert kept["studies"][0]["rows"][-1]["name"] == "found"
    again = workshop.done("design", plan, "--json", "t.json")
    assert again == shown
    assert workshop.summary("t.json") == summary


@pytest.mark.skipif(not found_icarus(), reason="Icarus Verilog is not installed")
def test_the_verilog_of_the_pe_that_was_found_is_taken(workshop, plan):
    workshop.done("design", plan)
    folder = workshop.folder / "run" / "verilog"
    (top,) = folder.glob("protected_pe_*.v")
    (module,) = re.findall(r"module (\w+)", top.read_text())
    command = ["iverilog", "-g2005", "-Wall", "-s", module, "-o", "/dev/null"]
    done = subprocess.run(
        [*command, *map(str, sorted(folder.glob("*.v")))], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_run_under_another_plan_is_refused(workshop, plan):
    workshop.done("design", plan)
    other = workshop.plan(**{**TABLES, "errors": {"accumulator": [2e-3]}})
    assert "errors changed" in workshop.refused("design", other)


def test_targets_that_nothing_meets_are_told_with_what_binds(workshop):
    tables = {**TABLES, "errors": {"accumulator": [0.1]}}
    said = workshop.refused("design", workshop.plan(**tables))
    assert "the nearest misses: drop_under_faults binds" in said
    assert (workshop.folder / "run" / "report.html").exists()
    targets = {"drop_under_faults": 1e-9, "drop_without_faults": 0.1, "slowdown": 0.5}
    strict = workshop.plan(**{**TABLES, "targets": targets, "execution": {"run": "other"}})
    assert "cannot be ruled out" in workshop.refused("design", strict)


def test_a_plan_for_mending_is_none_for_protection_nor_the_other_way_round(workshop, plan):
    said = workshop.refused("design", workshop.plan("mending.toml"))
    assert "errors: missing" in said
    assert "chips: unknown" in said
    assert "docs/reference/design-plan.md" in said
    assert "errors: unknown" in workshop.refused("mend", plan)


def test_outputs_are_not_written_over_what_is_kept(workshop, plan):
    workshop.done("design", plan)
    shutil.copy(workshop.folder / "run" / "design.json", workshop.folder / "kept.json")
    for made in ("design.json", "verilog/pe.v", "verilog/protected_pe_1.v"):
        assert "written over" in workshop.refused("design", plan, "--json", f"run/{made}")
    assert "written over" in workshop.refused("design", plan, "--json", plan)
