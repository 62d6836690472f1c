import copy
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from chipmend.errors import LotError, NetworkError, PlanError
from chipmend.faults import Clustered, make_chips, write_lot
from chipmend.fleet import parse_plan, read_plan
from chipmend.hardware import Array
from chipmend.policy import Fixed, FixedSteps, Reduce, UntilMet
from chipmend.steps import Prune, Recalibrate, Retrain

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "plan.md"
WHOLE = {
    "model": {"zoo": "vgg11"},
    "data": {"name": "fashion-mnist"},
    "array": {"rows": 8, "cols": 8},
    "chips": {"rate": 0.1, "count": 2},
    "constraint": {"drop": 0.02},
}


def plan(**changes):
    return parse_plan(copy.deepcopy(WHOLE) | changes, "p.toml")


def mistakes(tables):
    """Every mistake that is stated, without the first line and the hint."""
    with pytest.raises(PlanError) as error:
        parse_plan(tables, "p.toml")
    first, *rest = error.value.message.splitlines()
    assert first == f"p.toml has {len(rest)} mistake(s):"
    assert "docs/reference/plan.md" in error.value.hint
    return [line.strip() for line in rest]


def test_the_shortest_plan_is_filled_with_defaults():
    made = plan()
    assert made.policies == (Reduce(),)
    assert made.array == Array(rows=8, cols=8, placement="im2col")
    assert (made.model.width, made.seed, made.execution.device) == (0.25, 0, "cpu")
    assert made.execution.workers is None


EVERYTHING_WRONG = """
sede = 1
[model]
zoo = "vgg12"
widht = 1
[data]
name = "mnist-fashion"
pth = "x"
[array]
rows = "many"
[chips]
rate = 0.1
cout = 3
spatial = {kind = "clusterd"}
[constraint]
drop = 1.8
extra = 1
[analysis]
spatial = {kind = "clustered", alpha = 0.01}
repeats = 0
[policy]
kind = "until_met"
incremnt = 1
[policy.retrain]
schedule = {kind = "anytme"}
lerning_rate = 0.1
[execution]
workers = "many"
threds = 2
"""


def test_every_mistake_is_stated_at_once_with_its_path_and_what_was_meant():
    found = mistakes(tomllib.loads(EVERYTHING_WRONG))
    expected = [
        "sede: unknown; did you mean 'seed'?",
        "model.zoo: Input should be 'vgg11', not 'vgg12'",
        "model.widht: unknown; did you mean 'width'?",
        "data.pth: unknown; did you mean 'path'?",
        "array.cols: missing",
        "chips.count: missing",
        "chips.cout: unknown; did you mean 'count'?",
        "chips.spatial.kind: 'clusterd' is unknown; write 'uniform', 'clustered', 'lines'",
        "constraint.extra: unknown",
        "policy.incremnt: unknown; did you mean 'increment'?",
        "policy.retrain.schedule.kind: 'anytme' is unknown; write 'anytime', 'decaying'",
        "policy.retrain.lerning_rate: unknown; did you mean 'learning_rate'?",
        "execution.threds: unknown; did you mean 'threads'?",
    ]
    assert set(expected) <= set(found)
    assert any(line.startswith("array.rows: ") and "'many'" in line for line in found)
    assert any(line.startswith("execution.workers: ") and "'many'" in line for line in found)
    assert any(line.startswith("analysis.spatial: clustered faults") for line in found)
    assert len(found) == len(set(found)) == len(expected) + 3


@pytest.mark.parametrize("table", ["model", "data", "array", "chips", "constraint"])
def test_a_missing_table_is_named(table):
    assert mistakes({k: v for k, v in WHOLE.items() if k != table}) == [f"{table}: missing"]


