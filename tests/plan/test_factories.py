import sys

import pytest
import torch
from safetensors.torch import save_file

from chipmend.errors import PlanError
from chipmend.plan import parse_plan
from chipmend.policy import Reduce
from plans import WHOLE, plan

FACTORIES = """
import torch
from torch import nn
from chipmend.policy import Fixed

def network(width=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 2))

def splits(samples=8):
    x = torch.randn(samples, 1, 4, 4)
    return ((x, (x.mean((1, 2, 3)) > 0).long()),) * 3

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
    with pytest.raises(PlanError, match=r"policies\.0\.factory: .*TypeError"):
        plan(policy={"factory": f"{factories}:Own", "options": {"epoch": 1}}).deciders()


@pytest.mark.parametrize("function", ["wrong", "two"])
def test_what_is_no_policy_is_our_error_that_says_what_it_lacks(factories, function):
    with pytest.raises(PlanError, match="is no policy: it lacks name, analysis, plan, next"):
        plan(policy={"factory": f"{factories}:{function}"}).deciders()
