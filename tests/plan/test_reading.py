import tomllib
from pathlib import Path

import pytest

from chipmend.errors import PlanError
from chipmend.faults import make_chips, write_lot
from chipmend.hardware import Array
from chipmend.plan import read_plan
from chipmend.policy import Cascade, UntilMet
from plans import plan


def test_the_shortest_plan_is_filled_with_defaults():
    made = plan()
    assert made.policies == (Cascade(),)
    assert made.array == Array(rows=8, cols=8, placement="im2col")
    assert (made.model.width, made.seed, made.execution.device) == (0.25, 0, "cpu")
    assert made.execution.workers is None


def test_a_policy_and_a_list_of_one_mean_the_same():
    alone = {"kind": "until_met", "increment": 0.2}
    expected = (UntilMet(increment=0.2),)
    assert plan(policy=alone).policies == plan(policies=[alone]).policies == expected
    assert plan(policy=[alone]).policies == expected


def test_plans_that_mean_the_same_are_equal():
    short = plan(policy={"kind": "reduce", "retrain": {}})
    long = plan(
        seed=0,
        model={"width": 0.25, "zoo": "vgg11"},
        array={"cols": 8, "placement": "im2col", "rows": 8},
        chips={"count": 2, "spatial": {"kind": "uniform"}, "rate": 0.1, "seed": 0},
        policies=[
            {
                "kind": "reduce",
                "statistic": "max",
                "retrain": {"schedule": {"kind": "anytime", "averaging": 3}},
            }
        ],
        analysis={"repeats": 5, "rates": [0.5, 0.01, 0.35, 0.2, 0.1]},
    )
    assert short == long
    assert plan(seed=1) != short


def test_relative_paths_are_taken_from_the_plan_s_folder(tmp_path):
    lot = make_chips(Array(rows=8, cols=8), rate=0.1, count=2)
    write_lot(lot, tmp_path / "plans" / "lots" / "a.npz")
    text = (
        '[model]\nfactory = "m:f"\nweights = "w/a.safetensors"\n'
        '[data]\nname = "fashion-mnist"\npath = "/d"\n'
        "[array]\nrows = 8\ncols = 8\n"
        '[chips]\nfile = "lots/a.npz"\n[constraint]\ndrop = 0.1\n[execution]\nrun = "r"\n'
    )
    (tmp_path / "plans" / "p.toml").write_text(text)
    read, tables = read_plan(tmp_path / "plans" / "p.toml")
    assert tables == tomllib.loads(text)
    assert read.model.weights == tmp_path / "plans" / "w" / "a.safetensors"
    assert read.data.path == Path("/d")
    assert read.execution.run == tmp_path / "plans" / "r"
    assert len(read.lot()) == 2


def test_a_file_that_is_no_toml_is_told_with_its_line(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("[model]\nzoo = \n")
    with pytest.raises(PlanError, match=r"p\.toml is not TOML: .*line 2"):
        read_plan(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_our_error(tmp_path, content):
    path = tmp_path / "p.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError, match="cannot read"):
        read_plan(path)
    with pytest.raises(PlanError, match="cannot read"):
        read_plan(tmp_path)


def test_what_is_no_path_is_told_before_it_is_used():
    with pytest.raises(PlanError, match=r"execution\.run is no path"):
        plan(execution={"run": "a\0b"})
    with pytest.raises(PlanError, match=r"analysis\.trial\.file is no path"):
        plan(analysis={"trial": {"file": "a\0b"}})