def test_an_empty_plan_misses_every_table():
    assert mistakes({}) == [
        f"{t}: missing" for t in ("model", "data", "array", "chips", "constraint")
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modle": {}}, "modle: unknown; did you mean 'model'?"),
        ({"polcy": {}}, "polcy: unknown; did you mean 'policy'?"),
        ({"model": 5}, "model: write a table, not 5"),
        ({"model": {}}, "model.factory: missing"),
        (
            {"model": {"zoo": "vgg11", "factory": "a:b"}},
            "model.factory: does not go together with the other fields there",
        ),
        ({"model": {"factory": "a:b", "wieghts": "x"}}, "did you mean 'weights'?"),
        ({"model": {"factory": 3}}, "model.factory: write a text in quotes, not 3"),
        ({"data": {"name": "mnist"}}, "there is no data set 'mnist' (write fashion-mnist"),
        ({"data": {"factory": "a:b", "option": {}}}, "data.option: unknown; did you mean"),
        ({"array": {"rows": 8, "cols": 0}}, "array: an array of 8 x 0 has no PE"),
        ({"array": {"rows": 8, "cols": 8, "placement": "im2row"}}, "'im2col' or 'channel'"),
        ({"chips": {"file": 3}}, "chips.file: write a path in quotes, not 3"),
        ({"chips": {"file": "a", "count": 2}}, "chips.count: does not go together"),
        ({"chips": {"rate": 0.1, "count": 1.5}}, "chips.count: "),
        ({"chips": {"rate": "x", "count": 1}}, "chips.rate: "),
        ({"chips": {"rate": 0.1, "count": 1, "spread": "evn"}}, "'drawn' or 'even', not 'evn'"),
        ({"chips": {"rate": 0.1, "count": 1, "spatial": {}}}, "chips.spatial.kind: missing"),
        ({"constraint": {"drop": 2.0}}, "constraint: a drop of 2.0 is no constraint"),
        ({"constraint": {"accuracy": 91}}, "0.91 is 91 %"),
        ({"constraint": {}}, "constraint.accuracy: missing"),
        ({"constraint": {"drop": 0.1, "accuracy": 0.9}}, "constraint.accuracy: does not go"),
        ({"constraint": {"drop": "x"}}, "constraint.drop: "),
        ({"policy": {"kind": "fixd"}}, "policy.kind: 'fixd' is unknown; write 'steps', 'fixed'"),
        ({"policy": {}}, "policy.kind: missing"),
        ({"policy": {"kind": "fixed"}}, "policy.epochs: missing"),
        ({"policy": {"kind": "fixed", "epochs": -1}}, "policy: fixed: -1.0 epochs"),
        (
            {"policy": {"kind": "steps", "lable": "x"}},
            "policy.lable: unknown; did you mean 'label'",
        ),
        ({"policy": {"kind": "steps", "steps": [{"kind": "retran"}]}}, "policy.steps.0.kind: "),
        ({"policy": {"kind": "steps", "steps": []}}, "policy: steps: 'FAP' does not begin"),
        ({"policies": {"kind": "fixed", "epochs": 1}}, "policies: write a list, not {"),
        (
            {"policies": [{"kind": "reduce"}, {"kind": "reduce", "statistic": "most"}]},
            "policies.1.statistic: ",
        ),
        (
            {"policy": {"kind": "reduce"}, "policies": [{"kind": "reduce"}]},
            "policy: stands beside policies; write [policy] or [[policies]]",
        ),
        ({"analysis": {"amounts": [0.1, 0.2]}}, "let them ascend, beginning with 0"),
        ({"analysis": {"retrain": {"epochs": 0}}}, "analysis.retrain: retrain: 0.0 epochs"),
        ({"execution": {"worker": 2}}, "execution.worker: unknown; did you mean 'workers'?"),
        ({"seed": "x"}, "seed: "),
    ],
)
def test_a_single_mistake_is_the_only_one_stated(changes, said):
    found = mistakes(copy.deepcopy(WHOLE) | changes)
    assert any(said in line for line in found), found
    assert len({line.split(":")[0] for line in found}) == 1


def test_a_policy_and_a_list_of_one_mean_the_same():
    alone = {"kind": "until_met", "increment": 0.2}
    expected = (UntilMet(increment=0.2),)
    assert plan(policy=alone).policies == plan(policies=[alone]).policies == expected
    assert plan(policy=[alone]).policies == expected


def test_plans_that_mean_the_same_are_equal():
    short = plan(policy={"kind": "reduce"})
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


def test_every_kind_of_policy_is_made_of_its_table():
    retrain = {"learning_rate": 0.1, "recalibrate": {"samples": 64}}
    made = plan(
        policies=[
            {"kind": "steps", "label": "two", "steps": [{"kind": "prune"}, {"kind": "retrain"}]},
            {"kind": "fixed", "epochs": 0.5, "decaying": True, "retrain": retrain},
            {"kind": "until_met", "most": 2, "confidence": 0.9},
            {"kind": "reduce", "statistic": "quantile", "quantile": 0.8},
        ]
    )
    own = Retrain(learning_rate=0.1, recalibrate=Recalibrate(samples=64))
    assert made.deciders() == (
        FixedSteps(label="two", steps=(Prune(), Retrain())),
        Fixed(epochs=0.5, decaying=True, retrain=own),
        UntilMet(most=2.0, confidence=0.9),
        Reduce(statistic="quantile", quantile=0.8),
    )


def test_chips_are_made_as_by_hand():
    chips = {"rate": [0.1, 0.5], "count": 3, "spread": "even", "seed": 4}
    made = plan(chips={**chips, "spatial": {"kind": "clustered", "alpha": 1.0}}).lot()
    spatial, array = Clustered(alpha=1.0), Array(rows=8, cols=8)
    expected = make_chips(array, rate=(0.1, 0.5), count=3, spread="even", seed=4, spatial=spatial)
    assert [chip.faults for chip in made] == [chip.faults for chip in expected]


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


FACTORIES = """
import torch
from torch import nn
from chipmend.policy import Fixed

def network(width=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 2))

def splits(samples=8):
    x = torch.randn(samples, 1, 4, 4)
    return ((x, x.mean((1, 2, 3)) > 0),) * 3

def two(): return 1, 2
def wrong(): return 5
def failing(): raise RuntimeError("no such shelf")

class Own(Fixed):
    pass
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "own_factories.py").write_text(FACTORIES)
    (tmp_path / "own_broken.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_factories"
    sys.modules.pop("own_factories", None)


def test_networks_data_and_policies_of_the_user_s_own_are_built_with_their_options(factories):
    made = plan(
        model={"factory": f"{factories}:network", "options": {"width": 6}},
        data={"factory": f"{factories}:splits", "options": {"samples": 10}},
        policies=[{"factory": f"{factories}:Own", "options": {"epochs": 0.5}}, {"kind": "reduce"}],
    )
    task = made.task()
    assert task.model[1].out_features == 6
    assert [len(split) for split in (task.train, task.validation, task.test)] == [10] * 3
    own, reduce = made.deciders()
    assert (type(own).__name__, own.epochs, reduce) == ("Own", 0.5, Reduce())


def test_weights_are_loaded_into_what_a_factory_builds(factories, tmp_path):
    table = {"factory": f"{factories}:network", "weights": "w.safetensors"}
    data = {"factory": f"{factories}:splits"}
    state = plan(model={"factory": f"{factories}:network"}, data=data).task().model.state_dict()
    changed = {name: value + 1 for name, value in state.items()}
    save_file(changed, tmp_path / "w.safetensors")
    made = parse_plan(WHOLE | {"model": table, "data": data}, "p.toml", tmp_path)
    loaded = made.task().model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in changed.items())


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"factory": "own_factories:netwrok"}, "cannot import 'own_factories:netwrok'"),
        ({"factory": "no_such_module:f"}, "No module named 'no_such_module'"),
        ({"factory": "own_broken:f"}, "SyntaxError"),
        ({"factory": "own_factories"}, "cannot import 'own_factories'"),
        ({"factory": ":f"}, "cannot import ':f'"),
        ({"factory": "own_factories:failing"}, "raised RuntimeError: no such shelf"),
        ({"factory": "own_factories:network", "options": {"wdth": 1}}, "TypeError.*wdth"),
        ({"factory": "own_factories:wrong"}, "gave a int"),
    ],
)
def test_a_factory_that_does_not_do_is_our_error_that_names_it(factories, table, said):
    with pytest.raises(PlanError, match=said) as error:
        plan(model=table, data={"factory": f"{factories}:splits"}).task()
    assert error.value.message.startswith("model.factory: ")
    assert error.value.hint


@pytest.mark.parametrize("function", ["wrong", "two"])
def test_data_that_are_not_three_splits_are_our_error(factories, function):
    with pytest.raises(PlanError, match=r"data\.factory: .* gave a"):
        plan(data={"factory": f"{factories}:{function}"}).task()


def test_a_policy_that_cannot_be_built_is_our_error(factories):
    with pytest.raises(PlanError, match=r"policy\.factory: .*TypeError"):
        plan(policy={"factory": f"{factories}:Own", "options": {"epoch": 1}}).deciders()


@pytest.mark.parametrize(
    ("chips", "said"),
    [
        ({"rate": 1.5, "count": 1}, "rate of 1.5"),
        ({"rate": float("nan"), "count": 1}, "rate of nan"),
        ({"rate": [0.5, 0.1], "count": 1}, "swap"),
        ({"rate": 0.1, "count": 0}, "zero chips"),
        ({"file": "nowhere.npz"}, "cannot read the lot nowhere.npz"),
    ],
)
def test_chips_that_cannot_be_made_are_our_error(chips, said):
    with pytest.raises(LotError, match=said):
        plan(chips=chips).lot()


def test_a_width_without_trained_weights_is_our_error_that_says_which_there_are():
    with pytest.raises(NetworkError, match=r"width 0\.3"):
        plan(model={"zoo": "vgg11", "width": 0.3})._network()


def examples():
    """The TOML examples of the documentation."""
    return [block.split("```")[0] for block in DOCS.read_text().split("```toml\n")[1:]]


@pytest.mark.parametrize("example", examples())
def test_the_examples_of_the_documentation_are_plans(example):
    tables = tomllib.loads(example)
    assert parse_plan(WHOLE | tables, "plan.md").policies


def test_the_documentation_names_every_field_of_every_table():
    from chipmend.fleet import plan as module

    text = DOCS.read_text()
    kinds = {kind for kinds in module._TABLES.values() for kind in kinds} | {module.Plan}
    names = {name for kind in kinds for name in kind.__dataclass_fields__}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_the_complete_example_of_the_documentation_holds_the_defaults_it_says_it_does():
    made = parse_plan(tomllib.loads(examples()[0]), "plan.md")
    fixed, until_met, reduce = made.policies[1:4]
    assert (made.policies[0], until_met, reduce) == (FixedSteps(), UntilMet(), Reduce())
    assert fixed == Fixed(epochs=0.5)
    assert made.analysis == plan().analysis
    assert (made.chips.spatial, made.chips.spread) == (plan().chips.spatial, "drawn")
